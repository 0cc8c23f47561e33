-- What was taken out of the log (grantlog events archive), and what the read models still need of it.

-- One row for each partition that left the log, written by the transaction that detached it. The events are in the file.
CREATE TABLE archives (
    archive_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition_name  text        COLLATE "C" NOT NULL UNIQUE,
    -- Grants with ids from here on (NULL: from the beginning) and before there.
    id_from         text        COLLATE "C",
    id_to           text        COLLATE "C" NOT NULL,
    events          bigint      NOT NULL,
    grants          bigint      NOT NULL,
    first_txid      bigint      NOT NULL,
    last_txid       bigint      NOT NULL,
    first_position  bigint      NOT NULL,
    last_position   bigint      NOT NULL,
    -- Unix seconds: from when on nothing in it was of any use.
    over_since      bigint      NOT NULL,
    file            text        NOT NULL,
    file_bytes      bigint      NOT NULL,
    -- SHA-256 in hex, as sha256sum prints it; and that of the events' lines in it.
    file_sha256     text        NOT NULL,
    events_sha256   text        NOT NULL,
    -- The table stays, detached, under its name.
    kept            boolean     NOT NULL,
    archived_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    archived_by     text        NOT NULL DEFAULT session_user,
    program         text        NOT NULL
);
CREATE TRIGGER archives_append_only BEFORE UPDATE OR DELETE ON archives
    FOR EACH ROW EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER archives_no_truncate BEFORE TRUNCATE ON archives
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();

-- Archived events that a read model without an end of its rows still shows; a rebuild reads them beside the log. They are
-- whole and never changed; an archive run removes those that nothing shows any more.
CREATE TABLE events_base (
    aggregate_type text        COLLATE "C" NOT NULL,
    aggregate_id   text        COLLATE "C" NOT NULL,
    sequence       bigint      NOT NULL,
    event_type     text        NOT NULL,
    event_version  text        NOT NULL,
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    txid           bigint      NOT NULL,
    position       bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (txid, position)
);
CREATE TRIGGER events_base_no_update BEFORE UPDATE ON events_base
    FOR EACH ROW EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER events_base_no_truncate BEFORE TRUNCATE ON events_base
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();

-- What the base was after each run; the newest row is what it must be now.
CREATE TABLE events_base_sums (
    base_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    events  bigint      NOT NULL,
    -- SHA-256 in hex.
    sha256  text        NOT NULL,
    -- The partition for whose sake it was made.
    partition_name text COLLATE "C" NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER events_base_sums_append_only BEFORE UPDATE OR DELETE ON events_base_sums
    FOR EACH ROW EXECUTE FUNCTION refuse_log_change();
CREATE TRIGGER events_base_sums_no_truncate BEFORE TRUNCATE ON events_base_sums
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();
