//! Access tokens that resource servers read by themselves: RFC 9068, for clients registered for them
//! (`access_token_format` `jwt`).
//!
//! Only the form differs: the grant holds the hash of `jti`, as it holds that of an opaque token, so such a token is
//! introspected and revoked like any other. A `jti` alone opens nothing here: it has a prefix of its own, and is looked up
//! only when it comes in a signed token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::client::{AccessTokenFormat, ClientMetadata};
use grantlog_domain::grant::Authentication;
use grantlog_domain::{ClientId, GrantId, Scope, SecretHash, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::oidc::id_token::acr;
use crate::oidc::own_token;
use crate::oidc::signing::SigningError;
use crate::oidc::subject::subject;
use crate::secrets::{Kind, Secret};
use crate::store::StoreError;

/// `typ` (RFC 9068 2.1).
pub const TYP: &str = "at+jwt";

/// What is minted as the access token of that client: the token, or the `jti` of one.
#[must_use]
pub fn kind(client: &ClientMetadata) -> Kind {
    match client.openid.access_token_format {
        Some(AccessTokenFormat::Jwt) => Kind::JwtId,
        Some(AccessTokenFormat::Opaque) | None => Kind::AccessToken,
    }
}

/// An access token as the log has it, about to go out.
pub struct AccessToken<'a> {
    pub client_id: ClientId,
    pub client: &'a ClientMetadata,
    /// Absent when the client acts for itself.
    pub user_id: Option<UserId>,
    /// Absent when nobody signed in for it.
    pub authentication: Option<&'a Authentication>,
    pub scope: &'a Scope,
    pub at: Timestamp,
    pub expires_at: Timestamp,
}

impl AccessToken<'_> {
    /// What the client gets for a secret that was minted as [`kind`] says.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub async fn written(&self, app: &App, minted: Secret<String>) -> Result<Secret<String>, SigningError> {
        if kind(self.client) == Kind::AccessToken {
            return Ok(minted);
        }
        let alg = app.settings.oauth.access_token_alg;
        let claims = self.claims(app, minted.expose());
        app.signing().sign(app, alg, TYP, &claims).await.map(Secret::new)
    }

    /// RFC 9068 2.2.
    fn claims(&self, app: &App, jti: &str) -> Map<String, Value> {
        let client_id = self.client_id.to_string();
        let sub = self.user_id.map(|user_id| subject(app, self.client_id, self.client, user_id));
        let mut claims = Map::new();
        let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        say("iss", app.settings.issuer.as_str().into());
        say("aud", json!(audience(app, |word| self.scope.contains(word))));
        say("sub", sub.unwrap_or_else(|| client_id.clone()).into());
        say("client_id", client_id.into());
        say("iat", self.at.0.into());
        say("exp", self.expires_at.0.into());
        say("jti", jti.into());
        if !self.scope.is_empty() {
            say("scope", self.scope.to_string().into());
        }
        if let Some(authentication) = self.authentication {
            say("auth_time", authentication.auth_time.0.into());
            say("acr", acr(&authentication.amr).into());
            if !authentication.amr.is_empty() {
                say("amr", json!(authentication.amr));
            }
        }
        claims
    }
}

/// Whom a token is for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Audience<'a> {
    One(&'a str),
    Both([&'a str; 2]),
    /// As the token itself says it.
    Said(&'a Value),
}

/// RFC 9068 3: the default resource indicator, and this server where it is a resource itself (UserInfo, `/api/me`). `has`
/// says which words the token's scope has.
pub fn audience(app: &App, has: impl Fn(&str) -> bool) -> Audience<'_> {
    let issuer = app.settings.issuer.as_str();
    match app.settings.oauth.access_token_audience.as_deref() {
        Some(audience) if has("openid") || has("profile") => Audience::Both([audience, issuer]),
        Some(audience) => Audience::One(audience),
        None => Audience::One(issuer),
    }
}

#[derive(Deserialize)]
struct Presented {
    jti: String,
}

/// What a JSON Web Token says that no other access token does.
#[derive(Deserialize)]
pub struct Said {
    pub aud: Value,
    pub jti: String,
}

/// Reads a token that was found to be active; `None` when it is no JSON Web Token.
#[must_use]
pub fn said(active: &str) -> Option<Said> {
    let claims = active.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Which grant a presented access token is of, and its hash there; `None` when it is none of this server's making. It says
/// nothing about whether the token stands.
///
/// # Errors
/// When the signing keys cannot be read.
pub async fn parse(app: &App, presented: &str) -> Result<Option<(GrantId, SecretHash)>, StoreError> {
    if let Some((id, hash)) = app.secrets.parse(Kind::AccessToken, presented) {
        return Ok(Some((GrantId(id), hash)));
    }
    // Every JSON object in base64url begins like this.
    if !presented.starts_with("ey") {
        return Ok(None);
    }
    let read: Option<Presented> = own_token::read(app, TYP, presented).await?;
    let parsed = read.and_then(|token| app.secrets.parse(Kind::JwtId, &token.jti));
    Ok(parsed.map(|(id, hash)| (GrantId(id), hash)))
}
