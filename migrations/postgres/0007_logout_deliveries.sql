-- Back-channel logout (src/oidc/backchannel): how far the log was read for sessions that ended, and which clients still have
-- to be told. Not a read model: what was sent cannot be built again. Times are Unix seconds.
CREATE TABLE logout_checkpoint (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    txid     bigint NOT NULL,
    position bigint NOT NULL
);
INSERT INTO logout_checkpoint (only_row, txid, position) VALUES (1, 0, 0);

CREATE TABLE logout_deliveries (
    session_id text   COLLATE "C" NOT NULL,
    client_id  text   COLLATE "C" NOT NULL,
    user_id    text   NOT NULL,
    ended_at   bigint NOT NULL,
    -- How often it was begun.
    attempts   bigint NOT NULL,
    -- When it is begun again unless it succeeds; NULL when it was given up.
    next_at    bigint,
    last_error text,
    PRIMARY KEY (session_id, client_id)
);
CREATE INDEX logout_deliveries_due ON logout_deliveries (next_at);
