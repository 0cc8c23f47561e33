-- A pepper is used from a moment on, and can be retired (grantlog pepper). Times are Unix seconds.

-- From when on new hashes are made with it; NULL: known, and only verified with.
ALTER TABLE peppers ADD COLUMN used_from INTEGER;
-- Since when what rests on it is made anew or ended.
ALTER TABLE peppers ADD COLUMN retiring_at INTEGER;
-- Since when it is worth nothing: the pepper file may be without it.
ALTER TABLE peppers ADD COLUMN retired_at INTEGER;
UPDATE peppers SET used_from = created_at;

-- Keys that outlive the pepper that they were taken from, sealed under a newer one.
CREATE TABLE vault_kept_keys (
    -- What the key is for.
    purpose    TEXT PRIMARY KEY,
    sealed_key TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
