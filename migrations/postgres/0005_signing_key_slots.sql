-- Each signing key has one successor: what is made for the same place, on whatever node, is one key. Keys from before
-- have no place.
ALTER TABLE vault_signing_keys ADD COLUMN slot text;
CREATE UNIQUE INDEX vault_signing_keys_slot ON vault_signing_keys (slot);
