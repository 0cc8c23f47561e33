//! ID tokens that are not what they say: RFC 8725 2 and 3. Wherever an ID token is taken in, each of them is refused with
//! the standard's error and nothing is fetched.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::rp::Rp;
use crate::harness::{
    Browser, Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![a_tampered_hint_is_an_invalid_request, a_huge_hint_is_refused_at_once]];

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn read(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// What attackers make of a good ID token.
pub fn variants(good: &str) -> Vec<String> {
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("not three parts: {good}") };
    let with = |name: &str, value: Value| {
        let mut changed = read(header);
        changed[name] = value;
        format!("{}.{claims}.{signature}", part(&changed))
    };
    let mut other_claims = read(claims);
    other_claims["sub"] = json!("01909d3e-7a4b-7c1d-8e2f-000000000001");
    let own_key = json!({ "kty": "oct", "k": "AAAA" });
    let deep = "[".repeat(800) + &"]".repeat(800);
    let mut flipped = signature.to_owned();
    flipped.replace_range(0..1, if signature.starts_with('A') { "B" } else { "A" });
    vec![
        // Another payload, another signature, none at all.
        format!("{header}.{}.{signature}", part(&other_claims)),
        format!("{header}.{claims}.{flipped}"),
        format!("{header}.{claims}."),
        format!("{}.{claims}.", part(&json!({ "alg": "none" }))),
        format!("{}.{claims}.", part(&json!({ "alg": "none", "typ": "JWT", "kid": read(header)["kid"] }))),
        // Algorithm confusion.
        with("alg", json!("HS256")),
        with("alg", json!("PS256")),
        with("alg", json!("ES256")),
        with_hmac(header, claims),
        // Keys of the attacker's choice, and extensions that nobody understands.
        with("jwk", own_key),
        with("jku", json!("https://evil.example/jwks")),
        with("x5u", json!("https://evil.example/x5u")),
        with("crit", json!(["exp"])),
        with("kid", json!("unknown")),
        with("kid", json!("../../etc/passwd")),
        with("typ", json!("logout+jwt")),
        // Not a token.
        String::from("x"),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(&deep)),
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(&deep)),
    ]
}

/// Signed with what everybody knows as if it were a secret.
fn with_hmac(header: &str, claims: &str) -> String {
    let header = part(&json!({ "alg": "HS256", "typ": "JWT", "kid": read(header)["kid"] }));
    let key = hmac::Key::new(hmac::HMAC_SHA256, read(&header)["kid"].to_string().as_bytes());
    let signature = hmac::sign(&key, format!("{header}.{claims}").as_bytes());
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A well-made ID token of another issuer's key.
pub fn signed_by_somebody_else(server: &Server, rp: &Rp) -> String {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let header = part(&json!({ "alg": "ES256", "typ": "JWT", "kid": "theirs" }));
    let claims = json!({ "iss": server.base(), "aud": rp.client.id, "sub": "01909d3e-7a4b-7c1d-8e2f-000000000001" });
    let message = format!("{header}.{}", part(&claims));
    let signature = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes()).expect("a signature");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn a_tampered_hint_is_an_invalid_request(server: Server) {
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let mut browser = Browser::new(&server);
    let login = rp.login(&mut browser, &user, &[]).await;
    let mut hints = variants(login.id_token());
    hints.push(signed_by_somebody_else(&server, &rp));
    // A good one, of another client.
    let other = Rp::new(&server, "code").await;
    hints.push(other.login(&mut browser, &user, &[]).await.id_token().to_owned());
    for hint in hints {
        let page = browser.open(&rp.url(&[("prompt", "none"), ("id_token_hint", &hint)])).await;
        assert_eq!(rp.response(&page)["error"], "invalid_request", "{hint}");
    }
}

async fn a_huge_hint_is_refused_at_once(server: Server) {
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &user, &[]).await;
    let huge = "A".repeat(5000);
    let page = browser.open(&rp.url(&[("prompt", "none"), ("id_token_hint", &huge)])).await;
    assert_eq!(rp.response(&page)["error"], "invalid_request");
}
