//! What a server tells its operator while it runs: log lines and metrics.

use serde_json::Value;

use crate::harness::{
    Server, Store, poll,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    every_request_can_be_found_in_the_log_by_its_id,
    the_log_is_json_when_the_setting_says_so,
    metrics_tell_of_requests_appends_and_lag,
]];

async fn every_request_can_be_found_in_the_log_by_its_id(store: Store) {
    let server = Server::start(store, &[("LOG_LEVEL", "debug")]).await;
    let client = server.service_client().await;
    server.service_token(&client).await;
    let answer = server.token_as(&client, &[("grant_type", "magic")]).await;
    let id = answer.header("x-request-id").expect("an id").to_owned();
    poll::until("the log has a line with the id, the route and the status", async || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains(&id))?.to_owned();
        assert!(line.contains("/oauth/token") && line.contains("400"), "{line}");
        Some(())
    })
    .await;
}

async fn the_log_is_json_when_the_setting_says_so(store: Store) {
    let server = Server::start(store, &[("LOG_FORMAT", "json"), ("LOG_LEVEL", "debug")]).await;
    let id = server.get("/account").send().await.header("x-request-id").expect("an id").to_owned();
    poll::until("the log has a line with the id", async || server.log().contains(&id).then_some(())).await;
    server.stop();
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert!(lines.len() > 2, "{log}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["timestamp", "level", "target"] {
            assert!(line[name].is_string(), "no {name} in {line}");
        }
    }
    // Beside the log, on standard output, stands where the server is.
    assert!(log.lines().count() - lines.len() <= 1, "{log}");
}

async fn metrics_tell_of_requests_appends_and_lag(store: Store) {
    let server = Server::start(store, &[]).await;
    let client = server.service_client().await;
    server.service_token(&client).await;
    let metrics = poll::until("the metrics have all that they promise", async || {
        let metrics = server.get("/metrics").send().await.expect(200).text();
        let names = [
            "grantlog_http_requests_total{",
            "grantlog_http_request_seconds_bucket{",
            "grantlog_http_connections ",
            "grantlog_appends_total{",
            "grantlog_append_seconds_bucket{",
            "grantlog_append_batch_size_bucket{",
            "grantlog_live_staleness_seconds ",
            "grantlog_projection_lag_events{",
            "grantlog_projection_lag_seconds{",
        ];
        names.iter().all(|name| metrics.lines().any(|line| line.starts_with(name))).then_some(metrics)
    })
    .await;
    let tokens = metrics.lines().find(|line| {
        line.starts_with("grantlog_http_requests_total{") && line.contains("/oauth/token") && line.contains("200")
    });
    assert!(tokens.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
}
