//! Several nodes on one PostgreSQL: what one of them, or the command line, ends is ended on all of them.

use serde_json::Value;

use crate::harness::{
    Client, Server, Site, Store, poll,
    site::query,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[on![Postgres:
    what_the_command_line_ends_is_ended_on_every_node,
    a_changed_registration_holds_on_every_node,
    a_lost_listener_is_replaced_and_nothing_is_missed,
    a_node_that_meets_an_unknown_event_asks_the_log,
    one_node_keeps_each_projection_and_another_takes_over,
]];

async fn nodes(settings: &[(&str, &str)]) -> (Site, [Server; 2]) {
    let site = Site::new(Store::Postgres, settings);
    let nodes = [Server::on(&site, &[]).await, Server::on(&site, &[]).await];
    (site, nodes)
}

/// Waits until every node says so.
async fn everywhere(nodes: &[Server], what: &str, holds: impl AsyncFn(&Server) -> bool) {
    for node in nodes {
        poll::until(what, async || holds(node).await.then_some(())).await;
    }
}

/// A client that knows its way, seen by all nodes.
async fn known(nodes: &[Server], client: Client) -> Client {
    for node in nodes {
        node.knows(&client).await;
    }
    client
}

async fn what_the_command_line_ends_is_ended_on_every_node(_: Store) {
    let (site, nodes) = nodes(&[]).await;
    let client = known(&nodes, nodes[0].password_client().await).await;
    let asking = known(&nodes, nodes[0].api_client().await).await;
    let (first, second) = (nodes[0].user().await, nodes[0].user().await);
    let revoked = nodes[0].password_tokens(&client, &first).await;
    let grant = poll::until("the grant is listed", async || {
        let grants = site.run_json(&["grant", "list", "--client", &client.id]).await;
        ["grant_id", "id"].iter().find_map(|name| grants[0][name].as_str()).map(str::to_owned)
    })
    .await;
    let disabled = nodes[0].password_tokens(&client, &second).await;
    everywhere(&nodes, "both tokens are active", async |node| {
        node.is_active(&asking, &revoked.access).await && node.is_active(&asking, &disabled.access).await
    })
    .await;

    site.run_well(&["grant", "revoke", &grant]).await;
    everywhere(&nodes, "a revoked grant", async |node| !node.is_active(&asking, &revoked.access).await).await;

    site.run_well(&["user", "disable", &second.username]).await;
    everywhere(&nodes, "a disabled user", async |node| {
        let me = node.get("/api/me").bearer(&disabled.access).send().await;
        me.status == 401 && !node.is_active(&asking, &disabled.access).await
    })
    .await;

    let keys = |answer: Value| answer["keys"].as_array().map_or(0, Vec::len);
    site.run_well(&["key", "rotate"]).await;
    let published = site.run_json(&["key", "list"]).await.as_array().map_or(0, Vec::len);
    everywhere(&nodes, "a rotated key", async |node| {
        keys(node.get("/oauth/jwks").send().await.expect(200).json()) == published
    })
    .await;

    site.run_well(&["client", "disable", &asking.id]).await;
    everywhere(&nodes, "a disabled client", async |node| {
        node.token_as(&asking, &[("grant_type", "client_credentials")]).await.status == 401
    })
    .await;
}

async fn a_changed_registration_holds_on_every_node(_: Store) {
    let (site, nodes) = nodes(&[]).await;
    let client = known(&nodes, nodes[0].service_client().await).await;
    let rotated = site.run_json(&["client", "rotate-secret", &client.id]).await;
    let secret = rotated["client_secret"].as_str().expect("a new secret").to_owned();
    crate::harness::secrets::register(&secret);
    let changed = Client { secret, ..client.clone() };
    everywhere(&nodes, "the new secret, and the old one no more", async |node| {
        let form = [("grant_type", "client_credentials")];
        node.token_as(&changed, &form).await.status == 200 && node.token_as(&client, &form).await.status == 401
    })
    .await;
}

/// The sessions that listen for appends.
const LISTENERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";

async fn a_lost_listener_is_replaced_and_nothing_is_missed(_: Store) {
    let (site, nodes) = nodes(&[]).await;
    let client = known(&nodes, nodes[0].service_client().await).await;
    let listening = async || {
        let count = query(site.owner(), &format!("SELECT count(*) {LISTENERS}"));
        (count == "2").then_some(())
    };
    poll::until("both nodes listen", listening).await;
    let token = nodes[0].service_token(&client).await;
    query(site.owner(), &format!("SELECT pg_terminate_backend(pid) {LISTENERS}"));
    nodes[0].revoke_as(&client, &token).await.expect(200);
    everywhere(&nodes, "a revocation that nobody announced", async |node| !node.is_active(&client, &token).await).await;
    poll::until("both listen again", listening).await;
}

async fn a_node_that_meets_an_unknown_event_asks_the_log(_: Store) {
    let (site, nodes) = nodes(&[]).await;
    let client = known(&nodes, nodes[0].service_client().await).await;
    let (kept, revoked) = (nodes[0].service_token(&client).await, nodes[0].service_token(&client).await);
    // As a newer binary on another node would write it.
    site.append_sql(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac) \
         SELECT 'grant', 'of-tomorrow', 1, 'grant.suspended', '1.0', '{}', metadata, '' FROM events LIMIT 1",
    )
    .await;
    for node in &nodes {
        poll::until("it says so", async || (node.get("/health/ready").send().await.status == 503).then_some(())).await;
        poll::until("what it knows is too old to be relied on", async || {
            let health = node.get("/health/ready").send().await.expect(503).json();
            let checks = health["checks"].as_array().expect("checks").clone();
            checks.iter().any(|check| check["staleness_ms"].as_u64() > Some(1000)).then_some(())
        })
        .await;
    }
    nodes[0].revoke_as(&client, &revoked).await.expect(200);
    for node in &nodes {
        assert!(node.is_active(&client, &kept).await);
        assert!(!node.is_active(&client, &revoked).await, "acknowledged before the question was asked");
    }
    site.run_well(&["client", "disable", &client.id]).await;
    for node in &nodes {
        node.token_as(&client, &[("grant_type", "client_credentials")]).await.expect_invalid_client();
    }
}

/// The process ids that keep the tables which answer; 0 where nobody does.
async fn keepers(site: &Site) -> Vec<u32> {
    let status = site.run_json(&["projections", "status"]).await;
    let tables = status["tables"].as_array().expect("tables").iter();
    let keeper = |table: &Value| table["kept_by"].as_str()?.split('@').next()?.parse().ok();
    tables.filter(|table| table["active"] == true).map(|table| keeper(table).unwrap_or_default()).collect()
}

async fn one_node_keeps_each_projection_and_another_takes_over(_: Store) {
    let (site, [first, second]) = nodes(&[]).await;
    let client = first.service_client().await;
    second.knows(&client).await;
    let processes = [first.process_id(), second.process_id()];
    poll::until("each projection is kept by one of them", async || {
        let keepers = keepers(&site).await;
        (!keepers.is_empty() && keepers.iter().all(|keeper| processes.contains(keeper))).then_some(())
    })
    .await;
    let (keeping, other) = if keepers(&site).await[0] == processes[0] { (first, second) } else { (second, first) };
    let metrics = keeping.get("/metrics").send().await.expect(200).text();
    assert!(metrics.contains("grantlog_projection_kept{projection=\"tokens\"} 1"), "{metrics}");
    keeping.kill();
    let token = other.service_token(&client).await;
    poll::until("the other one keeps all of them", async || {
        keepers(&site).await.iter().all(|keeper| *keeper == other.process_id()).then_some(())
    })
    .await;
    site.run_well(&["projections", "check"]).await;
    assert!(other.is_active(&client, &token).await);
}
