-- The rights of the role that the server runs as, when that is not the one that owns the tables. Run it as the owner after
-- `grantlog migrate`, and again after an update of Grantlog:
--
--     psql --set app=grantlog_app --file postgres-roles.sql postgres://grantlog_owner@db.example/grantlog
--
-- The owner migrates, makes partitions and archives (migrate, events partitions, events archive). The role of the server
-- reads and appends events and can never change or remove one; everything else it keeps are read models and the vault.
GRANT USAGE, CREATE ON SCHEMA public TO :"app";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"app";
-- Tables that a rebuild or an update makes later.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";

-- The log, and what is remembered of it.
REVOKE UPDATE, DELETE ON events FROM :"app";
REVOKE INSERT, UPDATE, DELETE ON archives, events_base, events_base_sums, log_identity, _sqlx_migrations FROM :"app";
-- Partitions are reached through their parent; nobody but the owner needs them by name. Those that are made later have
-- the triggers of the log.
SELECT format('REVOKE ALL ON %s FROM %I', relid, :'app') FROM pg_partition_tree('events') WHERE level > 0
\gexec
