//! A client's key, and JSON Web Tokens made with it; right ones and wrong ones.

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::random;

#[derive(Debug)]
pub struct Signer {
    pub alg: &'static str,
    /// Empty: neither the key nor what it signed names one.
    pub kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A part of a token.
pub fn part(json: &Value) -> String {
    base64url(json.to_string().as_bytes())
}

impl Signer {
    /// A new key for that algorithm.
    pub fn new(alg: &'static str) -> Signer {
        let pair = match alg {
            "ES256" => Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
            "EdDSA" => Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Signer { alg, kid: random(8), pair }
    }

    /// A key for `ES256` that was made before, as PKCS #8.
    #[allow(dead_code, reason = "the faults have no need of it")]
    pub fn from_pkcs8(kid: &str, key: &[u8]) -> Signer {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key).expect("a key");
        Signer { alg: "ES256", kid: kid.to_owned(), pair: Pair::Ecdsa(pair) }
    }

    /// A new key without a name (RFC 7517 4.5: `kid` is optional).
    pub fn nameless(alg: &'static str) -> Signer {
        Signer { kid: String::new(), ..Signer::new(alg) }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                // RFC 8017 A.1.1 with a modulus of 2048 bits: a header of 9 bytes, the modulus, and 65537.
                let der = pair.public_key().as_der().expect("DER");
                let start = der.as_ref().len() - 5 - 256;
                json!({ "kty": "RSA", "n": base64url(&der.as_ref()[start..start + 256]), "e": "AQAB" })
            }
        };
        if !self.kid.is_empty() {
            jwk["kid"] = json!(self.kid);
        }
        jwk["use"] = json!("sig");
        jwk
    }

    /// A key set with this key only.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The header of a good token.
    pub fn header(&self) -> Value {
        if self.kid.is_empty() { json!({ "alg": self.alg }) } else { json!({ "alg": self.alg, "kid": self.kid }) }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    /// Signed with this key, whatever the header says.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message.as_bytes()).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding = if self.alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message.as_bytes(), &mut signature).expect("a signature");
                signature
            }
        };
        format!("{message}.{}", base64url(&signature))
    }

    /// What attackers make of a key that everybody may read, and of a token that was good: none of these is.
    pub fn forged(&self, claims: &Value, elsewhere: &str) -> Vec<(&'static str, String)> {
        let other = Signer { kid: self.kid.clone(), ..Signer::new(self.alg) };
        let good = self.sign(claims);
        let (message, signature) = good.rsplit_once('.').expect("a signature");
        let (header, body) = message.split_once('.').expect("a body");
        let with = |name: &str, value: Value| {
            let mut header = self.header();
            header[name] = value;
            header
        };
        let mut changed = claims.clone();
        changed["scope"] = json!("openid profile email");
        let public = self.jwk();
        let point = public.to_string();
        let deep = "[".repeat(2000) + &"]".repeat(2000);
        vec![
            ("tampered", format!("{header}.{}.{signature}", part(&changed))),
            ("signature cut", format!("{message}.{}", &signature[..signature.len() - 4])),
            ("no signature", format!("{message}.")),
            ("alg none", format!("{}.{body}.", part(&json!({ "alg": "none" })))),
            ("alg none with kid", format!("{}.{body}.", part(&with("alg", json!("none"))))),
            ("alg nOnE", format!("{}.{body}.", part(&with("alg", json!("nOnE"))))),
            ("HS256 with the public key", hs256(point.as_bytes(), &with("alg", json!("HS256")), claims)),
            ("HS256 with its kid", hs256(self.kid.as_bytes(), &with("alg", json!("HS256")), claims)),
            ("HS256 with nothing", hs256(b"", &json!({ "alg": "HS256" }), claims)),
            ("another algorithm of the family", self.sign_with(&with("alg", json!("RS512")), claims)),
            (
                "another family",
                self.sign_with(&with("alg", json!(if self.alg == "ES256" { "RS256" } else { "ES256" })), claims),
            ),
            ("foreign key", other.sign(claims)),
            ("embedded jwk", other.sign_with(&with("jwk", other.jwk()), claims)),
            ("jku", other.sign_with(&with("jku", json!(elsewhere)), claims)),
            ("x5u", other.sign_with(&with("x5u", json!(elsewhere)), claims)),
            ("x5c", other.sign_with(&with("x5c", json!(["AAAA"])), claims)),
            ("kid as a path", other.sign_with(&with("kid", json!("../../dev/null")), claims)),
            ("kid as a URL", other.sign_with(&with("kid", json!(elsewhere)), claims)),
            ("unknown kid", self.sign_with(&with("kid", json!("unknown")), claims)),
            ("crit", self.sign_with(&with("crit", json!(["exp"])), claims)),
            ("crit with b64", self.sign_with(&with("crit", json!(["b64"])), claims)),
            ("deep claims", format!("{header}.{}.{signature}", base64url(deep.as_bytes()))),
            ("deep header", format!("{}.{body}.{signature}", base64url(deep.as_bytes()))),
            ("two parts", message.to_owned()),
            ("four parts", format!("{good}.{signature}")),
            ("not a token", "x".to_owned()),
        ]
    }
}

/// A token with a code made with `secret` (RFC 7518 3.2).
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64url(code.as_ref()))
}

/// An unsigned token (RFC 7515 6).
pub fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", part(&json!({ "alg": "none" })), part(claims))
}
