-- How far the log was read for what follows by itself (src/consequences.rs), and the few events that it looks for.
CREATE TABLE consequences_checkpoint (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    txid     bigint NOT NULL,
    position bigint NOT NULL
);
INSERT INTO consequences_checkpoint (only_row, txid, position) VALUES (1, 0, 0);

CREATE INDEX events_with_consequences ON events (txid, position)
    WHERE event_type IN ('client.disabled', 'client.deleted', 'user.disabled', 'user.erased');
