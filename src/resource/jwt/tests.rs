use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;
use warp::Filter;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const ISSUER: &str = "https://id.example";
const API: &str = "https://api.example";

/// A key pair that signs with ES256.
struct Signer {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).expect("a key");
        Self { kid, pair }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
                "x": part(&point[1..33]), "y": part(&point[33..]) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.kid })
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": API, "sub": "u", "client_id": "c", "iat": NOW.0, "exp": NOW.0 + 60, "jti": "j",
            "scope": "profile read" })
}

/// `value` with other or further members.
fn with(mut value: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    value.as_object_mut().expect("an object").extend(more);
    value
}

/// Publishes keys that can be changed, and counts how often they are asked for.
async fn publish(keys: Vec<Value>) -> (SocketAddr, Arc<Mutex<Vec<Value>>>, Arc<AtomicUsize>) {
    let (published, asked) = (Arc::new(Mutex::new(keys)), Arc::new(AtomicUsize::new(0)));
    let (keys, counter) = (Arc::clone(&published), Arc::clone(&asked));
    let route = warp::path!("jwks").map(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        warp::reply::json(&json!({ "keys": *keys.lock() }))
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(warp::serve(route).incoming(listener).run());
    (address, published, asked)
}

fn validator(address: SocketAddr, clock: &Clock) -> Jwt {
    let settings = JwtSettings::new(ISSUER, API, format!("http://{address}/jwks"));
    Jwt::new(JwtSettings { clock: clock.clone(), ..settings }).expect("a validator")
}

#[tokio::test]
async fn a_good_token_is_taken_without_asking_again() {
    let (signer, clock) = (Signer::new("a"), Clock::manual(NOW));
    let (address, _, asked) = publish(vec![json!({ "kty": "future" }), signer.jwk()]).await;
    let jwt = validator(address, &clock);
    for aud in [json!(API), json!(["https://other.example", API])] {
        let token = signer.sign(&signer.header(), &with(claims(), json!({ "aud": aud })));
        let caller = jwt.validate(&token).await.expect("keys").expect("let in");
        assert_eq!(
            (caller.user(), &*caller.client_id, caller.expires_at),
            (Some("u"), "c", Some(Timestamp(NOW.0 + 60)))
        );
        assert!(caller.scope.contains("profile"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let token = signer.sign(&signer.header(), &claims());
    clock.advance(Duration::from_secs(60));
    assert_eq!(jwt.validate(&token).await, Ok(None), "expired");
}

#[tokio::test]
async fn every_other_token_is_refused() {
    let (signer, stranger) = (Signer::new("a"), Signer::new("a"));
    let (address, ..) =
        publish(vec![signer.jwk(), json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "h" })]).await;
    let jwt = validator(address, &Clock::manual(NOW));
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let good = signer.sign(&signer.header(), &claims());
    let headers = [
        ("an ID token", json!({ "typ": "JWT" })),
        ("no typ", json!({ "typ": null })),
        ("a logout token", json!({ "typ": "logout+jwt" })),
        ("none", json!({ "alg": "none" })),
        ("a symmetric key", json!({ "alg": "HS256" })),
        ("another algorithm than the key's", json!({ "alg": "RS256" })),
        ("an extension", json!({ "crit": ["exp"] })),
        ("no key named", json!({ "kid": null })),
        ("an unknown key", json!({ "kid": "b" })),
    ];
    let headers = headers.map(|(why, more)| (why, signer.sign(&with(signer.header(), more), &claims())));
    let bodies = [
        ("another issuer", json!({ "iss": "https://id.example/" })),
        ("another audience", json!({ "aud": "https://other.example" })),
        ("an audience that begins alike", json!({ "aud": [format!("{API}/x")] })),
        ("no audience", json!({ "aud": null })),
        ("expired", json!({ "exp": NOW.0 })),
        ("no end", json!({ "exp": null })),
        ("not yet", json!({ "nbf": NOW.0 + 1 })),
        ("no client", json!({ "client_id": null })),
    ];
    let bodies = bodies.map(|(why, more)| (why, signer.sign(&signer.header(), &with(claims(), more))));
    let unsigned = format!("{}.{}.", part(json!({ "alg": "none", "typ": "at+jwt", "kid": "a" })), part(claims()));
    let embedded = with(
        signer.header(),
        json!({ "jwk": stranger.jwk(), "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/" }),
    );
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, _) = message.split_once('.').expect("two parts");
    let widened = format!("{header}.{}.{signature}", part(with(claims(), json!({ "scope": "profile admin" }))));
    let others = [
        ("an unsigned token", unsigned),
        ("a foreign key of the same name", stranger.sign(&stranger.header(), &claims())),
        ("a key in the header", stranger.sign(&embedded, &claims())),
        ("a changed body", widened),
        ("a token cut short", message.to_owned()),
        ("an opaque token", "gla_x".to_owned()),
        ("nothing", String::new()),
        ("a long one", format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX))),
    ];
    for (why, token) in headers.into_iter().chain(bodies).chain(others) {
        assert_eq!(jwt.validate(&token).await, Ok(None), "{why}");
    }
    assert!(jwt.validate(&good).await.expect("keys").is_some());
}

#[tokio::test]
async fn a_new_key_is_found_and_an_unknown_one_asked_for_now_and_then_only() {
    let (old, new, clock) = (Signer::new("old"), Signer::new("new"), Clock::manual(NOW));
    let (address, published, asked) = publish(vec![old.jwk()]).await;
    let jwt = validator(address, &clock);
    assert!(jwt.validate(&old.sign(&old.header(), &claims())).await.expect("keys").is_some());
    published.lock().push(new.jwk());
    for _ in 0..5 {
        assert_eq!(jwt.validate(&new.sign(&new.header(), &claims())).await, Ok(None));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a flood of unknown keys asks nobody");
    clock.advance(Duration::from_secs(10));
    assert!(jwt.validate(&new.sign(&new.header(), &claims())).await.expect("keys").is_some());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // A key that was withdrawn is forgotten at the next reading.
    published.lock().retain(|key| key["kid"] == "new");
    clock.advance(Duration::from_secs(300));
    let exp = json!({ "exp": NOW.0 + 9_999 });
    assert_eq!(jwt.validate(&old.sign(&old.header(), &with(claims(), exp))).await, Ok(None));
}

#[tokio::test]
async fn without_the_key_set_the_old_keys_go_on_for_a_while() {
    let (signer, clock) = (Signer::new("a"), Clock::manual(NOW));
    let (address, published, _) = publish(vec![signer.jwk()]).await;
    let nobody = validator(SocketAddr::from(([127, 0, 0, 1], 9)), &clock);
    let token = signer.sign(&signer.header(), &with(claims(), json!({ "exp": NOW.0 + 99_999 })));
    assert_eq!(nobody.validate(&token).await, Err(Unavailable));
    assert_eq!(nobody.validate("gla_x").await, Ok(None), "what is no such token needs no key");
    let jwt = validator(address, &clock);
    assert!(jwt.validate(&token).await.expect("keys").is_some());
    // No list of keys any more, but one that cannot be read.
    published.lock().push(json!("x".repeat(70_000)));
    clock.advance(Duration::from_secs(3_599));
    assert!(jwt.validate(&token).await.expect("keys").is_some());
    clock.advance(Duration::from_secs(11));
    assert_eq!(jwt.validate(&token).await, Err(Unavailable));
}
