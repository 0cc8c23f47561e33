//! ID tokens that are not what they say: RFC 8725 2 and 3. Wherever an ID token is taken in, each of them is refused with
//! the standard's error and nothing is fetched.

use aws_lc_rs::{encoding::AsDer, rsa::PublicKeyComponents};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::rp::Rp;
use crate::harness::{
    Browser, Server, Signer,
    signer::hs256,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![a_tampered_hint_is_an_invalid_request, a_huge_hint_is_refused_at_once]];

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn read(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// What attackers make of a good token of this server: none of these is one.
pub async fn variants(server: &Server, good: &str) -> Vec<String> {
    let keys = server.get("/oauth/jwks").send().await.expect(200).json();
    let kid = read(good.split('.').next().expect("a header"))["kid"].clone();
    let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == kid).expect("its key").clone();
    let mut all = with_their_own_signature(good);
    all.extend(public_key_texts(&key).into_iter().map(|text| with_public_key_as_secret(good, &text)));
    all.extend(signed_by_somebody_else(good));
    all
}

/// Those that need no key.
fn with_their_own_signature(good: &str) -> Vec<String> {
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

/// What libraries were known to take for a secret, of a published RSA key: the JWK, the modulus, DER and PEM (RFC 7468).
fn public_key_texts(jwk: &Value) -> Vec<Vec<u8>> {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a number")).expect("base64url");
    let (n, e) = (number("n"), number("e"));
    let der = PublicKeyComponents { n: &n, e: &e }.as_der().expect("DER").as_ref().to_vec();
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in STANDARD.encode(&der).as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----");
    let modulus = jwk["n"].as_str().expect("a modulus").as_bytes().to_vec();
    vec![jwk.to_string().into_bytes(), n, modulus, der, pem.clone().into_bytes(), format!("{pem}\n").into_bytes()]
}

/// RFC 8725 2.1: a code made with what everybody knows, and a header that asks for it.
fn with_public_key_as_secret(good: &str, key: &[u8]) -> String {
    let (mut header, claims) = parts(good);
    header["alg"] = json!("HS256");
    hs256(key, &header, &claims)
}

/// The same header and claims under a key of somebody else: as it was, and with that key beside it.
pub fn signed_by_somebody_else(good: &str) -> Vec<String> {
    let ((header, claims), theirs) = (parts(good), Signer::new("RS256"));
    assert_eq!(header["alg"], theirs.alg);
    let mut with_key = header.clone();
    with_key["jwk"] = theirs.jwk();
    vec![theirs.sign_with(&header, &claims), theirs.sign_with(&with_key, &claims)]
}

fn parts(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    (read(parts[0]), read(parts[1]))
}

async fn a_tampered_hint_is_an_invalid_request(server: Server) {
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let mut browser = Browser::new(&server);
    let login = rp.login(&mut browser, &user, &[]).await;
    let mut hints = variants(&server, login.id_token()).await;
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
