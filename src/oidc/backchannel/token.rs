//! The logout token: OpenID Connect Back-Channel Logout 2.4.

use grantlog_domain::client::ClientMetadata;
use grantlog_domain::signing_key::Algorithm;
use grantlog_domain::{ClientId, SessionId, UserId};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::oidc::sid::sid;
use crate::oidc::signing::SigningError;
use crate::oidc::subject::subject;
use crate::secrets::Purpose;

/// Seconds until it expires: two minutes are the most that the section recommends.
const LIFETIME_SECONDS: i64 = 120;

/// The media type of the section, so that it cannot be taken for an ID token (4.1).
const TYP: &str = "logout+jwt";

/// The member of `events` that makes it a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Tells `client` that the session of `user_id` has ended. `jti` is the same however often it is told; never with `nonce`.
///
/// # Errors
/// See [`SigningError`].
pub async fn logout_token(
    app: &App,
    client_id: ClientId,
    client: &ClientMetadata,
    session_id: SessionId,
    user_id: UserId,
) -> Result<String, SigningError> {
    let now = app.now();
    let jti = app.secrets.blind_index(Purpose::LogoutToken, &format!("{session_id}.{client_id}"));
    let claims: Map<String, Value> = [
        ("iss", app.settings.issuer.as_str().into()),
        ("sub", subject(app, client_id, client, user_id).into()),
        ("aud", client_id.to_string().into()),
        ("iat", now.0.into()),
        ("exp", now.plus_seconds(LIFETIME_SECONDS).0.into()),
        ("jti", jti.into()),
        ("sid", sid(&app.secrets, session_id, client_id).into()),
        ("events", json!({ EVENT: {} })),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    // 2.4: never unsigned.
    let alg = client.openid.id_token_alg().unwrap_or(Algorithm::RS256);
    app.signing().sign(app, alg, TYP, &claims).await
}
