-- Failed sign-ins are also counted by client: those that ask for passwords have one address for all their users.
ALTER TABLE sign_in_attempts DROP CONSTRAINT sign_in_attempts_kind_check;
ALTER TABLE sign_in_attempts ADD CONSTRAINT sign_in_attempts_kind_check CHECK (kind IN ('account', 'address', 'client'));
-- What is locked does not go with what is old.
DROP INDEX sign_in_attempts_age;
CREATE INDEX sign_in_attempts_age ON sign_in_attempts (last_at, locked_until);
CREATE INDEX sign_in_attempts_lock ON sign_in_attempts (locked_until);
