//! Protecting an API of one's own with `require_oauth`, in another process than the server: RFC 6750, RFC 7662.
//!
//! The API runs in these tests, on the library as its users would have it; `/api/me` is the other validator's case.

use std::time::Duration;

use grantlog::resource::{Authorized, Remote, RemoteSettings, ResourceServer, refusal};
use warp::{Filter, Rejection};

use crate::harness::{
    Answer, Client, Server, Store, http,
    http::Request,
    poll,
    server::free_port,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![a_token_with_the_scope_is_let_in, without_the_scope_or_a_token_the_challenge_says_why],
    own![
        a_revocation_is_seen_within_the_staleness_that_was_set,
        a_remembered_answer_never_outlives_its_token,
        without_the_server_nobody_new_is_let_in,
    ],
];

/// Starts `GET /hello` that needs the scope `profile`; gives back its URL.
async fn api(server: &Server, client: &Client, max_age: Duration) -> String {
    let settings = RemoteSettings {
        max_age,
        timeout: Duration::from_secs(2),
        ..RemoteSettings::new(server.url("/oauth/introspect"), &client.id, &client.secret)
    };
    let protect = ResourceServer::remote(Remote::new(settings).expect("settings that fit together"));
    serve(protect.require_oauth("profile"), |caller| caller.username.unwrap_or(caller.client_id)).await
}

/// Starts `GET /hello` behind that filter, which greets whom `name` names; gives back its URL.
pub async fn serve(
    protected: impl Filter<Extract = (Authorized,), Error = Rejection> + Clone + Send + Sync + 'static,
    name: fn(Authorized) -> String,
) -> String {
    let hello = move |caller| format!("hello {}", name(caller));
    let routes = warp::path!("hello").and(protected).map(hello).recover(refusal);
    let port = free_port();
    tokio::spawn(warp::serve(routes).run(([127, 0, 0, 1], port)));
    let url = format!("http://127.0.0.1:{port}/hello");
    poll::until("the API answers", async || get(&url).try_send().await.ok()).await;
    url
}

fn get(url: &str) -> Request {
    Request::new(&http::client(), reqwest::Method::GET, url.to_owned())
}

/// Asks it with that token.
pub async fn hello(url: &str, token: &str) -> Answer {
    get(url).bearer(token).send().await
}

async fn a_token_with_the_scope_is_let_in(server: Server) {
    // RFC 6750 2.1, RFC 7662 2.
    let (user, client, service) = (server.user().await, server.password_client().await, server.api_client().await);
    let url = api(&server, &service, Duration::from_secs(10)).await;
    let tokens = server.password_tokens(&client, &user).await;
    let answer = hello(&url, &tokens.access).await.expect(200);
    assert_eq!(answer.text(), format!("hello {}", user.username));
}

async fn without_the_scope_or_a_token_the_challenge_says_why(server: Server) {
    // RFC 6750 3 and 3.1.
    let service = server.service_client().await;
    let url = api(&server, &service, Duration::from_secs(10)).await;
    let challenge = |answer: &Answer| answer.header("www-authenticate").expect("a challenge").to_owned();

    let none = get(&url).send().await.expect(401);
    assert!(!challenge(&none).contains("error"), "{none}");
    let unknown = hello(&url, "unknown").await.expect(401);
    assert!(challenge(&unknown).contains(r#"error="invalid_token""#), "{unknown}");

    let form = [("grant_type", "client_credentials"), ("scope", "read")];
    let json = server.token_as(&service, &form).await.expect(200).json();
    let narrow = hello(&url, json["access_token"].as_str().expect("a token")).await.expect(403);
    assert!(challenge(&narrow).contains(r#"error="insufficient_scope""#), "{narrow}");
    assert!(challenge(&narrow).contains(r#"scope="profile""#), "{narrow}");
}

async fn a_revocation_is_seen_within_the_staleness_that_was_set(store: Store) {
    // RFC 7662 4: "a protected resource … might cache"; no longer than it said.
    let server = Server::start(store, &[]).await;
    let (user, client, service) = (server.user().await, server.password_client().await, server.api_client().await);
    let cached = api(&server, &service, Duration::from_secs(3)).await;
    let asking = api(&server, &service, Duration::ZERO).await;
    let tokens = server.password_tokens(&client, &user).await;
    hello(&cached, &tokens.access).await.expect(200);
    hello(&asking, &tokens.access).await.expect(200);
    server.revoke_as(&client, &tokens.access).await.expect(200);
    hello(&asking, &tokens.access).await.expect(401);
    poll::until_at_most(Duration::from_secs(5), "the remembered answer is given up", async || {
        (hello(&cached, &tokens.access).await.status == 401).then_some(())
    })
    .await;
}

async fn a_remembered_answer_never_outlives_its_token(store: Store) {
    // RFC 7662 4: "a cached response MUST NOT be used past the expiration of the token".
    let server = Server::start(store, &[("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "10")]).await;
    let (user, client, service) = (server.user().await, server.password_client().await, server.api_client().await);
    let url = api(&server, &service, Duration::from_secs(3600)).await;
    let tokens = server.password_tokens(&client, &user).await;
    hello(&url, &tokens.access).await.expect(200);
    poll::until("the token's ten seconds are over", async || {
        (hello(&url, &tokens.access).await.status == 401).then_some(())
    })
    .await;
}

async fn without_the_server_nobody_new_is_let_in(store: Store) {
    // A question that is not answered is no permission: 503, and never 200.
    let server = Server::start(store, &[]).await;
    let (user, client, service) = (server.user().await, server.password_client().await, server.api_client().await);
    let url = api(&server, &service, Duration::from_secs(10)).await;
    let tokens = server.password_tokens(&client, &user).await;
    server.stop();
    let answer = hello(&url, &tokens.access).await;
    assert_eq!(answer.status, 503, "{answer}");
}
