//! Servers of clients over https: whose certificates are believed. RFC 7591 5, OpenID Connect Core 6.2, Dynamic Registration 5,
//! Back-Channel Logout 2.5.

use serde_json::json;

use crate::conformance::dynamic::with;
use crate::conformance::receiver::Receiver;
use crate::conformance::rp::Rp;
use crate::harness::{
    Browser, CALLBACK, Documents, Server, Signer, Site, Store, poll,
    signer::unsigned,
    suite::{Case, own},
    tls::Authority,
};
use crate::http::client_assertion;

pub const CASES: &[&[Case]] = &[own![
    documents_of_clients_are_fetched_from_servers_that_are_who_they_say,
    a_client_is_told_of_a_logout_where_its_server_is_who_it_says,
]];

/// A server that believes that authority, beside those of the system.
async fn server(store: Store, authority: &Authority) -> Server {
    let settings = [
        ("REMOTE_CA_FILE", "ca.pem"),
        ("REMOTE_ALLOW_PRIVATE", "true"),
        ("REGISTRATION_MODE", "open"),
        ("LOGOUT_ATTEMPTS", "1"),
    ];
    let site = Site::new(store, &settings);
    std::fs::write(site.directory().join("ca.pem"), &authority.pem).expect("written");
    Server::on(&site, &[]).await
}

/// Three origins before a port: one that is believed; one of another authority; one that is believed, but is somebody else.
async fn origins(authority: &Authority, port: u16) -> [(String, bool); 3] {
    let stranger = Authority::new();
    [
        (authority.before(port, "127.0.0.1").await, true),
        (stranger.before(port, "127.0.0.1").await, false),
        (authority.before(port, "other.example").await, false),
    ]
}

async fn documents_of_clients_are_fetched_from_servers_that_are_who_they_say(store: Store) {
    let authority = Authority::new();
    let (server, documents, signer) = (server(store, &authority).await, Documents::start().await, Signer::new("ES256"));
    documents.put("/sector", json!([CALLBACK]));
    documents.put("/jwks", signer.jwks());
    for (origin, believed) in origins(&authority, documents.port()).await {
        let sector = with(json!({ "sector_identifier_uri": format!("{origin}/sector") }));
        let registration = server.post("/oauth/register").body("application/json", sector.to_string()).send().await;
        assert_eq!(registration.status, if believed { 201 } else { 400 }, "{registration}");

        let keys = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": format!("{origin}/jwks") });
        let rp = Rp::registered(&server, "code", keys).await;
        let assertion = signer.sign(&client_assertion::claims(&server, &rp.client));
        let form = [("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", CALLBACK)];
        let answer = client_assertion::post_with(&server, "/oauth/token", &assertion, &form).await;
        // Who the client is, is known where its keys could be read.
        assert_eq!(answer.json()["error"], if believed { "invalid_grant" } else { "invalid_client" }, "{answer}");

        let uri = format!("{origin}/request.jwt");
        let metadata = json!({ "request_uris": [uri], "request_object_signing_alg": "none" });
        let rp = Rp::registered(&server, "code", metadata).await;
        let object = json!({ "client_id": rp.client.id, "response_type": "code", "prompt": "none" });
        documents.put("/request.jwt", unsigned(&object));
        let page = Browser::new(&server).open(&rp.url(&[("request_uri", &uri)])).await;
        let expected = if believed { "login_required" } else { "invalid_request_uri" };
        assert_eq!(rp.response(&page)["error"], expected, "{origin}");
    }
    // One of each came as far as the document.
    for path in ["/sector", "/jwks", "/request.jwt"] {
        assert_eq!(documents.asked(path), 1, "{path}");
    }
}

async fn a_client_is_told_of_a_logout_where_its_server_is_who_it_says(store: Store) {
    let authority = Authority::new();
    let (server, receiver) = (server(store, &authority).await, Receiver::start(&[]).await);
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for (origin, _) in origins(&authority, receiver.port()).await {
        let uri = format!("{origin}/logged_out?x=1");
        let rp = Rp::with(&server, "code", &["--backchannel-logout-uri", &uri]).await;
        rp.login(&mut browser, &user, &[]).await;
    }
    let page = browser.open("/logout").await;
    browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    poll::until("one is told, and two are given up", async || {
        let metrics = server.get("/metrics").send().await.text();
        let count = |outcome: &str| {
            let name = format!("grantlog_logout_deliveries_total{{outcome=\"{outcome}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u32>().ok()).unwrap_or_default()
        };
        (count("delivered") == 1 && count("given_up") == 2).then_some(())
    })
    .await;
    assert_eq!(receiver.forms().len(), 1);
}
