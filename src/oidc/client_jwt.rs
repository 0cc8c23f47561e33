//! JSON Web Tokens that clients make: request objects and client assertions. RFC 7515 5.2, RFC 7519 7.2, RFC 8725 3.
//!
//! Nothing of a token is believed before its signature is: the algorithm must be one that the client registered or may use
//! there, the key is one of the client's, and what the header says of keys beside `kid` (`jwk`, `jku`, `x5c`, `x5u`) is not
//! read, so nothing is fetched for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::Timestamp;
use grantlog_domain::client::{ClientMetadata, JwsAlgorithm};
use jsonwebtoken::crypto::verify;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client_keys::{KeysError, Wanted};
use crate::app::App;

/// By how much the clock of a client may be wrong, in seconds (RFC 7519 4.1.4).
pub const LEEWAY_SECONDS: i64 = 30;

/// Why a token is not believed; for the log of the operator, not for the client.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    #[error("it is not a JWS in the compact serialization with a JSON object in it")]
    Malformed,
    #[error("it has header parameters that must be understood")]
    Critical,
    #[error("its algorithm is not the one that the client registered")]
    Algorithm,
    #[error("its signature is wrong")]
    Signature,
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("its {0} is missing, or not of the right kind")]
    Claim(&'static str),
    #[error("its {0} is not what it must be")]
    Wrong(&'static str),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
}

/// A token whose signature was not looked at yet.
pub struct ClientJwt<'a> {
    pub alg: JwsAlgorithm,
    pub typ: Option<String>,
    pub claims: Map<String, Value>,
    kid: Option<String>,
    message: &'a str,
    signature: &'a str,
}

/// What is read of a header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl<'a> ClientJwt<'a> {
    /// Reads a token of at most `bytes_max` bytes. JSON is read to a depth of 128.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn parse(token: &'a str, bytes_max: usize) -> Result<Self, JwtError> {
        if token.len() > bytes_max {
            return Err(JwtError::TooLong(bytes_max));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwtError::Malformed)?;
        let Header { alg, kid, typ, crit } = part(header)?;
        // RFC 7515 4.1.11: extensions that are not understood; none is.
        if crit.is_some() {
            return Err(JwtError::Critical);
        }
        let alg = alg.parse().map_err(|_| JwtError::Algorithm)?;
        Ok(Self { alg, typ, claims: part(claims)?, kid, message, signature })
    }

    /// Whether the signature is that of a key which the client registered.
    ///
    /// # Errors
    /// See [`JwtError`]; an unsigned token and one with a symmetric algorithm have no such signature.
    pub async fn verify(&self, app: &App, client: &ClientMetadata) -> Result<(), JwtError> {
        if !self.alg.is_asymmetric() {
            return Err(JwtError::Algorithm);
        }
        let wanted = Wanted { alg: self.alg, kid: self.kid.as_deref() };
        let keys = app.client_keys();
        Ok(keys.verify(app.remote(), &client.openid, wanted, |key| self.is_signed_with(key)).await?)
    }

    /// Whether the code is that of `secret` (RFC 7518 3.2).
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn verify_with_secret(&self, secret: &[u8]) -> Result<(), JwtError> {
        if !self.alg.is_symmetric() {
            return Err(JwtError::Algorithm);
        }
        if self.is_signed_with(&DecodingKey::from_secret(secret)) { Ok(()) } else { Err(JwtError::Signature) }
    }

    /// RFC 7518 3.6: an unsigned token has an empty signature.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.alg == JwsAlgorithm::None && self.signature.is_empty()
    }

    fn is_signed_with(&self, key: &DecodingKey) -> bool {
        let alg: Option<Algorithm> = self.alg.as_str().parse().ok();
        alg.is_some_and(|alg| verify(self.signature, self.message.as_bytes(), key, alg).unwrap_or(false))
    }

    /// A claim that must be a text.
    ///
    /// # Errors
    /// [`JwtError::Claim`].
    pub fn text(&self, name: &'static str) -> Result<&str, JwtError> {
        self.claims.get(name).and_then(Value::as_str).ok_or(JwtError::Claim(name))
    }

    /// A claim that is a time, if it is there (RFC 7519 2 `NumericDate`: it may have a fraction).
    ///
    /// # Errors
    /// [`JwtError::Claim`].
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, JwtError> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let seconds = value.as_i64().or_else(|| value.as_f64().filter(|it| it.abs() < 1e15).map(|it| it as i64));
        seconds.map(|seconds| Some(Timestamp(seconds))).ok_or(JwtError::Claim(name))
    }

    /// `exp`, `nbf` and `iat`, as far as they are there (RFC 7519 4.1.4 to 4.1.6).
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn check_times(&self, now: Timestamp) -> Result<(), JwtError> {
        if self.time("exp")?.is_some_and(|exp| exp.seconds_since(now) <= -LEEWAY_SECONDS) {
            return Err(JwtError::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|at| at.seconds_since(now) > LEEWAY_SECONDS) {
                return Err(JwtError::NotYet);
            }
        }
        Ok(())
    }

    /// `aud` as a list (RFC 7519 4.1.3); empty when it is not there.
    ///
    /// # Errors
    /// [`JwtError::Claim`].
    pub fn audience(&self) -> Result<Vec<&str>, JwtError> {
        match self.claims.get("aud") {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one.as_str()]),
            Some(Value::Array(all)) => {
                all.iter().map(|one| one.as_str().ok_or(JwtError::Claim("aud"))).collect::<Result<_, _>>()
            }
            Some(_) => Err(JwtError::Claim("aud")),
        }
    }
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, JwtError> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(header: &Value, claims: &Value, signature: &str) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.{signature}", part(header), part(claims))
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let deep = "[".repeat(200);
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let good = encoded(r#"{"alg":"none"}"#);
        for bad in [
            String::new(),
            "..".to_owned(),
            format!("{good}.{good}"),
            format!("{good}.{good}.x.x"),
            format!("{good}.{}.", encoded("[]")),
            format!("{good}.{}.", encoded(&format!(r#"{{"claims":{deep}"#))),
            format!("{}.{good}.", encoded(&format!(r#"{{"alg":"none","jwk":{deep}"#))),
            format!("{}.{good}.", encoded(r#"{"alg":"RS256","alg":"none"}"#)),
            format!("{}.{good}.", encoded(r#"{"alg":["none"]}"#)),
            format!("{}.{good}.", encoded("{}")),
        ] {
            assert!(matches!(ClientJwt::parse(&bad, 4096), Err(JwtError::Malformed)), "{bad}");
        }
        assert!(matches!(ClientJwt::parse(&"x".repeat(11), 10), Err(JwtError::TooLong(10))));
        for alg in ["None", "nOnE", "HS512", "RS1", "dir", ""] {
            let bad = token(&json!({ "alg": alg }), &json!({}), "");
            assert!(matches!(ClientJwt::parse(&bad, 4096), Err(JwtError::Algorithm)), "{alg}");
        }
    }

    #[test]
    fn extensions_that_are_not_understood_are_refused() {
        for crit in [json!(["exp"]), json!([]), json!("b64")] {
            let bad = token(&json!({ "alg": "none", "crit": crit }), &json!({}), "");
            assert!(matches!(ClientJwt::parse(&bad, 4096), Err(JwtError::Critical)));
        }
    }

    #[test]
    fn a_token_is_unsigned_only_when_it_says_so_and_is() {
        for (alg, signature, unsigned) in [("none", "", true), ("none", "AAAA", false), ("RS256", "", false)] {
            let text = token(&json!({ "alg": alg }), &json!({}), signature);
            assert_eq!(ClientJwt::parse(&text, 4096).expect("a token").is_unsigned(), unsigned, "{alg} {signature}");
        }
    }

    #[test]
    fn a_code_is_held_against_the_secret_only_where_the_algorithm_is_symmetric() {
        // RFC 7515 A.1, with its key.
        let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                    cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).expect("base64url");
        let jwt = ClientJwt::parse(text, 4096).expect("a token");
        assert!(jwt.verify_with_secret(&key).is_ok());
        assert!(matches!(jwt.verify_with_secret(b"other"), Err(JwtError::Signature)));
        let unsigned = token(&json!({ "alg": "none" }), &json!({}), "");
        let unsigned = ClientJwt::parse(&unsigned, 4096).expect("a token");
        assert!(matches!(unsigned.verify_with_secret(&key), Err(JwtError::Algorithm)));
    }

    #[test]
    fn times_are_held_against_the_clock_with_a_little_leeway() {
        let now = Timestamp(1_000_000);
        let checked = |claims: Value| {
            let text = token(&json!({ "alg": "none" }), &claims, "");
            ClientJwt::parse(&text, 4096).expect("a token").check_times(now)
        };
        assert!(checked(json!({})).is_ok());
        assert!(checked(json!({ "exp": 1_000_000 - LEEWAY_SECONDS + 1 })).is_ok());
        assert!(checked(json!({ "exp": 1_000_001.5, "nbf": 1_000_000 + LEEWAY_SECONDS, "iat": 0 })).is_ok());
        assert!(matches!(checked(json!({ "exp": 1_000_000 - LEEWAY_SECONDS })), Err(JwtError::Expired)));
        assert!(matches!(checked(json!({ "nbf": 1_000_001 + LEEWAY_SECONDS })), Err(JwtError::NotYet)));
        assert!(matches!(checked(json!({ "iat": 1_000_001 + LEEWAY_SECONDS })), Err(JwtError::NotYet)));
        for odd in [json!("1000000"), json!(null), json!(1e300), json!([1])] {
            assert!(matches!(checked(json!({ "exp": odd })), Err(JwtError::Claim("exp"))), "{odd}");
        }
    }

    #[test]
    fn an_audience_is_a_text_or_a_list_of_texts() {
        let audience = |aud: Value| {
            let text = token(&json!({ "alg": "none" }), &json!({ "aud": aud }), "");
            let jwt = ClientJwt::parse(&text, 4096).expect("a token");
            jwt.audience().map(|all| all.len()).ok()
        };
        assert_eq!(audience(json!("a")), Some(1));
        assert_eq!(audience(json!(["a", "b"])), Some(2));
        assert_eq!(audience(json!(["a", 1])), None);
        assert_eq!(audience(json!({})), None);
    }
}
