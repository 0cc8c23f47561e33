//! Rotating and retiring the pepper (`grantlog pepper`), while servers run.

use std::{fs, process::Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::conformance::rp::Rp;
use crate::harness::assertion::{claims, parameters};
use crate::harness::{
    Browser, Client, Server, Site, Store, User, poll, secrets,
    signer::hs256,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    a_leaked_pepper_is_retired_while_servers_run,
    retiring_goes_on_where_it_was_killed,
    a_prepared_pepper_is_used_when_it_is_said,
    peppers_of_the_environment_are_rotated_by_hand,
]];

/// The pepper that a token was made with.
fn pepper_of(token: &str) -> u16 {
    let raw = URL_SAFE_NO_PAD.decode(&token[4..]).expect("base64url");
    u16::from_be_bytes([raw[16], raw[17]])
}

/// Rotates, and waits until these servers make their tokens with the new pepper.
async fn rotate(nodes: &[Server], asking: &Client) {
    let site = nodes[0].site();
    let rotated = site.run_json(&["pepper", "rotate"]).await;
    assert_eq!(rotated["id"], 2, "{rotated}");
    taken_over(nodes, asking).await;
}

async fn taken_over(nodes: &[Server], asking: &Client) {
    for node in nodes {
        poll::until("the new pepper is used", async || {
            (pepper_of(&node.service_token(asking).await) == 2).then_some(())
        })
        .await;
    }
}

/// Two servers where the store lets them run on different machines.
async fn nodes(store: Store) -> (Site, Vec<Server>) {
    let site = Site::new(store, &[]);
    let mut nodes = vec![Server::on(&site, &[]).await];
    if store == Store::Postgres {
        nodes.push(Server::on(&site, &[]).await);
    }
    (site, nodes)
}

fn lines(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.directory().join("grantlog.pepper")).expect("the pepper file");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Where the server's role does not own the events, their owner makes their codes anew.
async fn codes_anew(site: &Site) {
    if matches!(site.store(), Store::Postgres) {
        let refused = site.run(&["pepper", "retire", "1"]).await;
        assert!(String::from_utf8_lossy(&refused.stderr).contains("grantlog migrate"), "{refused:?}");
    }
    site.run_well(&["migrate", "--database", site.owner()]).await;
}

async fn pepper(site: &Site, id: u16) -> Value {
    let all = site.run_json(&["pepper", "list"]).await;
    let found = all.as_array().and_then(|all| all.iter().find(|pepper| pepper["id"] == id));
    found.unwrap_or_else(|| panic!("no pepper {id} in {all}")).clone()
}

async fn a_leaked_pepper_is_retired_while_servers_run(store: Store) {
    let (site, nodes) = nodes(store).await;
    let server = &nodes[0];
    let (user, service, asking) = (server.user().await, server.service_client().await, server.api_client().await);
    let signing = ["--grant-type", "client_credentials", "--scope", "read", "--auth-method", "client_secret_jwt"];
    let signing = server.client(&signing).await;
    let assert_with = async |node: &Server, secret: &str| {
        let assertion = hs256(secret.as_bytes(), &json!({ "alg": "HS256" }), &claims(node, &signing));
        let form = [&[("grant_type", "client_credentials")][..], &parameters(&assertion)].concat();
        node.post("/oauth/token").form(&form).send().await
    };
    let pairwise = Rp::with(server, "code", &["--subject-type", "pairwise"]).await;
    let (mut browser, mut later) = (Browser::new(server), Browser::new(server));
    let login = pairwise.login(&mut browser, &user, &[]).await;
    let old_refresh = login.tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
    let old_access = login.access_token().expect("an access token").to_owned();
    assert_eq!(pepper_of(&old_access), 1);

    rotate(&nodes, &service).await;
    assert_eq!(lines(&site).len(), 2);
    // Nothing has changed for anybody; what is made now is made with the new one.
    for node in &nodes {
        assert!(node.is_active(&asking, &old_access).await);
        assert_with(node, &signing.secret).await.expect(200);
    }
    let after = pairwise.login(&mut later, &user, &[]).await;
    assert_eq!(after.claims["sub"], login.claims["sub"]);
    let new_access = after.access_token().expect("an access token").to_owned();
    assert_eq!(pepper_of(&new_access), 2);
    let rests = pepper(&site, 1).await["rests"].clone();
    assert_eq!(rests["client_secrets"], 3, "{rests}");
    assert!(rests["sessions"].as_i64() >= Some(1) && rests["grants"].as_i64() >= Some(1), "{rests}");
    assert_eq!(rests["vault"]["usernames"], 1, "{rests}");

    // The newest one stays; without a word nothing ends.
    let refused = site.run(&["pepper", "retire", "2"]).await;
    assert_eq!(refused.status.code(), Some(4));
    codes_anew(&site).await;
    let refused = site.run(&["pepper", "retire", "1"]).await;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{message}");
    assert!(message.contains("3 client secrets") && message.contains(&asking.id), "{message}");
    assert!(server.is_active(&asking, &old_access).await);
    assert_eq!(pepper(&site, 1).await["rests"]["vault"]["usernames"], 0);

    let done = site.run_json(&["pepper", "retire", "1", "--end", "--remove"]).await;
    assert_eq!(done["removed"], true);
    let without = done["clients_without_secret"].as_array().expect("a list");
    assert_eq!(without.len(), 3, "{done}");
    assert!(without.iter().all(|client| client["client_id"] != json!(signing.id)), "{done}");
    assert!(lines(&site).len() == 1 && lines(&site)[0].starts_with("2 "));
    assert_eq!(pepper(&site, 1).await["status"], "retired");

    // What rested on it opens nothing, on every server.
    for node in &nodes {
        poll::until("the old pepper is worth nothing", async || {
            let form = [("grant_type", "client_credentials")];
            (node.token_as(&service, &form).await.status == 401).then_some(())
        })
        .await;
    }
    let asking = renewed(&site, server, &asking).await;
    let rp = Rp { client: renewed(&site, server, &pairwise.client).await, ..pairwise };
    assert!(!server.is_active(&asking, &old_access).await);
    server.refresh(&rp.client, &old_refresh).await.expect_error(400, "invalid_grant");
    assert!(!browser.open("/").await.is_signed_in());
    // What began under the new one goes on.
    assert!(server.is_active(&asking, &new_access).await);
    assert!(later.open("/").await.is_signed_in());
    let rp = goes_on(&nodes, &user, rp, &login.claims["sub"]).await;
    for node in &nodes {
        assert_with(node, &signing.secret).await.expect(200);
    }

    // And without the line in the file.
    drop(nodes);
    let again = Server::on(&site, &[]).await;
    assert!(again.is_active(&asking, &new_access).await);
    goes_on(std::slice::from_ref(&again), &user, rp, &login.claims["sub"]).await;
    assert_with(&again, &signing.secret).await.expect(200);
}

/// Password, signing and the pairwise subject.
async fn goes_on(nodes: &[Server], user: &User, mut rp: Rp, sub: &Value) -> Rp {
    for node in nodes {
        rp.server = node.clone();
        let login = rp.login(&mut Browser::new(node), user, &[]).await;
        assert_eq!(&login.claims["sub"], sub);
    }
    rp
}

/// The client with a new secret, which the server knows.
async fn renewed(site: &Site, server: &Server, client: &Client) -> Client {
    let rotated = site.run_json(&["client", "rotate-secret", &client.id]).await;
    let secret = rotated["client_secret"].as_str().expect("a new secret").to_owned();
    secrets::register(&secret);
    let renewed = Client { secret, ..client.clone() };
    server.knows(&renewed).await;
    renewed
}

async fn retiring_goes_on_where_it_was_killed(store: Store) {
    let (site, nodes) = nodes(store).await;
    let server = &nodes[0];
    let (user, asking) = (server.user().await, server.service_client().await);
    rotate(&nodes, &asking).await;
    let mut retire = site.command();
    retire.args(["pepper", "retire", "1", "--wait"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut waiting = retire.spawn().expect("the command runs");
    poll::until("it has begun", async || {
        let pepper = pepper(&site, 1).await;
        (pepper["status"] == "retiring" && pepper["rests"]["vault"]["usernames"] == 0).then_some(())
    })
    .await;
    waiting.kill().expect("it runs");
    waiting.wait().expect("a child");
    // Half done is no trouble for anybody, with the file as it is.
    let client = server.password_client().await;
    server.password_tokens(&client, &user).await;
    drop(nodes);
    let server = Server::on(&site, &[]).await;
    server.password_tokens(&client, &user).await;
    // The one client that had its secret from before gets a new one: then nothing is left to wait for.
    let asking = renewed(&site, &server, &asking).await;
    codes_anew(&site).await;
    site.run_well(&["pepper", "retire", "1", "--end"]).await;
    site.run_well(&["events", "verify"]).await;
    assert_eq!(lines(&site).len(), 2);
    server.service_token(&asking).await;
    // Once more changes nothing, and takes the line out.
    site.run_well(&["pepper", "retire", "1", "--remove"]).await;
    assert_eq!(lines(&site).len(), 1);
    server.password_tokens(&client, &user).await;
}

async fn a_prepared_pepper_is_used_when_it_is_said(store: Store) {
    let (site, nodes) = nodes(store).await;
    let asking = nodes[0].service_client().await;
    let prepared = site.run_json(&["pepper", "rotate", "--prepare"]).await;
    assert_eq!(prepared, json!({ "id": 2, "used_from": null }));
    assert_eq!(pepper(&site, 2).await["status"], "known");
    assert_eq!(pepper_of(&nodes[0].service_token(&asking).await), 1);
    let refused = site.run(&["pepper", "retire", "1"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pepper rotate"));
    // No third one: what is in the file is used first.
    rotate(&nodes, &asking).await;
    assert_eq!(lines(&site).len(), 2);
}

async fn peppers_of_the_environment_are_rotated_by_hand(store: Store) {
    // Bytes that no hash in another test is made of: the search for leftovers would take that for this key.
    let key = |id: u8| URL_SAFE_NO_PAD.encode([0xA0 + id; 32]);
    let line = |id: u8| format!("{id} {}", key(id));
    secrets::register(&key(1));
    secrets::register(&key(2));
    let site = Site::new(store, &[("PEPPER", &line(1))]);
    let server = Server::on(&site, &[]).await;
    let refused = site.run(&["pepper", "rotate"]).await;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{message}");
    assert!(message.contains("GRANTLOG_PEPPER") && message.contains(";2 KEY"), "{message}");
    drop(server);
    let run = |arguments: &'static [&str]| {
        let mut command = site.command();
        command.env("GRANTLOG_PEPPER", format!("{};{}", line(1), line(2))).args(arguments);
        command.output().expect("the command runs")
    };
    let rotated = run(&["pepper", "rotate", "--json"]);
    let answer: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
    assert_eq!(answer["id"], 2, "{answer}");
    let list = run(&["pepper", "list", "--json"]);
    let all: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
}
