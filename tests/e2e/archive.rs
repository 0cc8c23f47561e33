//! Old grants leave the log while a server runs: `grantlog events archive`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::harness::{
    CALLBACK, Server, Site, Store, poll,
    site::query,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[
    on![Postgres:
        old_grants_leave_while_the_server_runs_and_nothing_else_changes,
        killed_at_any_moment_it_is_finished_by_the_next_run_and_nothing_is_lost,
    ],
    on![Sqlite: sqlite_says_that_archiving_needs_postgresql],
];

/// 2024-10-27, in Unix milliseconds: when the old grants begin.
const OLD_MILLIS: i64 = 1_730_000_000_000;
/// Where their partition ends.
const OLD_END: &str = "01930000-0000";

/// A migrated database that has a partition of long ago, as one that was set up long ago.
async fn aged_site() -> Site {
    let site = Site::new(Store::Postgres, &[]);
    let database = site.owner();
    let first = "SELECT c.relname || '|' || pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c \
                 ON c.oid = i.inhrelid WHERE i.inhparent = 'events_grant'::regclass \
                 AND pg_get_expr(c.relpartbound, c.oid) LIKE '%MINVALUE%'";
    let first = query(database, first);
    let (name, bounds) = first.split_once('|').expect("the first partition");
    let later = bounds.replace("MINVALUE", &format!("'{OLD_END}'"));
    query(
        database,
        &format!(
            "ALTER TABLE events_grant DETACH PARTITION {name}; \
             CREATE TABLE events_grant_until_old PARTITION OF events_grant FOR VALUES FROM (MINVALUE) TO ('{OLD_END}'); \
             ALTER TABLE events_grant ATTACH PARTITION {name} {later};"
        ),
    );
    site
}

/// Appends grants of long ago, a second each; every second one was ended by hand. Answers how many events they are.
async fn append_old(site: &Site, grants: i64) -> i64 {
    let client = "01909d3e-7a4b-7c1d-8e2f-000000000002";
    let metadata = r#"{"event_id":"01909d3e-7a4b-7c1d-8e2f-000000000004","actor":"system"}"#;
    let id = format!("lpad(to_hex({OLD_MILLIS} + g * 1000), 12, '0')");
    let insert = format!(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         mac, recorded_at) SELECT 'grant', left({id}, 8) || '-' || right({id}, 4) || '-7000-8000-' || lpad(to_hex(g), 12, '0'), \
         s, CASE s WHEN 1 THEN 'grant.opened' ELSE 'grant.revoked' END, '1.0', \
         CASE s WHEN 1 THEN json_build_object('opened', json_build_object('grant_type', 'client_credentials', \
         'client_id', '{client}', 'scope', 'profile', 'access_token', json_build_object('hash', \
         '1.AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE', 'scope', 'profile', 'expires_at', at + 3600), \
         'expires_at', at + 3600, 'at', at)) \
         ELSE json_build_object('revoked', json_build_object('reason', 'client', 'at', at + 60)) END, \
         '{metadata}'::json, '', to_timestamp(at) \
         FROM generate_series(1, {grants}) g, LATERAL (SELECT {OLD_MILLIS} / 1000 + g AS at) t, \
         generate_series(1, 1 + g % 2) s"
    );
    site.append_sql(&insert).await;
    count(site)
}

fn count(site: &Site) -> i64 {
    query(site.owner(), "SELECT count(*) FROM events WHERE aggregate_type = 'grant'").parse().expect("a number")
}

async fn caught_up(site: &Site) {
    poll::until_at_most(Duration::from_secs(60), "the tables have taken in the old grants", async || {
        let status = site.run_json(&["projections", "status"]).await;
        let tables = status["tables"].as_array().expect("tables").clone();
        tables.iter().all(|table| table["lag_events"] == 0).then_some(())
    })
    .await;
}

fn folder(site: &Site) -> PathBuf {
    let folder = site.directory().join("archive");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A secret of that kind that names this grant, as somebody may still hold one.
fn of_grant(secret: &str, grant: &str) -> String {
    let (kind, rest) = secret.split_at(4);
    let mut bytes = URL_SAFE_NO_PAD.decode(rest).expect("a secret");
    let id: String = grant.chars().filter(char::is_ascii_hexdigit).collect();
    bytes[..16].copy_from_slice(&u128::from_str_radix(&id, 16).expect("an id").to_be_bytes());
    format!("{kind}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Only the owner archives; what users are shown it hears through the server's role.
fn by_the_owner<'a>(site: &'a Site, folder: &'a str) -> [&'a str; 10] {
    let roles = ["--database", site.owner(), "--read-models", site.database()];
    let [database, owner, read_models, server] = roles;
    ["events", "archive", "--older-than", "90d", "--output", folder, database, owner, read_models, server]
}

async fn old_grants_leave_while_the_server_runs_and_nothing_else_changes(_: Store) {
    let site = aged_site().await;
    let server = Server::on(&site, &[]).await;
    let (user, client) = (server.user().await, server.web_client().await);
    let kept = server.tokens(&client, &user).await;
    let ended = server.tokens(&client, &user).await;
    server.revoke_as(&client, &ended.refresh).await.expect(200);
    append_old(&site, 3000).await;
    let oldest = "SELECT min(aggregate_id) FROM events WHERE aggregate_type = 'grant'";
    let oldest = query(site.owner(), oldest);
    caught_up(&site).await;
    let folder = folder(&site).display().to_string();

    // Flows go on meanwhile; each of them asserts its own answers.
    let arguments = by_the_owner(&site, &folder);
    let running = site.run_json(&arguments);
    let flows = async {
        for _ in 0..10 {
            let tokens = server.tokens(&client, &user).await;
            assert!(server.is_active(&client, &tokens.access).await);
            server.refresh(&client, &tokens.refresh).await.expect(200);
        }
    };
    let (archived, ()) = tokio::join!(running, flows);
    let archived = archived.as_array().expect("a list").clone();
    assert_eq!((archived.len(), &archived[0]["outcome"]), (1, &Value::from("archived")), "{archived:?}");
    assert_eq!((&archived[0]["events"], &archived[0]["grants"]), (&4500.into(), &3000.into()));
    assert_eq!(site.run_json(&arguments).await, Value::Array(Vec::new()), "a second time there is nothing to do");

    // What lives is untouched, and the read models equal base and log.
    assert!(server.is_active(&client, &kept.access).await);
    assert!(!server.is_active(&client, &ended.access).await);
    server.refresh(&client, &kept.refresh).await.expect(200);
    site.run_well(&["projections", "check"]).await;
    site.run_well(&["projections", "rebuild"]).await;

    // Who comes with something of a grant that left is told the same as with something that never was.
    let (access, refresh) = (of_grant(&kept.access, &oldest), of_grant(&kept.refresh, &oldest));
    assert!(!server.is_active(&client, &access).await);
    server.refresh(&client, &refresh).await.expect_error(400, "invalid_grant");
    // A code has the shape of a refresh token, with another prefix.
    let code = refresh.replacen("glr_", "glc_", 1);
    let form = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", CALLBACK)];
    server.token_as(&client, &form).await.expect_error(400, "invalid_grant");
    server.revoke_as(&client, &refresh).await.expect(200);
    let shown = site.run(&["grant", "show", &oldest]).await;
    assert_eq!(shown.status.code(), Some(3), "not found");

    // The file stands for itself: no database is asked.
    let file = archived[0]["file"].as_str().expect("a file");
    let nowhere = ["--database", "postgres://127.0.0.1:1/none", "events"];
    let verified = site.run_json(&[&nowhere[..], &["archive", "--verify", file]].concat()).await;
    assert_eq!((&verified["whole"], &verified["sha256"]), (&true.into(), &archived[0]["sha256"]));
    let listed = site.run_json(&[&nowhere[..], &["list", "--archive", file, "--aggregate", &oldest]].concat()).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed[1]["event_type"], "grant.revoked");
    let records = site.run_json(&["events", "archives"]).await;
    assert_eq!((&records[0]["sha256"], &records[0]["totals"]["events"]), (&archived[0]["sha256"], &4500.into()));
    let damaged = Path::new(file).with_extension("damaged");
    let mut bytes = fs::read(file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&damaged, bytes).expect("written");
    let refused = site.run(&["events", "archive", "--verify", &damaged.display().to_string()]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("checksum"));
}

async fn killed_at_any_moment_it_is_finished_by_the_next_run_and_nothing_is_lost(_: Store) {
    let site = aged_site().await;
    let server = Server::on(&site, &[]).await;
    let before = append_old(&site, 20_000).await;
    caught_up(&site).await;
    let folder = folder(&site).display().to_string();
    let arguments = by_the_owner(&site, &folder);
    for round in 0..12 {
        let mut command = site.command();
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        // Each round a little later than the one before.
        tokio::time::sleep(Duration::from_millis(60 * (round + 1))).await;
        child.kill().expect("killed");
        child.wait().expect("ended");
        let (live, archived) = (count(&site), archived(&site).await);
        assert_eq!(live + archived, before, "round {round}: {live} in the log, {archived} in files");
    }
    let finished = poll::until("no session of a killed run holds the lock", async || {
        let run = site.run(&arguments).await;
        run.status.success().then_some(run)
    })
    .await;
    assert!(finished.status.success());
    assert_eq!((count(&site), archived(&site).await), (0, before));
    let left = "SELECT count(*) FROM pg_class WHERE relname = 'events_grant_until_old'";
    assert_eq!(query(site.owner(), left), "0");
    site.run_well(&["projections", "check"]).await;
    drop(server);
}

/// Events in the files that the database knows of; each file is whole.
async fn archived(site: &Site) -> i64 {
    let mut events = 0;
    for record in site.run_json(&["events", "archives"]).await.as_array().expect("a list") {
        let file = record["file"].as_str().expect("a file");
        site.run_well(&["events", "archive", "--verify", file]).await;
        events += record["totals"]["events"].as_i64().expect("a number");
    }
    events
}

async fn sqlite_says_that_archiving_needs_postgresql(_: Store) {
    let site = Site::new(Store::Sqlite, &[]);
    site.run_well(&["migrate"]).await;
    for arguments in
        [&["events", "archive", "--older-than", "90d"][..], &["events", "archives"], &["events", "partitions"]]
    {
        let refused = site.run(arguments).await;
        assert_eq!(refused.status.code(), Some(4), "{arguments:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("needs PostgreSQL"), "{arguments:?}");
    }
}
