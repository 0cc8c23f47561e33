//! Tokens checked offline: JSON Web Tokens of an authorization server, with the keys that it publishes. RFC 9068 4.
//!
//! Nobody is asked about a token, so one that was revoked is let in until it expires; whoever cannot accept that asks the
//! introspection endpoint (`remote`). The key set is read again when it is old, and, no more often than `pause`, when a
//! token names a key that is not in it; as long as that fails the keys that are there go on, for `keys_max_age`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use grantlog_domain::{Scope, Timestamp};
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use parking_lot::RwLock;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::remote::{RemoteError, body, is_this_machine};
use super::{Authorized, Unavailable};
use crate::clock::Clock;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16_384;
/// Most keys of a key set; further ones are not read.
const KEYS_MAX: usize = 64;

/// Which tokens are accepted.
#[derive(Clone)]
pub struct JwtSettings {
    /// The authorization server: `iss` of every token, exactly.
    pub issuer: String,
    /// This resource server: what `aud` must contain.
    pub audience: String,
    /// Where the keys are; `https`, or `http` on this machine.
    pub jwks_uri: String,
    /// How tokens may be signed; never symmetric. Default RS256, ES256, EdDSA, PS256.
    pub algorithms: Vec<Algorithm>,
    /// Age at which the key set is read again; default 300 s.
    pub refresh_after: Duration,
    /// Age past which keys that cannot be read again are not believed any more; default 1 h.
    pub keys_max_age: Duration,
    /// Shortest time between two readings; default 10 s.
    pub pause: Duration,
    /// Longest wait for the key set; default 5 s.
    pub timeout: Duration,
    /// How much the clocks may differ; default none.
    pub leeway: Duration,
    pub clock: Clock,
}

impl JwtSettings {
    /// The defaults. Grantlog publishes its keys at `/oauth/jwks` under its issuer.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, jwks_uri: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            jwks_uri: jwks_uri.into(),
            algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256],
            refresh_after: Duration::from_secs(300),
            keys_max_age: Duration::from_secs(3600),
            pause: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            leeway: Duration::ZERO,
            clock: Clock::system(),
        }
    }
}

/// A validator that asks nobody.
pub struct Jwt {
    settings: JwtSettings,
    http: reqwest::Client,
    keys: RwLock<Keys>,
    /// One reading at a time.
    reading: Mutex<()>,
}

#[derive(Clone, Default)]
struct Keys {
    by_id: Arc<HashMap<String, Key>>,
    /// Unix milliseconds; absent before the first reading.
    read_at: Option<i64>,
    /// Of the last attempt.
    tried_at: Option<i64>,
}

struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// RFC 9068 2.2; the rest is not needed.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    client_id: String,
    nbf: Option<i64>,
    #[serde(default)]
    scope: String,
}

/// RFC 7519 4.1.3.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

impl Jwt {
    /// # Errors
    /// See [`RemoteError`].
    pub fn new(settings: JwtSettings) -> Result<Self, RemoteError> {
        let endpoint = url::Url::parse(&settings.jwks_uri).map_err(|_| RemoteError::Endpoint)?;
        if !(endpoint.scheme() == "https" || (endpoint.scheme() == "http" && is_this_machine(&endpoint))) {
            return Err(RemoteError::Endpoint);
        }
        let http = reqwest::Client::builder().timeout(settings.timeout).redirect(Policy::none()).build();
        let http = http.map_err(RemoteError::Http)?;
        Ok(Self { settings, http, keys: RwLock::default(), reading: Mutex::default() })
    }

    /// RFC 9068 4: the kind of token, its key, signature, issuer, audience and time.
    pub(super) async fn validate(&self, token: &str) -> Result<Option<Authorized>, Unavailable> {
        let Some((kid, algorithm)) = self.header(token) else { return Ok(None) };
        let keys = self.keys_with(&kid).await?;
        let Some(key) = keys.get(&kid).filter(|key| key.algorithm == algorithm) else { return Ok(None) };
        Ok(self.claims(token, key).map(|claims| Authorized {
            client_id: claims.client_id,
            sub: claims.sub,
            username: None,
            // A scope that cannot be read opens nothing.
            scope: Scope::parse(&claims.scope).unwrap_or_default(),
            expires_at: Some(Timestamp(claims.exp)),
        }))
    }

    /// What the header says, as far as it may. An ID token has another `typ`, so it is no access token.
    fn header(&self, token: &str) -> Option<(String, Algorithm)> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        let typ = header.typ?.to_ascii_lowercase();
        let is_access_token = typ == "at+jwt" || typ == "application/at+jwt";
        // RFC 7515 4.1.11: an extension that is not understood; none is.
        let fits = is_access_token && header.crit.is_none() && self.settings.algorithms.contains(&header.alg);
        Some((header.kid.filter(|_| fits)?, header.alg))
    }

    fn claims(&self, token: &str, key: &Key) -> Option<Claims> {
        let mut validation = Validation::new(key.algorithm);
        // The clock is ours, and so are the comparisons.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = decode::<Claims>(token, &key.key, &validation).ok()?.claims;
        let (now, leeway) = (self.settings.clock.now().0, i64::try_from(self.settings.leeway.as_secs()).ok()?);
        let lives = now < claims.exp.saturating_add(leeway);
        let began = claims.nbf.is_none_or(|nbf| nbf.saturating_sub(leeway) <= now);
        let ours = claims.iss == self.settings.issuer && claims.aud.contains(&self.settings.audience);
        (lives && began && ours).then_some(claims)
    }

    /// The keys, read again when that may help.
    async fn keys_with(&self, kid: &str) -> Result<Arc<HashMap<String, Key>>, Unavailable> {
        if let Some(keys) = self.fresh_with(kid) {
            return Ok(keys);
        }
        let _turn = self.reading.lock().await;
        // Somebody else may have read them meanwhile.
        if let Some(keys) = self.fresh_with(kid) {
            return Ok(keys);
        }
        let now = self.settings.clock.now_millis();
        let mut keys = self.keys.read().clone();
        if keys.tried_at.is_none_or(|tried_at| is_past(now, tried_at, self.settings.pause)) {
            keys.tried_at = Some(now);
            match self.read().await {
                Ok(by_id) => keys = Keys { by_id: Arc::new(by_id), read_at: Some(now), tried_at: Some(now) },
                Err(error) => tracing::warn!(%error, "the key set of the authorization server cannot be read"),
            }
            *self.keys.write() = keys.clone();
        }
        let believed = keys.read_at.is_some_and(|read_at| !is_past(now, read_at, self.settings.keys_max_age));
        if believed { Ok(keys.by_id) } else { Err(Unavailable) }
    }

    fn fresh_with(&self, kid: &str) -> Option<Arc<HashMap<String, Key>>> {
        let (keys, now) = (self.keys.read(), self.settings.clock.now_millis());
        let fresh = keys.read_at.is_some_and(|read_at| !is_past(now, read_at, self.settings.refresh_after));
        (fresh && keys.by_id.contains_key(kid)).then(|| Arc::clone(&keys.by_id))
    }

    /// RFC 7517 5. Keys that cannot be used here are left out.
    async fn read(&self) -> Result<HashMap<String, Key>, super::remote::Failure> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let answer = self.http.get(&self.settings.jwks_uri).send().await.map_err(reqwest::Error::without_url)?;
        let set: Set = serde_json::from_slice(&body(answer).await?)?;
        let usable = |key: Value| -> Option<(String, Key)> {
            let jwk: Jwk = serde_json::from_value(key).ok()?;
            // RFC 8725 3.1: the key says how it signs, not the token.
            let algorithm = algorithm(jwk.common.key_algorithm?)?;
            Some((jwk.common.key_id.clone()?, Key { algorithm, key: DecodingKey::from_jwk(&jwk).ok()? }))
        };
        Ok(set.keys.into_iter().take(KEYS_MAX).filter_map(usable).collect())
    }
}

/// Signatures that only the holder of a private key makes.
const fn algorithm(named: KeyAlgorithm) -> Option<Algorithm> {
    Some(match named {
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::PS256 => Algorithm::PS256,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
        _ => return None,
    })
}

fn is_past(now: i64, since: i64, span: Duration) -> bool {
    u128::try_from(now.saturating_sub(since)).is_ok_and(|age| age >= span.as_millis())
}

#[cfg(test)]
mod tests;
