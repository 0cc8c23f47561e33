-- The tables of the read models have a schema of their own. Its owner makes, changes and drops them: the role of the server, where
-- that is not the one that owns the log (docs/postgres-roles.sql). In public nobody but the owner of the log makes anything.
CREATE SCHEMA grantlog_read_models;

-- Those that are there move; what another role made stays for docs/postgres-roles.sql.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT relname, CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND pg_get_userbyid(relowner) = current_user
            AND relname ~ '^(activity|clients|grants|keys|participants|sessions|tokens|users)_v[0-9]+(_b[0-9]+|_check)?$'
    LOOP
        EXECUTE format('ALTER %s public.%I SET SCHEMA grantlog_read_models', found.kind, found.relname);
    END LOOP;
END
$$;

-- Whether this is a demonstration's database, in which anybody is anybody, or a real one; neither is served as the other. Set once, by
-- the first server or by grantlog migrate --mark.
CREATE TABLE database_purpose (
    only_row  integer PRIMARY KEY CHECK (only_row = 1),
    purpose   text    NOT NULL CHECK (purpose IN ('demo', 'real')),
    -- Unix seconds.
    marked_at bigint  NOT NULL
);
