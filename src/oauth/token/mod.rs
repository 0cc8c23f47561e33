//! The token endpoint: RFC 6749 3.2 and 5. One file per grant type; here is what they share.

mod authorization_code;
mod client_credentials;
mod password;
mod refresh_token;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{
    AccessToken, Authorization, Grant, GrantCommand, GrantError, GrantEvent, NewAccessToken, RevocationReason,
};
use grantlog_domain::{Actor, Event, GrantId, Scope, SecretHash, Timestamp};
use grantlog_projections::live::LiveClient;
use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::{ErrorCode, OAuthError};
use super::jwt_access_token::{self, kind};
use super::posted::{Posted, json, not_executed, not_read, posted};
use super::profiles::not_told;
use super::scopes;
use crate::app::App;
use crate::http::form::{Encodings, Parameters};
use crate::oidc::claims::opened_by;
use crate::oidc::id_token::IdToken;
use crate::oidc::signing::SigningError;
use crate::secrets::{Kind, Secret};
use crate::standing;
use crate::store::{CommandContext, ExecuteError, Executed};

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    posted(app, Encodings::UrlEncodedOrMultipart, token)
}

/// A token request of an authenticated client that may use this grant type.
struct TokenRequest {
    client: Arc<LiveClient>,
    posted: Posted,
    at: Timestamp,
}

async fn token(posted: Result<Posted, OAuthError>, app: App) -> Result<Response, OAuthError> {
    let posted = posted?;
    let client = posted.authenticate(&app).await?;
    let grant_type = grant_type(&posted)?;
    let request = TokenRequest { client, posted, at: app.now() };
    if let Err(refused) = check_registered(&request.client, grant_type) {
        if grant_type == GrantType::RefreshToken {
            refresh_token::withdraw(&app, &request).await?;
        }
        return Err(refused);
    }
    check_resource(&request.posted.parameters)?;
    let tokens = match grant_type {
        GrantType::AuthorizationCode => authorization_code::redeem(&app, request).await,
        GrantType::ClientCredentials => client_credentials::open(&app, request).await,
        GrantType::Password => password::open(&app, request).await,
        GrantType::RefreshToken => refresh_token::refresh(&app, request).await,
        // RFC 6749 4.2: its tokens come from the authorization endpoint.
        GrantType::Implicit => Err(unsupported()),
    }?;
    Ok(tokens.into_response())
}

/// RFC 6749 5.2: `unsupported_grant_type`.
fn grant_type(posted: &Posted) -> Result<GrantType, OAuthError> {
    posted.required("grant_type")?.parse().map_err(|_| unsupported())
}

fn unsupported() -> OAuthError {
    OAuthError::new(ErrorCode::UnsupportedGrantType, "this grant_type is not supported")
}

/// RFC 6749 5.2: `unauthorized_client`.
fn check_registered(client: &LiveClient, grant_type: GrantType) -> Result<(), OAuthError> {
    if client.metadata.allows(grant_type) || grant_type == GrantType::Implicit {
        return Ok(());
    }
    Err(OAuthError::new(ErrorCode::UnauthorizedClient, "the client is not registered for this grant_type"))
}

/// RFC 8707 2: a client must not believe that its token is for that resource only.
fn check_resource(parameters: &Parameters) -> Result<(), OAuthError> {
    match parameters.get("resource") {
        Some(_) => Err(OAuthError::new(ErrorCode::InvalidTarget, "the parameter resource is not supported")),
        None => Ok(()),
    }
}

/// `lifetime` after `at`.
pub fn after(at: Timestamp, lifetime: Duration) -> Timestamp {
    at.plus_seconds(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX))
}

/// Tokens that were made and are not yet in the log.
struct NewTokens {
    access_token: (Secret<String>, SecretHash),
    refresh_token: Option<(Secret<String>, SecretHash)>,
}

impl NewTokens {
    /// New random ones. RFC 6749 1.5: a refresh token only for a client that registered for it.
    fn mint(app: &App, client: &LiveClient, grant_id: GrantId) -> Self {
        let refreshes = client.metadata.allows(GrantType::RefreshToken);
        Self {
            access_token: app.secrets.mint(kind(&client.metadata), grant_id.0),
            refresh_token: refreshes.then(|| app.secrets.mint(Kind::RefreshToken, grant_id.0)),
        }
    }

    fn access_token(&self, app: &App, at: Timestamp) -> NewAccessToken {
        let expires_at = after(at, app.settings.oauth.access_token_lifetime);
        NewAccessToken { hash: self.access_token.1, expires_at }
    }

    fn refresh_token(&self) -> Option<SecretHash> {
        self.refresh_token.as_ref().map(|(_, hash)| *hash)
    }
}

/// A successful answer (RFC 6749 5.1).
struct TokenResponse {
    access_token: Secret<String>,
    /// Seconds.
    expires_in: i64,
    refresh_token: Option<Secret<String>>,
    scope: Scope,
    /// OpenID Connect Core 3.1.3.3.
    id_token: Option<String>,
}

impl TokenResponse {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Wire<'a> {
            access_token: &'a str,
            token_type: &'static str,
            expires_in: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            refresh_token: Option<&'a str>,
            #[serde(skip_serializing_if = "Scope::is_empty")]
            scope: &'a Scope,
            #[serde(skip_serializing_if = "Option::is_none")]
            id_token: Option<&'a str>,
        }
        let wire = Wire {
            access_token: self.access_token.expose(),
            token_type: "Bearer",
            expires_in: self.expires_in,
            refresh_token: self.refresh_token.as_ref().map(|secret| secret.expose().as_str()),
            scope: &self.scope,
            id_token: self.id_token.as_deref(),
        };
        // Strings and a number: this always serializes.
        json(serde_json::to_vec(&wire).unwrap_or_default())
    }
}

/// What the client may have now for the user of this grant, who is looked up only where a scope is not for every user.
async fn allowed(app: &App, request: &TokenRequest, grant_id: GrantId) -> Result<Scope, OAuthError> {
    let client = &request.client.metadata;
    if !scopes::depends_on_user(app, &client.scope) {
        return Ok(client.scope.clone());
    }
    // In a box, so that the future of the fast path stays small.
    let grant = Box::pin(app.store.load::<Grant>(&grant_id.to_string())).await;
    let grant = grant.map_err(|error| not_read(&error, &request.posted.context))?.aggregate;
    let Some(user_id) = grant.authorization().and_then(|authorization| authorization.user_id) else {
        return Ok(client.scope.clone());
    };
    let allowed = scopes::allowed(app, &client.scope, client, user_id).await;
    allowed.map_err(|error| not_read(&error, &request.posted.context))
}

/// The grant of a code or refresh token, which carry its id (no lookup is needed), and the hash of what was presented.
fn parse(app: &App, kind: Kind, presented: &str) -> Option<(GrantId, SecretHash)> {
    app.secrets.parse(kind, presented).map(|(id, hash)| (GrantId(id), hash))
}

impl TokenRequest {
    fn by_client(&self, app: &App, grant_id: GrantId) -> CommandContext {
        let actor = Actor::Client(self.client.id);
        app.command_context(actor, &self.posted.context, Some(grant_id.to_string()))
    }

    /// What a client hears when its command was not executed.
    fn not_executed(&self, error: ExecuteError<GrantError>) -> OAuthError {
        not_executed(error, &self.posted.context, refused)
    }

    /// The access token that a command put into the log.
    fn issued<'a>(&self, executed: &'a Executed<Grant>) -> Result<&'a AccessToken, OAuthError> {
        let issued = executed.events.iter().find_map(|recorded| match &recorded.event {
            Event::Grant(GrantEvent::Opened(opened)) => Some(&opened.access_token),
            Event::Grant(GrantEvent::CodeRedeemed { access_token, .. }) => Some(access_token),
            Event::Grant(GrantEvent::Refreshed(refreshed)) => Some(&refreshed.access_token),
            _ => None,
        });
        issued.ok_or_else(|| {
            OAuthError::fault(Some(self.posted.context.id.as_str()), &"a command that issues a token appended none")
        })
    }

    /// The answer, with scope and lifetime as the log has them. `authorization` is that of the grant.
    async fn answer(
        &self,
        app: &App,
        authorization: Option<&Authorization>,
        tokens: NewTokens,
        access_token: &AccessToken,
    ) -> Result<TokenResponse, OAuthError> {
        let going_out = jwt_access_token::AccessToken {
            client_id: self.client.id,
            client: &self.client.metadata,
            user_id: authorization.and_then(|all| all.user_id),
            authentication: authorization.and_then(|all| all.authentication.as_ref()),
            scope: &access_token.scope,
            at: self.at,
            expires_at: access_token.expires_at,
        };
        let written = going_out.written(app, tokens.access_token.0).await;
        Ok(TokenResponse {
            access_token: written.map_err(|error| self.fault(&error))?,
            expires_in: access_token.expires_at.seconds_since(self.at).max(0),
            refresh_token: tokens.refresh_token.map(|(secret, _)| secret),
            scope: access_token.scope.clone(),
            id_token: None,
        })
    }

    fn fault(&self, error: &SigningError) -> OAuthError {
        OAuthError::fault(Some(self.posted.context.id.as_str()), error)
    }

    /// Ends a grant; what the client hears is another matter, except when the store is not there.
    async fn revoke(&self, app: &App, grant_id: GrantId, reason: RevocationReason) -> Result<(), OAuthError> {
        let command = GrantCommand::Revoke { reason, at: self.at };
        let by = self.by_client(app, grant_id);
        let executed = app.store.execute::<Grant>(&grant_id.to_string(), command, &by).await;
        executed.map(|_| ()).map_err(|error| self.not_executed(error))
    }

    /// The answer with an ID token, when the grant and this answer have the scope `openid` (OpenID Connect Core 3.1.3.3).
    async fn with_id_token(
        &self,
        app: &App,
        authorization: Option<&Authorization>,
        mut tokens: TokenResponse,
    ) -> Result<TokenResponse, OAuthError> {
        let Some((authorization, authentication)) =
            authorization.and_then(|all| Some((all, all.authentication.as_ref()?)))
        else {
            return Ok(tokens);
        };
        let Some(user_id) = authorization.user_id.filter(|_| tokens.scope.contains("openid")) else {
            return Ok(tokens);
        };
        let named = &authentication.claims.id_token;
        let claims = match named.is_empty() {
            true => serde_json::Map::new(),
            // OpenID Connect Core 5.5: those that the request wanted here.
            false => {
                let profile = Box::pin(app.profiles().get(app, user_id)).await;
                let profile = profile.map_err(|error| not_told(&error, &self.posted.context))?;
                profile.map(|profile| opened_by(&Scope::default(), named, &profile)).unwrap_or_default()
            }
        };
        let id_token = IdToken {
            client_id: self.client.id,
            client: &self.client.metadata,
            user_id,
            session_id: authorization.session_id,
            authentication,
            at: self.at,
            access_token: Some(tokens.access_token.expose()),
            code: None,
            state: None,
            claims,
        };
        let signed = id_token.sign(app).await;
        tokens.id_token = Some(signed.map_err(|error| self.fault(&error))?);
        Ok(tokens)
    }

    /// A user who was disabled gets nothing more, and what they allowed ends.
    async fn check_user(&self, app: &App, grant_id: GrantId, grant: &Grant) -> Result<(), OAuthError> {
        let user_id = grant.authorization().and_then(|authorization| authorization.user_id);
        let Some(user_id) = user_id else { return Ok(()) };
        let stands = standing::user_stands(app, user_id).await;
        if stands.map_err(|error| not_read(&error, &self.posted.context))? {
            return Ok(());
        }
        self.revoke(app, grant_id, RevocationReason::UserDisabled).await?;
        Err(OAuthError::invalid_grant("the user is disabled"))
    }
}

/// The one text for a code or refresh token that cannot be used, whatever the reason.
const NOT_VALID: &str = "the code or refresh token is not valid";

/// What a client hears of a refusal (RFC 6749 5.2). Who holds a code or token that is not theirs learns no more than
/// somebody who guessed.
pub fn refused(refusal: GrantError) -> OAuthError {
    match refusal {
        GrantError::NotFound
        | GrantError::WrongClient
        | GrantError::Revoked
        | GrantError::Expired
        | GrantError::UnknownCode
        | GrantError::CodeExpired
        | GrantError::CodeAlreadyRedeemed
        | GrantError::UnknownRefreshToken
        | GrantError::RefreshTokenReused
        | GrantError::RefreshRepeatedWithinGrace
        | GrantError::RefreshWithdrawn
        | GrantError::TooManyRotations => OAuthError::invalid_grant(NOT_VALID),
        GrantError::RedirectUriMismatch => {
            OAuthError::invalid_grant("redirect_uri is not the one of the authorization request")
        }
        GrantError::VerifierMissing => OAuthError::invalid_grant("code_verifier is missing"),
        GrantError::VerifierMalformed => {
            OAuthError::invalid_grant("code_verifier must be 43 to 128 unreserved characters")
        }
        GrantError::VerifierMismatch => OAuthError::invalid_grant("code_verifier does not fit the code_challenge"),
        GrantError::VerifierUnexpected => {
            OAuthError::invalid_grant("there was no code_challenge for this code_verifier")
        }
        GrantError::ScopeExceeded => {
            OAuthError::new(ErrorCode::InvalidScope, "the scope is wider than what was granted")
        }
        GrantError::ScopeWithdrawn => {
            OAuthError::new(ErrorCode::InvalidScope, "nothing of the scope is left that the client may have")
        }
        GrantError::UnknownAccessToken => OAuthError::invalid_grant("the access token is not valid"),
        // A new identifier that exists already: the next attempt has another one.
        GrantError::AlreadyExists => OAuthError::unavailable(),
    }
}
