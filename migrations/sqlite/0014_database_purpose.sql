-- Whether this is a demonstration's database, in which anybody is anybody, or a real one; neither is served as the other. Set once, by
-- the first server or by grantlog migrate --mark.
CREATE TABLE database_purpose (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    purpose   TEXT    NOT NULL CHECK (purpose IN ('demo', 'real')),
    -- Unix seconds.
    marked_at INTEGER NOT NULL
) STRICT;
