-- A pepper is used from a moment on, and can be retired (grantlog pepper). Times are Unix seconds.
ALTER TABLE peppers
    -- From when on new hashes are made with it; NULL: known, and only verified with.
    ADD COLUMN used_from   bigint,
    -- Since when what rests on it is made anew or ended.
    ADD COLUMN retiring_at bigint,
    -- Since when it is worth nothing: the pepper file may be without it.
    ADD COLUMN retired_at  bigint;
UPDATE peppers SET used_from = created_at;

-- Keys that outlive the pepper that they were taken from, sealed under a newer one.
CREATE TABLE vault_kept_keys (
    -- What the key is for.
    purpose    text COLLATE "C" PRIMARY KEY,
    sealed_key text   NOT NULL,
    created_at bigint NOT NULL
);
