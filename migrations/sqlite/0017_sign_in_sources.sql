-- Failed sign-ins are also counted by client: those that ask for passwords have one address for all their users.
-- A CHECK cannot be changed, so the table is made anew.
CREATE TABLE sign_in_attempts_new (
    kind         TEXT NOT NULL CHECK (kind IN ('account', 'address', 'client')),
    subject      TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;
INSERT INTO sign_in_attempts_new SELECT kind, subject, failures, last_at, locked_until FROM sign_in_attempts;
DROP TABLE sign_in_attempts;
ALTER TABLE sign_in_attempts_new RENAME TO sign_in_attempts;
-- What is locked does not go with what is old.
CREATE INDEX sign_in_attempts_age ON sign_in_attempts (last_at, locked_until);
CREATE INDEX sign_in_attempts_lock ON sign_in_attempts (locked_until);
