-- The event log, and below it the vault.
--
-- The log: the first seven columns are those of postgres-es, which reads and writes this table unchanged.
--
-- The order of the columns matters: defaults are evaluated in this order, and the feeds are only complete when the
-- transaction id is assigned before the position. A test asserts it.
--
-- Partitioned so that old grants can be detached later: grants are many and short-lived, and their ids are UUIDs
-- version 7, so a range of ids is a range of time. Partitioning by time itself would break the primary key, which is
-- the lock of every decision.
CREATE TABLE events (
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id   text COLLATE "C" NOT NULL,
    sequence       bigint           NOT NULL CHECK (sequence > 0),
    event_type     text             NOT NULL,
    event_version  text             NOT NULL,
    -- json, not jsonb: the readers want text, and text need not be built again for each of them.
    payload        json             NOT NULL,
    metadata       json             NOT NULL,
    txid           bigint           NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    position       bigint           GENERATED ALWAYS AS IDENTITY,
    recorded_at    timestamptz      NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) PARTITION BY LIST (aggregate_type);

-- Order of the ordered feed, and of the eager feed. Not unique: a unique index must hold the partition key.
CREATE INDEX events_order ON events (txid, position);
CREATE INDEX events_position ON events (position);

CREATE TABLE events_other PARTITION OF events DEFAULT
    WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE TABLE events_grant PARTITION OF events FOR VALUES IN ('grant') PARTITION BY RANGE (aggregate_id);
CREATE TABLE events_grant_other PARTITION OF events_grant DEFAULT
    WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Row triggers reach every partition, also later ones; a statement trigger does not, so each leaf has its own.
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events_other
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events_grant
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events_grant_other
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();

-- Which cluster gave the transaction ids. A logical restore carries this row into a cluster whose ids start anew;
-- `bias` then lifts the new ones above the old ones.
CREATE TABLE log_identity (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    system_identifier bigint  NOT NULL,
    bias              bigint  NOT NULL
);
INSERT INTO log_identity (system_identifier, bias) SELECT system_identifier, 0 FROM pg_control_system();

-- The vault: what may not stand in the log. Mutable rows; everything personal or secret is sealed.
-- Times are Unix seconds.

-- The peppers that this database's hashes were made with; the check value betrays a lost or swapped pepper at start.
CREATE TABLE peppers (
    pepper_id   bigint PRIMARY KEY,
    check_value text NOT NULL,
    created_at  bigint NOT NULL
);

-- One key per user, wrapped. Destroying it makes everything sealed with it unreadable, in backups of the vault too.
CREATE TABLE vault_user_keys (
    user_id     text PRIMARY KEY,
    wrapped_key text NOT NULL,
    created_at  bigint NOT NULL
);

CREATE TABLE vault_users (
    user_id         text PRIMARY KEY,
    -- HMAC of the folded user name: finds and keeps it unique without holding it.
    username_index  text NOT NULL UNIQUE,
    sealed_profile  text NOT NULL,
    sealed_password text,
    created_at      bigint NOT NULL,
    changed_at      bigint NOT NULL
);

CREATE TABLE vault_signing_keys (
    key_id             text PRIMARY KEY,
    algorithm          text NOT NULL,
    sealed_private_key text NOT NULL,
    created_at         bigint NOT NULL
);

-- Failed sign-ins, by account and by address; both are kept as blind indexes.
CREATE TABLE sign_in_attempts (
    kind         text NOT NULL CHECK (kind IN ('account', 'address')),
    subject      text NOT NULL,
    failures     bigint NOT NULL,
    last_at      bigint NOT NULL,
    locked_until bigint NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX sign_in_attempts_age ON sign_in_attempts (last_at);
