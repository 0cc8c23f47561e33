//! What the user agreed to goes out: a code (RFC 6749 4.1.2), an access token (4.2.2), an ID token (OpenID Connect
//! Core 3.2.2.5), or several of them (3.3.2.5). One event of one grant, whatever it is.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{
    Authentication, Grant, GrantCommand, IdTokenIssued, IssueCode, NewAccessToken, OpenGrant,
};
use grantlog_domain::{Actor, GrantId, Scope, SecretHash, Timestamp};
use http::header::SET_COOKIE;
use serde_json::Map;
use warp::reply::Response;

use crate::app::App;
use crate::http::request_id::RequestContext;
use crate::oauth::authorization_request::AuthorizationRequest;
use crate::oauth::error::{AuthorizationError, ErrorCode, OAuthError};
use crate::oauth::jwt_access_token::{self, AccessToken};
use crate::oauth::posted::not_executed;
use crate::oauth::profiles::not_told;
use crate::oauth::shown::shown;
use crate::oauth::token::{after, refused};
use crate::oidc::check_session::session_state;
use crate::oidc::claims;
use crate::oidc::id_token::{IdToken, acr};
use crate::pages::SignedIn;
use crate::pages::cookies::Cookie;
use crate::pages::visit::browser_state;
use crate::secrets::{Kind, Secret};
use crate::store::vault::Profile;

/// A request that is granted.
struct Granted<'a> {
    app: &'a App,
    request: &'a AuthorizationRequest,
    session: &'a SignedIn,
    /// Everybody who is signed in in this browser.
    accounts: &'a [SignedIn],
    context: &'a RequestContext,
    at: Timestamp,
    /// Set when the scope has `openid`.
    authentication: Option<Authentication>,
}

/// Answers the client with what it asked for.
pub async fn issue(
    app: &App,
    request: &AuthorizationRequest,
    (session, accounts): (&SignedIn, &[SignedIn]),
    context: &RequestContext,
) -> Result<Response, AuthorizationError> {
    let answer = async {
        let authentication = match request.scope.contains("openid") {
            true => Some(authentication(app, request, session, context).await?),
            false => None,
        };
        Granted { app, request, session, accounts, context, at: app.now(), authentication }.issue().await
    };
    // The user allowed it, so they know where they go.
    let to = || request.redirect.clone().of_unvouched(None);
    answer.await.map_err(|error| AuthorizationError::Redirect { to: Box::new(to()), error })
}

/// How and when the user signed in, as the log has it.
async fn authentication(
    app: &App,
    request: &AuthorizationRequest,
    session: &SignedIn,
    context: &RequestContext,
) -> Result<Authentication, OAuthError> {
    let wanted = &request.openid.claims;
    if !wanted.takes_acr(acr(&session.amr)) {
        let why = "the user cannot sign in here in the way that the claim acr asks for";
        return Err(OAuthError::new(ErrorCode::UnmetAuthenticationRequirements, why));
    }
    let profile = match wanted.depends_on_values() {
        true => profile(app, session, context).await?,
        false => None,
    };
    Ok(Authentication {
        auth_time: session.auth_time,
        amr: session.amr.to_vec(),
        nonce: request.openid.nonce.clone(),
        claims: wanted.granted(profile.as_deref()),
    })
}

async fn profile(app: &App, session: &SignedIn, context: &RequestContext) -> Result<Option<Arc<Profile>>, OAuthError> {
    let profile = app.profiles().get(app, session.user_id).await;
    profile.map_err(|error| not_told(&error, context))
}

impl Granted<'_> {
    async fn issue(self) -> Result<Response, OAuthError> {
        let (app, response_type) = (self.app, self.request.response_type);
        let grant_id = GrantId(app.new_id());
        let code = response_type.has_code().then(|| app.secrets.mint(Kind::Code, grant_id.0));
        let token = response_type
            .has_token()
            .then(|| app.secrets.mint(jwt_access_token::kind(&self.request.client), grant_id.0));
        let mut token_expires_at = after(self.at, app.settings.oauth.access_token_lifetime);
        if response_type.has_code() {
            // No longer than the grant.
            token_expires_at = token_expires_at.min(after(self.at, app.settings.oauth.grant_lifetime));
        }
        let access_token = token.as_ref().map(|(_, hash)| NewAccessToken { hash: *hash, expires_at: token_expires_at });
        let command = match (&code, access_token) {
            (Some((_, code)), access_token) => self.code_command(*code, access_token),
            (None, Some(access_token)) => self.token_command(access_token),
            (None, None) => self.id_token_command()?,
        };
        let (code, token) = (code.map(|(code, _)| code), token.map(|(token, _)| token));
        let by = app.command_context(Actor::User(self.session.user_id), self.context, Some(grant_id.to_string()));
        let executed = app.store.create::<Grant>(&grant_id.to_string(), command, &by).await;
        executed.map_err(|error| not_executed(error, self.context, refused))?;

        let token = match token {
            Some(minted) => Some(self.written(minted, token_expires_at).await?),
            None => None,
        };
        let expires_in = token_expires_at.seconds_since(self.at).to_string();
        let scope = self.request.scope.to_string();
        let id_token = self.id_token(code.as_ref(), token.as_ref()).await?;
        let mut parameters: Vec<(&str, &str)> = Vec::with_capacity(7);
        if let Some(code) = &code {
            parameters.push(("code", code.expose()));
        }
        if let Some(token) = &token {
            parameters.extend([("access_token", token.expose().as_str()), ("token_type", "Bearer")]);
            parameters.push(("expires_in", &expires_in));
            if !self.request.scope.is_empty() {
                parameters.push(("scope", &scope));
            }
        }
        if let Some(id_token) = &id_token {
            parameters.push(("id_token", id_token));
        }
        let watched = self.authentication.as_ref().map(|_| browser_state(app, self.accounts));
        let session_state = watched.as_ref().and_then(|state| self.session_state(state));
        if let Some(session_state) = &session_state {
            parameters.push(("session_state", session_state));
        }
        let mut response = self.request.redirect.respond(&app.settings.issuer, &parameters);
        // What the frame reads is what the client was told, whatever the browser had.
        let cookie = watched
            .and_then(|state| Cookie::State.set(&state, Some(app.settings.session_lifetime), &app.settings.issuer));
        if let Some(cookie) = cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// OpenID Connect Session Management 2.
    fn session_state(&self, browser_state: &str) -> Option<String> {
        let salt = URL_SAFE_NO_PAD.encode(self.app.secrets.entropy().bytes::<16>());
        session_state(self.request.client_id, self.request.redirect.redirect_uri(), browser_state, &salt)
    }

    fn code_command(&self, code: SecretHash, access_token: Option<NewAccessToken>) -> GrantCommand {
        let (request, lifetimes) = (self.request, &self.app.settings.oauth);
        GrantCommand::IssueCode(IssueCode {
            client_id: request.client_id,
            user_id: self.session.user_id,
            session_id: self.session.session_id,
            scope: request.scope.clone(),
            redirect_uri: request.redirect.redirect_uri().to_owned(),
            redirect_uri_in_request: request.redirect.in_request(),
            code,
            code_challenge: request.code_challenge,
            code_expires_at: after(self.at, lifetimes.code_lifetime),
            expires_at: after(self.at, lifetimes.grant_lifetime),
            at: self.at,
            authentication: self.authentication.clone(),
            access_token,
            consent: Some(shown(request)),
        })
    }

    /// RFC 6749 4.2.2: never with a refresh token, so the grant ends with its access token.
    fn token_command(&self, access_token: NewAccessToken) -> GrantCommand {
        let expires_at = access_token.expires_at;
        GrantCommand::Open(OpenGrant {
            grant_type: GrantType::Implicit,
            client_id: self.request.client_id,
            user_id: Some(self.session.user_id),
            session_id: Some(self.session.session_id),
            scope: self.request.scope.clone(),
            access_token,
            refresh_token: None,
            expires_at,
            at: self.at,
            authentication: self.authentication.clone(),
            consent: Some(shown(self.request)),
        })
    }

    fn id_token_command(&self) -> Result<GrantCommand, OAuthError> {
        let authentication = self.authentication.clone();
        Ok(GrantCommand::IssueIdToken(IdTokenIssued {
            client_id: self.request.client_id,
            user_id: self.session.user_id,
            session_id: self.session.session_id,
            scope: self.request.scope.clone(),
            authentication: authentication.ok_or_else(|| self.fault(&"an ID token without the scope openid"))?,
            expires_at: after(self.at, self.app.settings.oauth.id_token_lifetime),
            at: self.at,
            consent: Some(shown(self.request)),
        }))
    }

    async fn written(&self, minted: Secret<String>, expires_at: Timestamp) -> Result<Secret<String>, OAuthError> {
        let going_out = AccessToken {
            client_id: self.request.client_id,
            client: &self.request.client,
            user_id: Some(self.session.user_id),
            authentication: self.authentication.as_ref(),
            scope: &self.request.scope,
            at: self.at,
            expires_at,
        };
        going_out.written(self.app, minted).await.map_err(|error| self.fault(&error))
    }

    /// The ID token that goes through the browser.
    async fn id_token(
        &self,
        code: Option<&Secret<String>>,
        token: Option<&Secret<String>>,
    ) -> Result<Option<String>, OAuthError> {
        let Some(authentication) = self.authentication.as_ref().filter(|_| self.request.response_type.has_id_token())
        else {
            return Ok(None);
        };
        // OpenID Connect Core 5.4: where there is no access token to ask the UserInfo endpoint with.
        let alone = code.is_none() && token.is_none();
        let claims = if alone || !authentication.claims.id_token.is_empty() {
            let scope = if alone { &self.request.scope } else { &Scope::default() };
            let profile = profile(self.app, self.session, self.context).await?;
            let told = profile.map(|profile| claims::opened_by(scope, &authentication.claims.id_token, &profile));
            told.unwrap_or_default()
        } else {
            Map::new()
        };
        let id_token = IdToken {
            client_id: self.request.client_id,
            client: &self.request.client,
            user_id: self.session.user_id,
            session_id: Some(self.session.session_id),
            authentication,
            at: self.at,
            access_token: token.map(|token| token.expose().as_str()),
            code: code.map(|code| code.expose().as_str()),
            state: self.request.redirect.state(),
            claims,
        };
        id_token.sign(self.app).await.map(Some).map_err(|error| self.fault(&error))
    }

    fn fault(&self, fault: &dyn std::fmt::Display) -> OAuthError {
        OAuthError::fault(Some(self.context.id.as_str()), fault)
    }
}
