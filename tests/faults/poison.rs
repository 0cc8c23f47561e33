//! Rows in the log that cannot be read: written by a newer version, damaged, or by a foreign hand. DESIGN.md 4: a poison
//! event quarantines its aggregate, an unknown type stops the reader, and neither passes in silence.

use std::time::Duration;

use crate::harness::{Client, Server, Site, Tokens, poll};
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "poison",
    fault: "undecodable rows and unknown event types in the log",
    stores: BOTH,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(poison(run)),
};

async fn poison(run: Run) -> Report {
    let mut report = Report::default();
    for _ in 0..run.rounds {
        report.rounds += 1;
        let site = Site::new(run.store, &[]);
        let server = Server::on(&site, &[]).await;
        let (client, user) = (server.password_client().await, server.user().await);
        let mut families = Vec::new();
        for _ in 0..3 {
            families.push(server.password_tokens(&client, &user).await);
        }
        report.acknowledged += families.len();
        let [damaged, garbled, well] = &families[..] else { unreachable!("three") };
        append(&site, damaged, "grant.refreshed", r#"{"refreshed":{"access_token":7}}"#).await;
        append(&site, garbled, "grant.refreshed", r#""not an event""#).await;
        quarantined(&server, &client, &[damaged, garbled], well, &mut report).await;
        // Also after a start, when everything comes from the tables and the log again.
        server.stop();
        let server = Server::on(&site, &[]).await;
        quarantined(&server, &client, &[damaged, garbled], well, &mut report).await;
        rebuilt(&site, &mut report).await;
        ended_around(&site, &server, &mut report).await;

        append(&site, well, "grant.teleported", "{}").await;
        unknown(&site, &server, &client, well, &mut report).await;
    }
    report
}

/// Grants with a poison event are not active and take no refresh; others live on, and metrics count it.
async fn quarantined(server: &Server, client: &Client, poisoned: &[&Tokens], well: &Tokens, report: &mut Report) {
    for tokens in poisoned {
        poll::until("a grant with a poison event is not active", async || {
            (!server.is_active(client, &tokens.access).await).then_some(())
        })
        .await;
        let answer = server.refresh(client, &tokens.refresh).await;
        report.check(answer.status != 200, || format!("a damaged grant was refreshed: {answer}"));
    }
    report.check(server.is_active(client, &well.access).await, || "a grant beside a damaged one ended".to_owned());
    poll::until("/metrics counts the poison", async || {
        let metrics = server.get("/metrics").send().await.text();
        let is_counted = |line: &str| line.starts_with("grantlog_projection_poison") && !line.ends_with(" 0");
        metrics.lines().any(is_counted).then_some(())
    })
    .await;
}

/// What ends all of a client's grants goes on around a damaged one, and tells of it.
async fn ended_around(site: &Site, server: &Server, report: &mut Report) {
    let (client, user) = (server.password_client().await, server.user().await);
    let (damaged, well) = (server.password_tokens(&client, &user).await, server.password_tokens(&client, &user).await);
    append(site, &damaged, "grant.refreshed", r#"{"refreshed":{"access_token":7}}"#).await;
    let output = site.run(&["grant", "revoke", "--client", &client.id]).await;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let told = output.status.success() && said.contains(&grant_of(&damaged.access).to_string());
    report.check(told, || format!("grant revoke around a damaged grant: {said}"));
    report.check(has_ended(site, &well).await, || "a grant beside a damaged one was not revoked".to_owned());

    let well = server.password_tokens(&client, &user).await;
    site.run_well(&["client", "disable", &client.id]).await;
    let ended = poll::within(Duration::from_secs(20), async || has_ended(site, &well).await.then_some(()));
    report.check(ended.await.is_some(), || "a disabled client kept a grant beside a damaged one".to_owned());
    let output = site.run(&["client", "enable", &client.id]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    report.check(output.status.success(), || format!("client enable around a damaged grant: {said}"));
    poll::until("/metrics tells that what follows from disabled clients goes on", async || {
        let metrics = server.get("/metrics").send().await.text();
        let has = |wanted: &dyn Fn(&str) -> bool| metrics.lines().any(wanted);
        let passed_over = |line: &str| line.starts_with("grantlog_consequences_damaged_total") && !line.ends_with(" 0");
        (has(&|line| line == "grantlog_consequences_lag_seconds 0") && has(&passed_over)).then_some(())
    })
    .await;
    report.acknowledged += 2;
}

async fn has_ended(site: &Site, tokens: &Tokens) -> bool {
    site.run_json(&["grant", "show", &grant_of(&tokens.access).to_string()]).await["status"] == "revoked"
}

/// A rebuild goes over the rows and says so.
async fn rebuilt(site: &Site, report: &mut Report) {
    let output = site.run(&["projections", "rebuild", "grants"]).await;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    report.check(output.status.success(), || format!("a rebuild over a poison event failed: {text}"));
    let status = site.run_json(&["projections", "status"]).await;
    let tables = status["tables"].as_array().cloned().unwrap_or_default();
    let poison: i64 = tables.iter().filter_map(|table| table["poison"].as_i64()).sum();
    report.check(poison > 0, || format!("projections status does not count the poison: {status}"));
}

/// An event type of a newer version: the server stops believing its memory, says why, and does not start with it.
async fn unknown(site: &Site, server: &Server, client: &Client, stopped: &Tokens, report: &mut Report) {
    let answer = poll::until("the server says that it is not ready", async || {
        let answer = server.get("/health/ready").send().await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    report.check(answer.text().contains("newer version"), || format!("it does not say why: {answer}"));
    // Memory answers for `max_staleness` after the feed was last read to its end, and then no more.
    let ended = poll::within(Duration::from_secs(5), async || {
        let answer = server.post_as(client, "/oauth/introspect", &[("token", &stopped.access)]).send().await;
        (answer.status != 200 || answer.json()["active"] != true).then_some(())
    });
    report.check(ended.await.is_some(), || "a grant with an unknown event stays active".to_owned());
    let status = site.run(&["projections", "status"]).await;
    let text = String::from_utf8_lossy(&[status.stdout, status.stderr].concat()).into_owned();
    report.check(text.contains("grant.teleported"), || format!("projections status does not name it: {text}"));
    let rebuild = site.run(&["projections", "rebuild", "grants"]).await;
    report.check(!rebuild.status.success(), || "a rebuild over an unknown event type came to an end".to_owned());
    server.stop();
    let start = site.run(&["serve", "--listen", "127.0.0.1:0", "--issuer", "http://127.0.0.1:1"]).await;
    let text = String::from_utf8_lossy(&[start.stdout, start.stderr].concat()).into_owned();
    let refused = !start.status.success() && text.contains("grant.teleported");
    report.check(refused, || format!("a start on a newer log: {text}"));
}

/// Writes a row behind the last one of the newest grant with these tokens, as no Grantlog would.
async fn append(site: &Site, tokens: &Tokens, kind: &str, payload: &str) {
    let grant = grant_of(&tokens.access);
    let mut event_id = [0; 16];
    fastrand::fill(&mut event_id);
    let sql = format!(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         mac) SELECT 'grant', '{grant}', MAX(sequence) + 1, '{kind}', '1.0', '{payload}', \
         '{{\"event_id\":\"{}\",\"actor\":\"system\"}}', '' FROM events WHERE aggregate_type = 'grant' AND aggregate_id = '{grant}'",
        // Version 4: an id of version 7 would tell a time, which a command on SQLite goes on from.
        uuid::Builder::from_random_bytes(event_id).into_uuid()
    );
    site.append_sql(&sql).await;
}

/// The grant's id, which every token begins with.
fn grant_of(token: &str) -> uuid::Uuid {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let (_, encoded) = token.split_once('_').expect("a prefix");
    let bytes = URL_SAFE_NO_PAD.decode(encoded).expect("base64url");
    uuid::Uuid::from_slice(&bytes[..16]).expect("an id")
}
