//! A client's server that counts how often it is asked, and a clock that is moved by hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;

use grantlog_domain::Timestamp;
use parking_lot::Mutex as Lock;
use serde_json::json;
use warp::Filter;

use super::*;
use crate::config::RemoteSettings;
use crate::oidc::remote::Reach;

/// Documents of a client's server; a path that is not there is answered 404.
#[derive(Clone, Default)]
struct Site {
    documents: Arc<Lock<HashMap<String, String>>>,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn start() -> (Self, SocketAddr) {
        let site = Self::default();
        let at = site.clone();
        let route = warp::path::full().map(move |path: warp::path::FullPath| {
            at.asked.fetch_add(1, Ordering::SeqCst);
            let found = at.documents.lock().get(path.as_str()).cloned();
            let status = if found.is_some() { http::StatusCode::OK } else { http::StatusCode::NOT_FOUND };
            warp::reply::with_status(found.unwrap_or_default(), status)
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(warp::serve(route).incoming(listener).run());
        (site, address)
    }

    fn put(&self, path: &str, keys: Vec<Value>) {
        self.documents.lock().insert(path.to_owned(), json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An Ed25519 key; its `x` is nobody's, so these tests ask which key is found, not what it signs.
fn key(kid: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

struct World {
    keys: ClientKeys,
    remote: Remote,
    clock: Clock,
    site: Site,
    client: OpenIdMetadata,
}

impl World {
    async fn new() -> Self {
        let (site, address) = Site::start().await;
        let clock = Clock::manual(Timestamp(1_000_000));
        let timeout = Duration::from_secs(20);
        let settings = RemoteSettings { allow_private: true, authorities: Vec::new(), timeout, concurrent: 4 };
        let jwks_uri = Some(format!("http://{address}/jwks"));
        Self {
            keys: ClientKeys::new(clock.clone()),
            remote: Remote::new(settings, Reach::Loopback),
            clock,
            site,
            client: OpenIdMetadata { jwks_uri, ..OpenIdMetadata::default() },
        }
    }

    async fn find(&self, kid: &str) -> Result<(), KeysError> {
        let wanted = Wanted { alg: JwsAlgorithm::EdDSA, kid: Some(kid) };
        self.keys.verify(&self.remote, &self.client, wanted, |_| true).await
    }

    fn pass(&self, millis: i64) {
        self.clock.advance(Duration::from_millis(millis.unsigned_abs()));
    }
}

#[tokio::test]
async fn a_set_is_asked_for_once_until_it_is_old_or_a_key_is_new() {
    let world = World::new().await;
    world.site.put("/jwks", vec![key("a")]);
    for _ in 0..3 {
        world.find("a").await.expect("found");
    }
    assert_eq!(world.site.asked(), 1);
    // The client signs with its next key.
    world.site.put("/jwks", vec![key("a"), key("b")]);
    world.find("b").await.expect("found");
    assert_eq!(world.site.asked(), 2);
    // A key that was taken away ends when the set is old.
    world.site.put("/jwks", vec![key("b")]);
    world.find("a").await.expect("found");
    world.pass(AGE_MAX);
    assert!(matches!(world.find("a").await, Err(KeysError::Unknown)));
}

#[tokio::test]
async fn unknown_keys_cause_few_questions() {
    let world = World::new().await;
    world.site.put("/jwks", vec![key("a")]);
    for number in 0..50 {
        assert!(world.find(&format!("unknown-{number}")).await.is_err());
    }
    assert_eq!(world.site.asked(), FETCHES_MAX);
    assert!(matches!(world.find("unknown").await, Err(KeysError::TooOften)));
    world.find("a").await.expect("those that are known go on");
    world.pass(FETCHES_SPAN);
    assert!(matches!(world.find("unknown").await, Err(KeysError::Unknown)));
    assert_eq!(world.site.asked(), FETCHES_MAX + 1);
}

#[tokio::test]
async fn who_comes_at_the_same_time_waits_for_one_question() {
    let world = World::new().await;
    world.site.put("/jwks", vec![key("a")]);
    let found = futures::future::join_all((0..20).map(|_| world.find("a"))).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(world.site.asked(), 1);
}

#[tokio::test]
async fn an_old_set_is_used_for_a_while_when_it_cannot_be_fetched() {
    let world = World::new().await;
    world.site.put("/jwks", vec![key("a")]);
    world.find("a").await.expect("found");
    world.site.documents.lock().clear();
    world.pass(AGE_MAX);
    world.find("a").await.expect("the old set");
    assert!(matches!(world.find("b").await, Err(KeysError::Fetch(FetchError::Status(_)))));
    world.pass(STALE_MAX);
    assert!(matches!(world.find("a").await, Err(KeysError::Fetch(FetchError::Status(_)))));
}

#[tokio::test]
async fn a_huge_set_is_none() {
    let world = World::new().await;
    world.site.put("/jwks", (0..=JWKS_KEYS_MAX).map(|number| key(&number.to_string())).collect());
    assert!(matches!(world.find("0").await, Err(KeysError::Document)));
    world.site.documents.lock().insert("/jwks".to_owned(), "x".repeat(DOCUMENT_BYTES_MAX + 1));
    assert!(matches!(world.find("0").await, Err(KeysError::Fetch(FetchError::TooLarge(_)))));
    let deep = format!("{{\"keys\":{}", "[".repeat(10_000));
    world.site.documents.lock().insert("/jwks".to_owned(), deep);
    assert!(matches!(world.find("0").await, Err(KeysError::Document)));
}

#[test]
fn only_a_key_that_is_for_it_verifies() {
    let verdict = |keys: Vec<Value>, alg: JwsAlgorithm, kid: Option<&str>| {
        let set = json!({ "keys": keys });
        let set = KeySet::read(set.as_object().expect("an object")).expect("a set");
        set.verdict(Wanted { alg, kid }, &|_| true)
    };
    let with = |name: &str, value: Value| {
        let mut changed = key("a");
        changed[name] = value;
        changed
    };
    assert_eq!(verdict(vec![key("a")], JwsAlgorithm::EdDSA, Some("a")), Verdict::Good);
    assert_eq!(verdict(vec![key("a")], JwsAlgorithm::EdDSA, None), Verdict::Good);
    assert_eq!(verdict(vec![key("a"), key("b")], JwsAlgorithm::EdDSA, None), Verdict::NoKey, "nobody can tell which");
    assert_eq!(verdict(vec![key("a"), key("b")], JwsAlgorithm::EdDSA, Some("b")), Verdict::Good);
    for alg in [JwsAlgorithm::RS256, JwsAlgorithm::ES256, JwsAlgorithm::HS256, JwsAlgorithm::None] {
        assert_eq!(verdict(vec![key("a")], alg, Some("a")), Verdict::NoKey, "{alg}");
    }
    for odd in [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("RS256")),
        with("d", json!("AAAA")),
        with("kid", json!("x".repeat(KID_BYTES_MAX + 1))),
        json!({ "kty": "oct", "kid": "a", "k": "AAAA" }),
        json!({ "kty": "later", "kid": "a" }),
        json!("a"),
    ] {
        assert_eq!(verdict(vec![odd.clone()], JwsAlgorithm::EdDSA, Some("a")), Verdict::NoKey, "{odd}");
    }
    assert_eq!(verdict(vec![with("use", json!("sig"))], JwsAlgorithm::EdDSA, Some("a")), Verdict::Good);
    assert_eq!(verdict(vec![with("alg", json!("EdDSA"))], JwsAlgorithm::EdDSA, Some("a")), Verdict::Good);
}
