//! JSON Web Tokens of this server that come back to it.
//!
//! Anybody may send one, so it is read with bounds, and believed only with a good signature of a key that this server
//! publishes, made with that key's own algorithm (RFC 8725 3.1, 3.2), and of the kind that is looked for (3.11). What its
//! header names beside `kid` is not followed.

use grantlog_projections::live::LiveKey;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8192;

#[derive(Deserialize)]
struct Signed<C> {
    iss: String,
    #[serde(flatten)]
    claims: C,
}

/// The claims of a token of that media type (`typ`, RFC 7515 4.1.9), signed by one of these keys for that issuer. It may
/// have expired. `None`, whatever is wrong with it.
#[must_use]
pub fn read<C: DeserializeOwned>(keys: &[LiveKey], issuer: &str, typ: &str, token: &str) -> Option<C> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let header = decode_header(token).ok()?;
    // RFC 7515 4.1.11: an extension that is not understood; none is.
    if header.crit.is_some() || header.typ.as_deref() != Some(typ) {
        return None;
    }
    let kid = header.kid?;
    let key = keys.iter().find(|key| key.id.0 == kid)?;
    let alg: Algorithm = key.algorithm.as_str().parse().ok()?;
    if header.alg != alg {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(key.public_jwk.clone().into()).ok()?;
    let decoding_key = DecodingKey::from_jwk(&jwk).ok()?;
    let mut validation = Validation::new(alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let signed = decode::<Signed<C>>(token, &decoding_key, &validation).ok()?.claims;
    (signed.iss == issuer).then_some(signed.claims)
}
