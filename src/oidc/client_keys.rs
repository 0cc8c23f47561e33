//! Public keys of clients: RFC 7517, OpenID Connect Core 10.1.1 (a client publishes its next key and then signs with it).
//!
//! By value in the registration (`jwks`), or by reference (`jwks_uri`), fetched when they are asked for and remembered.
//! Whoever sends a token can name a `kid` that nobody has, so how often a set is fetched is bounded, and one question at a
//! time asks for it. Not here: how a document is fetched (`remote`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grantlog_domain::client::{JWKS_KEYS_MAX, JwsAlgorithm, OpenIdMetadata};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use moka::sync::Cache;
use parking_lot::RwLock;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::remote::{FetchError, Remote};
use crate::clock::Clock;

/// Largest key set that is fetched, in bytes.
const DOCUMENT_BYTES_MAX: usize = 65_536;
/// Longest `kid` that is compared, in bytes.
const KID_BYTES_MAX: usize = 256;
/// Most sets that are remembered; the least used go first. Each has at most [`JWKS_KEYS_MAX`] keys.
const SETS_MAX: u64 = 2000;
/// A set that nobody asked for is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(86_400);
/// After that a set is fetched again, so that a key which the client took away ends: milliseconds.
const AGE_MAX: i64 = 600_000;
/// For how long the old set is used when it cannot be fetched: milliseconds since it was.
const STALE_MAX: i64 = 3_600_000;
/// Most fetches of one set in [`FETCHES_SPAN`]: a client may change its keys, a stranger may not make us ask for ever.
const FETCHES_MAX: usize = 4;
/// Milliseconds.
const FETCHES_SPAN: i64 = 60_000;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the client has no such key")]
    Unknown,
    #[error("the signature is not one of the client's")]
    Signature,
    #[error("the document is not a JWK Set of at most {JWKS_KEYS_MAX} keys")]
    Document,
    #[error("the key set was asked for too often")]
    TooOften,
    #[error("the key set cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    #[error("the key set could not be fetched a moment ago")]
    Unavailable,
}

/// What a token says of its key.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Never `none` and never symmetric: no key of a set verifies those.
    pub alg: JwsAlgorithm,
    pub kid: Option<&'a str>,
}

/// Keys that can verify signatures.
struct KeySet(Vec<ClientKey>);

struct ClientKey {
    kid: Option<String>,
    /// RFC 7517 4.4: for this algorithm only.
    alg: Option<String>,
    family: Family,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    Ed25519,
}

/// What a set says of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    NoKey,
}

impl KeySet {
    /// RFC 7517 5: keys that cannot be used are left out.
    fn read(set: &Map<String, Value>) -> Result<Self, KeysError> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeysError::Document)?;
        if keys.len() > JWKS_KEYS_MAX {
            return Err(KeysError::Document);
        }
        Ok(Self(keys.iter().filter_map(ClientKey::read).collect()))
    }

    fn parse(document: &[u8]) -> Result<Self, KeysError> {
        Self::read(&serde_json::from_slice(document).map_err(|_| KeysError::Document)?)
    }

    /// OpenID Connect Core 10.1: with more than one key that would do, the token names one.
    fn verdict(&self, wanted: Wanted<'_>, verifies: &impl Fn(&DecodingKey) -> bool) -> Verdict {
        let mut fitting = self.0.iter().filter(|key| key.fits(wanted));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) if verifies(&only.key) => Verdict::Good,
            (Some(_), None) => Verdict::Bad,
            _ => Verdict::NoKey,
        }
    }
}

impl ClientKey {
    fn read(value: &Value) -> Option<Self> {
        // A private key that was published is no longer the client's own.
        if value.get("d").is_some() {
            return None;
        }
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let common = &jwk.common;
        let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        let family = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Family::Rsa,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Family::P256,
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Family::Ed25519,
            // A symmetric key in a public document is nobody's secret.
            _ => return None,
        };
        let kid = common.key_id.clone();
        let fits = signs && verifies && kid.as_ref().is_none_or(|kid| kid.len() <= KID_BYTES_MAX);
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| fits)?;
        Some(Self { kid, alg: common.key_algorithm.as_ref().map(ToString::to_string), family, key })
    }

    fn fits(&self, wanted: Wanted<'_>) -> bool {
        let family = match wanted.alg {
            JwsAlgorithm::RS256 | JwsAlgorithm::PS256 => Family::Rsa,
            JwsAlgorithm::ES256 => Family::P256,
            JwsAlgorithm::EdDSA => Family::Ed25519,
            JwsAlgorithm::None | JwsAlgorithm::HS256 => return false,
        };
        self.family == family
            && self.alg.as_deref().is_none_or(|alg| alg == wanted.alg.as_str())
            && wanted.kid.is_none_or(|kid| self.kid.as_deref() == Some(kid))
    }
}

/// The sets of all clients.
pub struct ClientKeys {
    /// By URL.
    sets: Cache<String, Arc<Remembered>>,
    clock: Clock,
}

/// One `jwks_uri`.
#[derive(Default)]
struct Remembered {
    current: RwLock<Option<Fetched>>,
    /// How often somebody came back from fetching.
    fetches: AtomicU64,
    /// When it was fetched, of late; whoever fetches holds it.
    recent: Mutex<Vec<i64>>,
}

#[derive(Clone)]
struct Fetched {
    set: Arc<KeySet>,
    at: i64,
}

impl ClientKeys {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { sets: Cache::builder().max_capacity(SETS_MAX).time_to_idle(IDLE_MAX).build(), clock }
    }

    /// Whether a key of that client `verifies`.
    ///
    /// # Errors
    /// See [`KeysError`]: that is no.
    pub async fn verify(
        &self,
        remote: &Remote,
        client: &OpenIdMetadata,
        wanted: Wanted<'_>,
        verifies: impl Fn(&DecodingKey) -> bool,
    ) -> Result<(), KeysError> {
        if let Some(jwks) = &client.jwks {
            return answer(KeySet::read(&jwks.members())?.verdict(wanted, &verifies));
        }
        let url = client.jwks_uri.as_ref().ok_or(KeysError::Unknown)?;
        let remembered = self.sets.get_with_by_ref(url, Arc::default);
        let known = remembered.current.read().clone();
        let verdict = known.as_ref().map_or(Verdict::NoKey, |known| known.set.verdict(wanted, &verifies));
        let age = known.as_ref().map_or(i64::MAX, |known| self.clock.now_millis() - known.at);
        // Without a kid, a bad signature may be one of the key that came after.
        if age < AGE_MAX && (verdict == Verdict::Good || (verdict == Verdict::Bad && wanted.kid.is_some())) {
            return answer(verdict);
        }
        let usable = verdict == Verdict::Good && age < STALE_MAX;
        match remembered.fetch(remote, url, &self.clock, usable).await {
            Ok(set) => answer(set.verdict(wanted, &verifies)),
            Err(_) if usable => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Remembered {
    /// The set as it is now. Whoever waited for somebody else's fetch takes what that one got; with `hurry`, nobody waits.
    async fn fetch(&self, remote: &Remote, url: &str, clock: &Clock, hurry: bool) -> Result<Arc<KeySet>, KeysError> {
        let (before, known_at) = (self.fetches.load(Ordering::SeqCst), self.fetched_at());
        let mut recent =
            if hurry { self.recent.try_lock().map_err(|_| KeysError::Unavailable)? } else { self.recent.lock().await };
        if self.fetches.load(Ordering::SeqCst) != before {
            let current = self.current.read().clone().filter(|current| Some(current.at) > known_at);
            return current.map(|current| current.set).ok_or(KeysError::Unavailable);
        }
        let now = clock.now_millis();
        recent.retain(|at| now - at < FETCHES_SPAN);
        if recent.len() >= FETCHES_MAX {
            return Err(KeysError::TooOften);
        }
        recent.push(now);
        let fetched = remote.fetch(url, DOCUMENT_BYTES_MAX).await.map_err(KeysError::from);
        let fetched = fetched.and_then(|document| KeySet::parse(&document)).map(Arc::new);
        if let Ok(set) = &fetched {
            *self.current.write() = Some(Fetched { set: Arc::clone(set), at: clock.now_millis() });
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        fetched
    }

    fn fetched_at(&self) -> Option<i64> {
        self.current.read().as_ref().map(|current| current.at)
    }
}

fn answer(verdict: Verdict) -> Result<(), KeysError> {
    match verdict {
        Verdict::Good => Ok(()),
        Verdict::Bad => Err(KeysError::Signature),
        Verdict::NoKey => Err(KeysError::Unknown),
    }
}

#[cfg(test)]
mod tests;
