use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use warp::Filter;

use super::*;
use crate::resource::{ResourceServer, refusal};

/// An introspection endpoint that counts its questions. It answers with `status` and, for every token but `other`, that
/// it is active with the scope `profile`.
async fn endpoint(status: u16) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let route = warp::post().and(warp::body::bytes()).map(move |body: bytes::Bytes| {
        counter.fetch_add(1, Ordering::SeqCst);
        let active = !body.starts_with(b"token=other");
        // As RFC 7662 2.2 allows for a refresh token.
        let token_type = if body.starts_with(b"token=refresh") { None } else { Some("Bearer") };
        let body = json!({ "active": active, "scope": "profile", "client_id": "c", "sub": "u", "exp": 2_000, "token_type": token_type });
        warp::reply::with_status(warp::reply::json(&body), http::StatusCode::from_u16(status).expect("a status"))
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(warp::serve(route).incoming(listener).run());
    (address, asked)
}

fn remote(address: SocketAddr, clock: &Clock) -> Remote {
    let settings = RemoteSettings::new(format!("http://{address}/oauth/introspect"), "api", "a secret");
    Remote::new(RemoteSettings { clock: clock.clone(), ..settings }).expect("a validator")
}

#[tokio::test]
async fn an_answer_is_asked_for_once_until_it_is_too_old() {
    let clock = Clock::manual(Timestamp(1_000));
    let (address, asked) = endpoint(200).await;
    let remote = remote(address, &clock);
    for _ in 0..3 {
        let authorized = remote.validate("token").await.expect("an answer").expect("active");
        assert_eq!((authorized.user(), authorized.scope.contains("profile")), (Some("u"), true));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(10));
    assert!(remote.validate("token").await.expect("an answer").is_some());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // The token has ended, although the endpoint goes on calling it active.
    clock.advance(Duration::from_secs(1_000));
    assert_eq!(remote.validate("token").await, Ok(None));
}

#[tokio::test]
async fn an_endpoint_that_fails_lets_nobody_in_and_is_asked_again() {
    let clock = Clock::manual(Timestamp(1_000));
    let (address, asked) = endpoint(401).await;
    let remote = remote(address, &clock);
    for _ in 0..2 {
        assert_eq!(remote.validate("token").await, Err(Unavailable));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_filter_answers_as_rfc_6750_says() {
    let clock = Clock::manual(Timestamp(1_000));
    let (address, _) = endpoint(200).await;
    let api = ResourceServer::remote(remote(address, &clock));
    let open = warp::path!("open").and(api.require_oauth("profile")).map(|_| "in").recover(refusal);
    let closed = warp::path!("closed").and(api.require_oauth("admin")).map(|_| "in").recover(refusal);
    let routes = open.or(closed);
    for (path, token, status, challenge) in [
        ("/open", Some("token"), 200, None),
        ("/open", None, 401, Some("Bearer realm=\"grantlog\", scope=\"profile\"")),
        ("/open", Some("other"), 401, Some("error=\"invalid_token\"")),
        ("/closed", Some("token"), 403, Some("error=\"insufficient_scope\"")),
    ] {
        let mut request = warp::test::request().path(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.reply(&routes).await;
        assert_eq!(response.status(), status, "{path} {token:?}");
        let header = response.headers().get("www-authenticate").map(|value| value.to_str().expect("ASCII"));
        assert_eq!(header.is_some(), challenge.is_some(), "{path} {token:?}");
        assert!(header.unwrap_or_default().contains(challenge.unwrap_or_default()), "{path} {token:?}: {header:?}");
    }
}

#[tokio::test]
async fn without_the_endpoint_the_filter_answers_503() {
    let clock = Clock::manual(Timestamp(1_000));
    let (address, _) = endpoint(500).await;
    let api = ResourceServer::remote(remote(address, &clock));
    let route = warp::any().and(api.require_oauth("")).map(|_| "in").recover(refusal);
    let response = warp::test::request().header("authorization", "Bearer token").reply(&route).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
}

#[test]
fn credentials_are_not_sent_in_the_clear() {
    for endpoint in ["http://id.example/oauth/introspect", "ftp://127.0.0.1/", "id.example", ""] {
        assert!(Remote::new(RemoteSettings::new(endpoint, "a", "b")).is_err(), "{endpoint}");
    }
}

#[tokio::test]
async fn an_active_refresh_token_opens_nothing() {
    let (address, _) = endpoint(200).await;
    let remote = remote(address, &Clock::manual(Timestamp(1_000)));
    assert_eq!(remote.validate("refresh").await, Ok(None));
}
