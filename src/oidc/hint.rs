//! `id_token_hint`: an ID token of this server that comes back (OpenID Connect Core 3.1.2.1, RP-Initiated Logout 2).
//!
//! Anybody may send one, so it is read with bounds, and believed only with a good signature of a key that this server
//! publishes, made with that key's own algorithm (RFC 8725 3.1, 3.2). What its header names beside `kid` is not followed.

use grantlog_domain::{ClientId, SessionId, UserId};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use crate::app::App;

/// Longest token that is looked at, in bytes.
pub const HINT_BYTES_MAX: usize = 4096;

/// What the hint tells. It may have expired: it says who was signed in, it opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub client_id: ClientId,
    pub user_id: UserId,
    pub session_id: Option<SessionId>,
}

/// Not an ID token of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("id_token_hint is not an ID token of this server")]
pub struct BadHint;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    sid: Option<String>,
}

/// Reads a hint.
///
/// # Errors
/// [`BadHint`], whatever is wrong with it.
pub fn read(app: &App, token: &str) -> Result<Hint, BadHint> {
    if token.len() > HINT_BYTES_MAX {
        return Err(BadHint);
    }
    let header = decode_header(token).map_err(|_| BadHint)?;
    // RFC 7515 4.1.11: an extension that is not understood; none is. RFC 8725 3.11: another kind of token is none.
    if header.crit.is_some() || header.typ.as_deref() != Some("JWT") {
        return Err(BadHint);
    }
    let kid = header.kid.ok_or(BadHint)?;
    let keys = app.live.keys();
    let key = keys.iter().find(|key| key.id.0 == kid).ok_or(BadHint)?;
    let alg: Algorithm = key.algorithm.as_str().parse().map_err(|_| BadHint)?;
    if header.alg != alg {
        return Err(BadHint);
    }
    let jwk: Jwk = serde_json::from_value(key.public_jwk.clone().into()).map_err(|_| BadHint)?;
    let decoding_key = DecodingKey::from_jwk(&jwk).map_err(|_| BadHint)?;
    let mut validation = Validation::new(alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = decode::<Claims>(token, &decoding_key, &validation).map_err(|_| BadHint)?.claims;
    if claims.iss != app.settings.issuer.as_str() {
        return Err(BadHint);
    }
    Ok(Hint {
        client_id: claims.aud.parse().map_err(|_| BadHint)?,
        user_id: claims.sub.parse().map_err(|_| BadHint)?,
        session_id: claims.sid.and_then(|sid| sid.parse().ok()),
    })
}
