-- The event log, and below it the vault.
--
-- The log: the first seven columns are those of sqlite-es, which reads and writes this table unchanged.
--
-- The composite key stays the primary key, because sqlite-es knows a conflict only as error 1555 (primary key). So the
-- position cannot be AUTOINCREMENT; a counter row gives it, and no position is ever given twice.
CREATE TABLE events (
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL CHECK (sequence > 0),
    event_type     TEXT    NOT NULL,
    event_version  TEXT    NOT NULL,
    payload        TEXT    NOT NULL CHECK (json_valid(payload)),
    metadata       TEXT    NOT NULL CHECK (json_valid(metadata)),
    -- One writer at a time: the position alone is the order.
    txid           INTEGER NOT NULL DEFAULT 0,
    position       INTEGER,
    -- Unix milliseconds.
    recorded_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) STRICT;
CREATE UNIQUE INDEX events_position ON events (position);

CREATE TABLE log_position (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    last     INTEGER NOT NULL
) STRICT;
INSERT INTO log_position (only_row, last) VALUES (1, 0);

-- An insert that names no position (sqlite-es) gets the next one; one that does moves the counter.
CREATE TRIGGER events_assign_position AFTER INSERT ON events WHEN NEW.position IS NULL
BEGIN
    UPDATE log_position SET last = last + 1;
    UPDATE events SET position = (SELECT last FROM log_position) WHERE rowid = NEW.rowid;
END;
CREATE TRIGGER events_follow_position AFTER INSERT ON events WHEN NEW.position IS NOT NULL
BEGIN
    UPDATE log_position SET last = NEW.position WHERE last < NEW.position;
END;

-- Every stored row has a position, so no stored row can change.
CREATE TRIGGER events_no_update BEFORE UPDATE ON events WHEN OLD.position IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'the event log is append-only: UPDATE refused');
END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'the event log is append-only: DELETE refused');
END;

-- As on PostgreSQL, so that the readers' SQL is the same; a copied file keeps its order.
CREATE TABLE log_identity (
    only_row          INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    system_identifier INTEGER NOT NULL,
    bias              INTEGER NOT NULL
) STRICT;
INSERT INTO log_identity (system_identifier, bias) VALUES (0, 0);

-- The vault: what may not stand in the log. Mutable rows; everything personal or secret is sealed.
-- Times are Unix seconds.

-- The peppers that this database's hashes were made with; the check value betrays a lost or swapped pepper at start.
CREATE TABLE peppers (
    pepper_id   INTEGER PRIMARY KEY,
    check_value TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- One key per user, wrapped. Destroying it makes everything sealed with it unreadable, in backups of the vault too.
CREATE TABLE vault_user_keys (
    user_id     TEXT PRIMARY KEY,
    wrapped_key TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE vault_users (
    user_id         TEXT PRIMARY KEY,
    -- HMAC of the folded user name: finds and keeps it unique without holding it.
    username_index  TEXT NOT NULL UNIQUE,
    sealed_profile  TEXT NOT NULL,
    sealed_password TEXT,
    created_at      INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE vault_signing_keys (
    key_id             TEXT PRIMARY KEY,
    algorithm          TEXT NOT NULL,
    sealed_private_key TEXT NOT NULL,
    created_at         INTEGER NOT NULL
) STRICT;

-- Failed sign-ins, by account and by address; both are kept as blind indexes.
CREATE TABLE sign_in_attempts (
    kind         TEXT NOT NULL CHECK (kind IN ('account', 'address')),
    subject      TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;
CREATE INDEX sign_in_attempts_age ON sign_in_attempts (last_at);
