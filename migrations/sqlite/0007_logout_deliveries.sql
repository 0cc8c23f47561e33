-- Back-channel logout (src/oidc/backchannel): how far the log was read for sessions that ended, and which clients still have
-- to be told. Not a read model: what was sent cannot be built again. Times are Unix seconds.
CREATE TABLE logout_checkpoint (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    txid     INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;
INSERT INTO logout_checkpoint (only_row, txid, position) VALUES (1, 0, 0);

CREATE TABLE logout_deliveries (
    session_id TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    ended_at   INTEGER NOT NULL,
    -- How often it was begun.
    attempts   INTEGER NOT NULL,
    -- When it is begun again unless it succeeds; NULL when it was given up.
    next_at    INTEGER,
    last_error TEXT,
    PRIMARY KEY (session_id, client_id)
) STRICT;
CREATE INDEX logout_deliveries_due ON logout_deliveries (next_at);

-- The few events that it looks for.
CREATE INDEX events_sessions_ended ON events (txid, position) WHERE event_type = 'session.ended';
