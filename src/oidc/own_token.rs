//! JSON Web Tokens of this server that come back to it.
//!
//! Anybody may send one, so it is read with bounds, and believed only with a good signature of a key that this server
//! publishes, made with that key's own algorithm (RFC 8725 3.1, 3.2), and of the kind that is looked for (3.11). What its
//! header names beside `kid` is not followed.

use std::collections::HashMap;
use std::sync::Arc;

use grantlog_projections::live::LiveKey;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::standing;
use crate::store::StoreError;

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8192;

#[derive(Deserialize)]
struct Signed<C> {
    iss: String,
    #[serde(flatten)]
    claims: C,
}

/// The claims of a token of that media type (`typ`, RFC 7515 4.1.9), signed by a published key of this server. It may have
/// expired. `None`, whatever is wrong with it.
///
/// # Errors
/// When this node is not up to date, and the log does not say which keys stand.
pub async fn read<C: DeserializeOwned>(app: &App, typ: &str, token: &str) -> Result<Option<C>, StoreError> {
    let published = Box::pin(standing::keys(app)).await?;
    Ok(app.own_keys().read(&published, app.settings.issuer.as_str(), typ, token))
}

/// The public halves of the published keys, ready to verify with: to read one from its JWK takes longer than to look it up.
/// A `kid` is the thumbprint of its key, so what it names does not change.
#[derive(Default)]
pub struct OwnKeys {
    ready: RwLock<HashMap<String, Arc<DecodingKey>>>,
}

impl OwnKeys {
    fn read<C: DeserializeOwned>(&self, published: &[LiveKey], issuer: &str, typ: &str, token: &str) -> Option<C> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        // RFC 7515 4.1.11: an extension that is not understood; none is.
        if header.crit.is_some() || header.typ.as_deref() != Some(typ) {
            return None;
        }
        let kid = header.kid?;
        let key = published.iter().find(|key| key.id.0 == kid)?;
        let alg: Algorithm = key.algorithm.as_str().parse().ok()?;
        if header.alg != alg {
            return None;
        }
        let mut validation = Validation::new(alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let signed = decode::<Signed<C>>(token, &*self.ready(published, key)?, &validation).ok()?.claims;
        (signed.iss == issuer).then_some(signed.claims)
    }

    /// Of one of the published keys; others are forgotten when a new one comes.
    fn ready(&self, published: &[LiveKey], key: &LiveKey) -> Option<Arc<DecodingKey>> {
        if let Some(ready) = self.ready.read().get(&key.id.0) {
            return Some(Arc::clone(ready));
        }
        let jwk: Jwk = serde_json::from_value(key.public_jwk.clone().into()).ok()?;
        let new = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
        let mut ready = self.ready.write();
        ready.retain(|kid, _| published.iter().any(|key| key.id.0 == *kid));
        ready.insert(key.id.0.clone(), Arc::clone(&new));
        Some(new)
    }
}
