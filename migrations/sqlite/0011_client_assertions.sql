-- Assertions that clients proved themselves with, each of them once (RFC 7523 3, jti); kept until they have expired.
CREATE TABLE used_assertions (
    -- SHA-256 of client and jti.
    assertion  TEXT    PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX used_assertions_expiry ON used_assertions (expires_at);

-- The secrets of clients that sign with them (client_secret_jwt), sealed; of other clients there are only hashes.
CREATE TABLE vault_client_secrets (
    client_id     TEXT    NOT NULL,
    -- As the log has it.
    secret_hash   TEXT    NOT NULL,
    sealed_secret TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (client_id, secret_hash)
) STRICT;
