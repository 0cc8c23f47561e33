//! ID tokens: OpenID Connect Core 2, 3.1.3.6, 3.2.2.10, 3.3.2.11, 12.2.

use aws_lc_rs::digest::{Algorithm as Digest, SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::client::ClientMetadata;
use grantlog_domain::grant::Authentication;
use grantlog_domain::signing_key::Algorithm;
use grantlog_domain::{ClientId, SessionId, Timestamp, UserId};
use serde_json::{Map, Value, json};

use super::sid::sid;
use super::signing::SigningError;
use super::subject::subject;
use crate::app::App;
use crate::config::Settings;

/// Authentication context classes (OpenID Connect Core 2 `acr`): nothing was proved, or a secret was.
pub const ACR_VALUES: [&str; 2] = ["0", "1"];

/// The class of a sign-in, by its methods.
#[must_use]
pub const fn acr(amr: &[String]) -> &'static str {
    if amr.is_empty() { ACR_VALUES[0] } else { ACR_VALUES[1] }
}

/// Whether clients may register for ID tokens without a signature (`id_token_signed_response_alg` `none`).
#[must_use]
pub const fn may_be_unsigned(settings: &Settings) -> bool {
    settings.oauth.unsigned_id_tokens
}

/// What an ID token says.
pub struct IdToken<'a> {
    pub client_id: ClientId,
    pub client: &'a ClientMetadata,
    pub user_id: UserId,
    pub session_id: Option<SessionId>,
    pub authentication: &'a Authentication,
    pub at: Timestamp,
    /// Handed out with it; its hash is `at_hash`.
    pub access_token: Option<&'a str>,
    /// Handed out with it; its hash is `c_hash`.
    pub code: Option<&'a str>,
    /// Of the request, when it goes through the browser; its hash is `s_hash`.
    pub state: Option<&'a str>,
    /// Claims about the user (OpenID Connect Core 5.1).
    pub claims: Map<String, Value>,
}

impl IdToken<'_> {
    /// The signed token.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub async fn sign(self, app: &App) -> Result<String, SigningError> {
        match self.client.openid.id_token_alg() {
            Some(alg) => app.signing().sign(app, alg, "JWT", &self.claims(app, Some(alg))).await,
            // OpenID Connect Core 3.1.3.7: only straight from the token endpoint; the setting may have changed since the client
            // registered.
            None if may_be_unsigned(&app.settings) => Ok(unsigned(&self.claims(app, None))),
            None => Err(SigningError::Unsigned),
        }
    }

    fn claims(self, app: &App, alg: Option<Algorithm>) -> Map<String, Value> {
        let lifetime = i64::try_from(app.settings.oauth.id_token_lifetime.as_secs()).unwrap_or(i64::MAX);
        let Authentication { auth_time, amr, nonce, .. } = self.authentication;
        let mut claims = self.claims;
        let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        say("iss", app.settings.issuer.as_str().into());
        say("sub", subject(app, self.client_id, self.client, self.user_id).into());
        say("aud", self.client_id.to_string().into());
        say("azp", self.client_id.to_string().into());
        say("exp", self.at.plus_seconds(lifetime).0.into());
        say("iat", self.at.0.into());
        say("auth_time", auth_time.0.into());
        say("acr", acr(amr).into());
        if !amr.is_empty() {
            say("amr", json!(amr));
        }
        let optional = [
            ("nonce", nonce.clone()),
            ("sid", self.session_id.map(|id| sid(&app.secrets, id, self.client_id))),
            ("at_hash", self.access_token.and_then(|token| Some(half_hash(alg?, token)))),
            ("c_hash", self.code.and_then(|code| Some(half_hash(alg?, code)))),
            ("s_hash", self.state.and_then(|state| Some(half_hash(alg?, state)))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                say(name, value.into());
            }
        }
        claims
    }
}

/// An unsecured JWS (RFC 7515 A.5).
fn unsigned(claims: &Map<String, Value>) -> String {
    // A map of texts and numbers: this always serializes.
    let claims = serde_json::to_vec(claims).unwrap_or_default();
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
}

/// The left half of the hash that the signature uses, in base64url (OpenID Connect Core 3.1.3.6). Ed25519 uses SHA-512
/// (RFC 8032 5.1).
fn half_hash(alg: Algorithm, text: &str) -> String {
    let function: &'static Digest = match alg {
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::PS256 => &SHA256,
        Algorithm::EdDSA => &SHA512,
    };
    let hash = digest(function, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenID Connect Core A.3 and A.4.
    #[test]
    fn hashes_are_those_of_the_examples() {
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(half_hash(Algorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
        assert_eq!(half_hash(Algorithm::RS256, code), "LDktKdoQak3Pk0cnXxCltA");
    }
}
