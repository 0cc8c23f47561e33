-- Assertions that clients proved themselves with, each of them once (RFC 7523 3, jti); kept until they have expired.
CREATE TABLE used_assertions (
    -- SHA-256 of client and jti.
    assertion  text PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX used_assertions_expiry ON used_assertions (expires_at);

-- The secrets of clients that sign with them (client_secret_jwt), sealed; of other clients there are only hashes.
CREATE TABLE vault_client_secrets (
    client_id     text   NOT NULL,
    -- As the log has it.
    secret_hash   text   NOT NULL,
    sealed_secret text   NOT NULL,
    created_at    bigint NOT NULL,
    PRIMARY KEY (client_id, secret_hash)
);
