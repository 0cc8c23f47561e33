//! What the role of the server can do to the log and to its owner: nothing. The rights are those of docs/postgres-roles.sql,
//! which every other test on PostgreSQL runs with as well.

use std::process::Output;

use crate::harness::{
    Server, Site, Store, Tokens, poll,
    postgres::{OWNER, SERVER},
    site::{query, try_query},
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[on![Postgres:
    a_role_that_may_append_but_not_change_is_enough_for_a_server,
    the_servers_role_changes_nothing_of_the_log_and_makes_nothing_beside_it,
    a_name_that_grantlog_does_not_make_is_no_read_model,
    what_the_servers_role_planted_never_runs_as_the_owner,
    rights_of_an_earlier_release_let_nobody_plant_a_table_either,
    what_does_not_belong_to_a_role_is_said_in_words,
]];

/// Every read model up to date.
async fn caught_up(site: &Site) {
    poll::until("the read models have come to the end of the log", async || {
        let status = site.run_json(&["projections", "status"]).await;
        let tables = status["tables"].as_array().expect("tables").clone();
        tables.iter().all(|table| table["lag_events"] == 0).then_some(())
    })
    .await;
}

/// A command as the owner.
async fn as_owner(site: &Site, arguments: &[&str]) -> Output {
    site.run(&[arguments, &["--database", site.owner()]].concat()).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn events(site: &Site) -> i64 {
    query(site.owner(), "SELECT count(*) FROM public.events").parse().expect("a number")
}

/// What the table of the clients that answers is called, and its view.
fn answering(site: &Site) -> (String, String) {
    let table = query(site.owner(), "SELECT table_name FROM active_projection WHERE name = 'clients'");
    let view = table.rsplit_once("_b").expect("NAME_vVERSION_bNUMBER").0.to_owned();
    (table, view)
}

async fn a_role_that_may_append_but_not_change_is_enough_for_a_server(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    assert!(site.database().contains(SERVER) && site.owner().contains(OWNER));
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let next = Tokens::of(server.refresh(&client, &tokens.refresh).await);
    server.revoke_as(&client, &next.access).await.expect(200);
    assert!(!server.is_active(&client, &next.access).await);
    caught_up(site).await;
    site.run_well(&["projections", "rebuild"]).await;
    server.tokens(&client, &user).await;
    caught_up(site).await;
    site.run_well(&["projections", "check"]).await;
    let refused = site.run(&["events", "archive", "--older-than", "90d"]).await;
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    let partitions = site.run(&["events", "partitions"]).await;
    assert!(partitions.status.success() && said(&partitions).contains("owner"), "{}", said(&partitions));
}

async fn the_servers_role_changes_nothing_of_the_log_and_makes_nothing_beside_it(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    server.service_client().await;
    let before = events(site);
    let partition = "SELECT relid::regclass::text FROM pg_partition_tree('events') WHERE isleaf AND level = 2 LIMIT 1";
    let partition = query(site.owner(), partition);
    let mut attempts: Vec<String> = Vec::new();
    for table in ["public.events", &partition, "public.archives", "public.events_base", "public.log_identity"] {
        for change in [
            "DELETE FROM {}",
            "TRUNCATE {}",
            "DROP TABLE {}",
            "ALTER TABLE {} DISABLE TRIGGER ALL",
            "ALTER TABLE {} RENAME TO elsewhere",
            "ALTER TABLE {} SET SCHEMA grantlog_read_models",
            "ALTER TABLE {} OWNER TO grantlog_server",
            "CREATE TRIGGER planted BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
            "CREATE RULE planted AS ON INSERT TO {} DO INSTEAD NOTHING",
            "CREATE INDEX planted ON {} ((1))",
            "CREATE POLICY planted ON {}",
            "COPY {} FROM PROGRAM 'echo'",
            "COPY {} TO '/tmp/planted'",
            "COMMENT ON TABLE {} IS 'planted'",
        ] {
            attempts.push(change.replace("{}", table));
        }
    }
    let others = [
        "CREATE TABLE grantlog_read_models.planted () INHERITS (public.archives)",
        "UPDATE public.events SET payload = '{}'",
        "CREATE TABLE public.planted ()",
        "CREATE VIEW public.planted AS SELECT 1",
        "CREATE FUNCTION public.planted() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE public.planted AS ENUM ()",
        "CREATE SCHEMA planted",
        "CREATE EXTENSION pg_trgm",
        "CREATE OR REPLACE FUNCTION public.refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET ROLE grantlog_owner",
        "SET session_replication_role = replica",
        "ALTER ROLE grantlog_owner SET search_path = grantlog_read_models",
        "ALTER ROLE grantlog_server SUPERUSER",
        "GRANT grantlog_owner TO grantlog_server",
        "GRANT CREATE ON SCHEMA public TO grantlog_server",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = grantlog_read_models', current_database()); END $$",
        "BEGIN; LOCK TABLE public.events IN ACCESS EXCLUSIVE MODE; COMMIT",
        "INSERT INTO public._sqlx_migrations SELECT 9999, description, now(), true, checksum, 0 FROM public._sqlx_migrations LIMIT 1",
    ];
    attempts.extend(others.map(str::to_owned));
    for attempt in attempts {
        let granted = |sql: &str| try_query(site.database(), sql);
        let Err(refused) = granted(&attempt) else {
            // PostgreSQL only warns of a grant that grants nothing.
            let may = granted("SELECT has_schema_privilege('public', 'CREATE')").expect("an answer");
            assert!(attempt.starts_with("GRANT CREATE") && may == "f", "{attempt}: done");
            continue;
        };
        let words = ["permission denied", "must be owner", "must be superuser", "must have admin option", "only the"];
        assert!(words.iter().any(|word| refused.contains(word)), "{attempt}: {refused}");
    }
    assert_eq!(events(site), before);
    server.service_client().await;
}

/// Whoever rebuilds, the log stays, and the words say who wrote the name.
async fn a_name_that_grantlog_does_not_make_is_no_read_model(store: Store) {
    for planted in ["events", "projection_poison", "vault_users", "clients_v1_b1_elsewhere", "pg_temp.clients_v1_b1"] {
        for row in ["answers", "was begun"] {
            let site = Site::new(store, &[]);
            let server = Server::on(&site, &[]).await;
            server.service_client().await;
            server.stop();
            let before = events(&site);
            let (table, _) = answering(&site);
            let names = match row {
                "answers" => format!(
                    "BEGIN; INSERT INTO projection_checkpoint SELECT '{planted}', name, version, txid, position, recorded_at \
                     FROM projection_checkpoint WHERE table_name = '{table}'; UPDATE active_projection SET table_name = \
                     '{planted}' WHERE name = 'clients'; COMMIT"
                ),
                _ => format!(
                    "INSERT INTO projection_checkpoint SELECT '{planted}', name, version, 0, 0, 0 FROM \
                     projection_checkpoint WHERE table_name = '{table}'"
                ),
            };
            query(site.database(), &names);
            let refused = as_owner(&site, &["projections", "rebuild", "clients"]).await;
            assert!(!refused.status.success(), "{planted}");
            let refused = site.run(&["projections", "rebuild", "clients"]).await;
            assert!(!refused.status.success() && said(&refused).contains(planted), "{planted}: {}", said(&refused));
            let existing = ["events", "projection_poison", "vault_users"];
            assert!(
                existing.iter().all(|table| query(site.owner(), &format!("SELECT to_regclass('{table}')")) == *table)
            );
            assert_eq!(events(&site), before, "{planted}");
        }
    }
}

/// Notes who runs it, where the server's role finds it again.
const PLANT: &str = "\
    CREATE TABLE grantlog_read_models.ran (by text); \
    GRANT ALL ON grantlog_read_models.ran TO PUBLIC; GRANT USAGE ON SCHEMA grantlog_read_models TO PUBLIC; \
    CREATE FUNCTION grantlog_read_models.plant() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
        INSERT INTO grantlog_read_models.ran VALUES (current_user); RETURN true; END $$; \
    CREATE FUNCTION grantlog_read_models.triggered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        PERFORM grantlog_read_models.plant(); RETURN NEW; END $$; \
    CREATE FUNCTION grantlog_read_models.lower(varchar) RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
        PERFORM grantlog_read_models.plant(); RETURN $1; END $$; \
    CREATE FUNCTION grantlog_read_models.count(text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN \
        PERFORM grantlog_read_models.plant(); RETURN 0; END $$; ";

async fn what_the_servers_role_planted_never_runs_as_the_owner(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    let client = server.service_client().await;
    caught_up(site).await;
    let (table, view) = answering(site);
    let columns = query(
        site.owner(),
        &format!(
            "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute \
             WHERE attrelid = 'grantlog_read_models.{view}'::regclass AND attnum > 0"
        ),
    );
    server.stop();
    query(site.database(), PLANT);
    // A trigger on the table that answers and on one that seems to be a build, a view that calls, an index that calls.
    let build = table.rsplit_once('b').map(|(before, _)| format!("{before}b99")).expect("a number");
    query(
        site.database(),
        &format!(
            "CREATE TABLE grantlog_read_models.{build} (LIKE grantlog_read_models.{table} INCLUDING ALL); \
             INSERT INTO projection_checkpoint SELECT '{build}', name, version, 0, 0, 0 FROM projection_checkpoint \
                 WHERE table_name = '{table}'; \
             CREATE TRIGGER planted BEFORE INSERT OR UPDATE OR DELETE ON grantlog_read_models.{build} \
                 FOR EACH ROW EXECUTE FUNCTION grantlog_read_models.triggered(); \
             CREATE TRIGGER planted BEFORE INSERT OR UPDATE OR DELETE ON grantlog_read_models.{table} \
                 FOR EACH ROW EXECUTE FUNCTION grantlog_read_models.triggered(); \
             CREATE OR REPLACE VIEW grantlog_read_models.{view} AS SELECT {columns} FROM grantlog_read_models.{table} \
                 WHERE grantlog_read_models.plant()"
        ),
    );
    let folder = site.directory().display().to_string();
    let archive = ["events", "archive", "--older-than", "90d", "--output", &folder];
    for arguments in [
        &["migrate"][..],
        &["projections", "status"],
        &["projections", "check"],
        &["projections", "rebuild", "clients"],
        &["client", "list"],
        &["client", "show", &client.id],
        &["client", "disable", &client.id],
        &["user", "list"],
        &["session", "list"],
        &["grant", "list"],
        &["events", "list"],
        &["events", "export"],
        &["events", "partitions"],
        &["events", "archives"],
        &archive,
        &[&archive[..], &["--read-models", site.database()]].concat(),
        &["key", "list"],
    ] {
        as_owner(site, arguments).await;
        let ran = query(site.database(), "SELECT count(*) FROM grantlog_read_models.ran WHERE by <> 'grantlog_server'");
        assert_eq!(ran, "0", "{arguments:?} ran as the owner what the server's role had planted");
    }
    // The plant itself is alive: the server's role runs it.
    query(site.database(), &format!("SELECT * FROM grantlog_read_models.{view}"));
    assert_ne!(query(site.database(), "SELECT count(*) FROM grantlog_read_models.ran"), "0");
}

/// Before docs/postgres-roles.sql is run anew after an update, the server's role may still make tables in `public`.
async fn rights_of_an_earlier_release_let_nobody_plant_a_table_either(store: Store) {
    let site = Site::empty(store, &[]);
    assert!(as_owner(&site, &["migrate"]).await.status.success());
    let rights = format!(
        "GRANT USAGE, CREATE ON SCHEMA public TO {SERVER}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {SERVER}"
    );
    query(site.owner(), &rights);
    let made = ["client", "create", "--name", "Service", "--grant-type", "client_credentials"];
    assert!(as_owner(&site, &made).await.status.success());
    let (table, _) = answering(&site);
    let build = table.rsplit_once('b').map(|(before, _)| format!("{before}b99")).expect("a number");
    query(
        site.database(),
        &format!(
            "CREATE TABLE public.ran (by text); GRANT ALL ON public.ran TO PUBLIC; \
             CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO public.ran VALUES (current_user); RETURN NEW; END'; \
             CREATE TABLE public.{build} (client_id text); \
             CREATE TRIGGER planted BEFORE INSERT ON public.{build} FOR EACH ROW EXECUTE FUNCTION public.planted(); \
             INSERT INTO projection_checkpoint SELECT '{build}', name, version, 0, 0, 0 FROM projection_checkpoint \
                 WHERE table_name = '{table}'"
        ),
    );
    let refused = as_owner(&site, &["projections", "rebuild", "clients"]).await;
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(said(&refused).contains(SERVER) && said(&refused).contains("postgres-roles.sql"), "{}", said(&refused));
    assert_eq!(query(site.owner(), "SELECT count(*) FROM public.ran"), "0");
}

async fn what_does_not_belong_to_a_role_is_said_in_words(store: Store) {
    let site = Site::new(store, &[]);
    for arguments in [&["grant", "list"][..], &["projections", "rebuild"], &["projections", "check"]] {
        let refused = as_owner(&site, arguments).await;
        assert_eq!(refused.status.code(), Some(4), "{arguments:?}: {}", said(&refused));
        assert!(said(&refused).contains(&format!("run this as {SERVER}")), "{arguments:?}: {}", said(&refused));
    }
    // A role that may not make tables cannot bring them up to date.
    let site = Site::empty(store, &[]);
    let refused = site.run(&["migrate"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("as the role that owns the tables"), "{}", said(&refused));
}
