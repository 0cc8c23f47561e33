-- The rights of the role that the server runs as, when that is not the one that owns the log. After `grantlog migrate` as the
-- owner, and again after every update of Grantlog, before its servers start:
--
--     psql --set app=grantlog_app --file postgres-roles.sql postgres://grantlog_owner@db.example/grantlog
--
-- Run it as the owner of the database and of its tables, who must be a member of the server's role (a superuser says once: GRANT
-- grantlog_app TO grantlog_owner), or as a superuser.
--
-- The owner migrates, makes partitions and archives (migrate, events partitions, events archive); migrate needs the server's pepper file
-- as soon as there is one. The role of the server reads and
-- appends events and can never change or remove one. It owns the schema of the read models, makes and drops its tables there, and makes
-- nothing anywhere else. No command touches read models as another role, because what stands there would run as that role.
\set ON_ERROR_STOP on
BEGIN;
-- Nothing that the server's role made is found by its name here.
SELECT set_config('search_path', 'pg_catalog', true) \gset
SELECT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE oid = 'public.events'::regclass \gset

GRANT USAGE ON SCHEMA public TO :"app";
REVOKE CREATE ON SCHEMA public FROM PUBLIC, :"app";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"app";
-- What an update makes gets its rights when this file is run again.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public REVOKE ALL ON TABLES FROM :"app";

-- The log, and what is remembered of it.
REVOKE UPDATE, DELETE ON public.events FROM :"app";
REVOKE INSERT, UPDATE, DELETE ON public.archives, public.events_base, public.events_base_sums, public.log_identity,
    public._sqlx_migrations FROM :"app";
-- Said once.
REVOKE UPDATE, DELETE ON public.database_purpose FROM :"app";
-- Partitions are reached through their parent; nobody but the owner needs them by name. What was taken out of the log and kept is nobody
-- else's.
SELECT format('REVOKE ALL ON %s FROM %I', relid, :'app') FROM pg_partition_tree('public.events') WHERE level > 0
UNION ALL
SELECT format('REVOKE ALL ON public.%I FROM %I', partition_name, :'app') FROM public.archives
    WHERE to_regclass(format('public.%I', partition_name)) IS NOT NULL
\gexec

-- The read models: those of releases before this one stood in public, made by the owner or by the server's role.
SELECT format('ALTER %s public.%I SET SCHEMA grantlog_read_models', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
        AND relname ~ '^(activity|clients|grants|keys|participants|sessions|tokens|users)_v[0-9]+(_b[0-9]+|_check)?$'
\gexec
SELECT format('ALTER SCHEMA grantlog_read_models OWNER TO %I', :'app') FROM pg_namespace
    WHERE nspname = 'grantlog_read_models' AND pg_get_userbyid(nspowner) <> :'app'
\gexec
SELECT format('ALTER %s grantlog_read_models.%I OWNER TO %I', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname, :'app')
    FROM pg_class WHERE relnamespace = 'grantlog_read_models'::regnamespace AND relkind IN ('r', 'v')
        AND pg_get_userbyid(relowner) <> :'app'
\gexec

-- Rights that somebody else granted are not taken back by the above.
SELECT format('DO $$ BEGIN RAISE EXCEPTION %L; END $$', format('%s can still make things in the schema public', :'app'))
    WHERE has_schema_privilege(:'app', 'public', 'CREATE')
\gexec
COMMIT;
