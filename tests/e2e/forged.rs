//! Somebody who may write to the database and does not have the pepper gains nothing: not at a running server, and not at
//! one that is started anew.

use serde_json::{Value, json};

use crate::harness::{
    Browser, Server, Site, Store, User, poll, random,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    events_that_nobody_decided_give_nothing,
    an_event_without_a_code_is_not_even_taken,
    the_log_of_before_is_attested_once,
]];

/// Every row of one text column.
async fn texts(site: &Site, sql: &str) -> Vec<String> {
    let rows = site.open_database().await.fetch(sql, &[]).await.expect("read");
    rows.iter().map(|row| row.text(0).expect("a text")).collect()
}

/// Appends an event behind the last one of its stream, as somebody does who has no key.
async fn forge(site: &Site, aggregate: &str, id: &str, event_type: &str, payload: &Value) {
    let metadata = json!({ "event_id": uuid::Uuid::nil(), "actor": "system" });
    let sql = format!(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac) \
         SELECT '{aggregate}', '{id}', COALESCE(MAX(sequence), 0) + 1, '{event_type}', '1.0', '{payload}', '{metadata}', \
         'AAEBAQEBAQEBAQEBAQEBAQEB' \
         FROM events WHERE aggregate_type = '{aggregate}' AND aggregate_id = '{id}'"
    );
    site.execute_as_server(&[&sql]).await;
}

async fn forged_total(server: &Server) -> f64 {
    let metrics = server.get("/metrics").send().await.expect(200).text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("grantlog_forged_events_total "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0.0)
}

/// Whoever is signed in there now is not that user.
async fn is_not(browser: &Browser, server: &Server, user: &User) {
    let page = browser.at(server).open("/account").await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
    assert!(!page.answer.text().contains(&user.username), "{}", page.answer);
}

async fn events_that_nobody_decided_give_nothing(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site().clone();
    let admin = server.user().await;
    let admin_id = texts(&site, "SELECT aggregate_id FROM events WHERE event_type = 'user.registered'").await.remove(0);
    let attacker = server.user().await;
    let browser = Browser::signed_in(&server, &attacker).await;
    let (mut own, victim) = (server.service_client().await, server.service_client().await);

    let started =
        "SELECT CAST(payload AS text) FROM events WHERE event_type = 'session.started' ORDER BY position DESC";
    let mut session: Value = serde_json::from_str(&texts(&site, started).await[0]).expect("JSON");
    session["started"]["user_id"] = json!(admin_id);
    let ids = "SELECT aggregate_id FROM events WHERE event_type = 'session.started' ORDER BY position DESC";
    let session_id = texts(&site, ids).await.remove(0);
    forge(&site, "session", &session_id, "session.started", &session).await;

    let registered = format!("SELECT CAST(payload AS text) FROM events WHERE aggregate_id = '{}'", own.id);
    let registered: Value = serde_json::from_str(&texts(&site, &registered).await[0]).expect("JSON");
    let rotated = json!({ "secret_rotated": { "secret": registered["registered"]["secret"], "at": 1_900_000_000 } });
    forge(&site, "client", &victim.id, "client.secret_rotated", &rotated).await;

    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": random(32), "kid": "forged", "alg": "EdDSA", "use": "sig" });
    let created = json!({ "created": { "alg": "EdDSA", "public_jwk": jwk, "at": 1_900_000_000 } });
    forge(&site, "signing_key", "forged", "signing_key.created", &created).await;

    poll::until("the server has met them", async || (forged_total(&server).await >= 3.0).then_some(())).await;
    let other = own.clone();
    own.id.clone_from(&victim.id);
    let gains_nothing = async |server: &Server| {
        is_not(&browser, server, &admin).await;
        let form = [("grant_type", "client_credentials")];
        server.token_as(&own, &form).await.expect_error(401, "invalid_client");
        let keys = server.get("/oauth/jwks").send().await.expect(200).text();
        assert!(!keys.contains("forged"), "{keys}");
        // Everybody else goes on.
        server.service_token(&other).await;
        assert!(Browser::signed_in(server, &attacker).await.open("/account").await.form("login-form").is_none());
    };
    gains_nothing(&server).await;
    server.stop();
    let server = Server::on(&site, &[]).await;
    gains_nothing(&server).await;

    let verified = site.run(&["--json", "events", "verify"]).await;
    assert_eq!(verified.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    let mut named: Vec<_> =
        found["events"].as_array().expect("events").iter().map(|event| &event["event_type"]).collect();
    named.sort_unstable_by_key(|name| name.to_string());
    assert_eq!(named, ["client.secret_rotated", "session.started", "signing_key.created"]);
    assert_eq!((&found["refused"], &found["attested"]), (&json!(3), &json!(0)));
    for table in ["sessions", "clients", "keys"] {
        let rebuilt = site.run_json(&["projections", "rebuild", table]).await;
        assert_eq!(rebuilt[0]["equal"], true, "{rebuilt}");
    }
}

async fn an_event_without_a_code_is_not_even_taken(store: Store) {
    let site = Site::new(store, &[]);
    site.run_well(&["migrate"]).await;
    let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata) \
               VALUES ('user', 'a', 1, 'user.registered', '1.0', '{}', '{}')";
    assert!(site.open_database().await.execute(sql, &[]).await.is_err());
}

/// What the release before appended is believed, as it was; and nobody can have it done again.
async fn the_log_of_before_is_attested_once(store: Store) {
    let site = Site::restored(store, "release-0.1", &[]).await;
    let server = Server::on(&site, &[]).await;
    let found = site.run_json(&["events", "verify"]).await;
    assert_eq!((found["refused"].as_u64(), found["attested"].as_u64() > Some(10)), (Some(0), true), "{found}");
    server.stop();
    let db = site.open_database().await;
    let drop =
        if db.is_postgres() { "ALTER TABLE events DROP CONSTRAINT events_mac" } else { "DROP TRIGGER events_mac" };
    // As the owner of the tables: a row of one's own, and the log is said to be as it was before.
    for sql in [
        drop,
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata) \
         VALUES ('user', '01909d3e-7a4b-7c1d-8e2f-000000000009', 1, 'user.registered', '1.0', '{}', '{}')",
        "UPDATE log_identity SET attested_at = NULL",
    ] {
        db.execute(sql, &[]).await.expect(sql);
    }
    let by_the_owner = ["migrate", "--database", site.owner()];
    let refused = site.run(if db.is_postgres() { &by_the_owner } else { &by_the_owner[..1] }).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("somebody has changed it"), "{refused:?}");
    let refused = site.run(&["client", "list"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("have no codes yet"), "{refused:?}");
}
