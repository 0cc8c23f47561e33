//! Resource owner password credentials: RFC 6749 4.3, only for clients that registered for it.
//!
//! Failures of an account are counted together with those of the sign-in page, and a locked account hears what a wrong
//! password hears. Beside that a client counts that has a secret, or the address of one that has none.

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{Authentication, Grant, GrantCommand, OpenGrant, RequestedClaims};
use grantlog_domain::{GrantId, Scope, UserId};

use super::{NewTokens, TokenRequest, TokenResponse, after};
use crate::app::App;
use crate::oauth::authorization_request::scope;
use crate::oauth::error::OAuthError;
use crate::oauth::posted::not_read;
use crate::oauth::scopes;
use crate::secrets::Secret;
use crate::sign_in::{SignInError, amr, caller, check_password};
use crate::store::vault::Source;

pub(super) async fn open(app: &App, request: TokenRequest) -> Result<TokenResponse, OAuthError> {
    let password = request.posted.parameters.get("password").map(|password| Secret::new(password.to_owned()));
    let username = request.posted.required("username")?;
    let password = password.ok_or_else(|| OAuthError::missing("password"))?;
    let scope = scope(&request.posted.parameters, &request.client.metadata)?;
    let user_id = user(app, &request, username, password).await?;
    let scope = of_user(app, &request, scope, user_id).await?;
    let (grant_id, is_openid) = (GrantId(app.new_id()), scope.contains("openid"));
    let tokens = NewTokens::mint(app, &request.client, grant_id);
    let access_token = tokens.access_token(app, request.at);
    // What cannot be refreshed ends with its token.
    let expires_at = match tokens.refresh_token {
        Some(_) => after(request.at, app.settings.oauth.grant_lifetime),
        None => access_token.expires_at,
    };
    let command = GrantCommand::Open(OpenGrant {
        grant_type: GrantType::Password,
        client_id: request.client.id,
        user_id: Some(user_id),
        session_id: None,
        scope,
        access_token,
        refresh_token: tokens.refresh_token(),
        expires_at,
        at: request.at,
        authentication: is_openid.then(|| Authentication {
            auth_time: request.at,
            amr: amr(app),
            nonce: None,
            claims: RequestedClaims::default(),
        }),
        consent: None,
    });
    let by = request.by_client(app, grant_id);
    let executed = app.store.create::<Grant>(&grant_id.to_string(), command, &by).await;
    let executed = executed.map_err(|error| request.not_executed(error))?;
    let authorization = executed.aggregate.authorization();
    let tokens = request.answer(app, authorization, tokens, request.issued(&executed)?).await?;
    // OpenID Connect Core knows no such grant, but its clients ask here, too, who the user is.
    request.with_id_token(app, authorization, tokens).await
}

/// RFC 6749 3.3: less than was asked for, where the user may not have all of it; the answer says so.
async fn of_user(app: &App, request: &TokenRequest, asked: Scope, user_id: UserId) -> Result<Scope, OAuthError> {
    let allowed = scopes::allowed(app, &asked, &request.client.metadata, user_id).await;
    let allowed = allowed.map_err(|error| not_read(&error, &request.posted.context))?;
    if allowed.is_empty() && !asked.is_empty() { Err(OAuthError::scope_withheld()) } else { Ok(allowed) }
}

async fn user(
    app: &App,
    request: &TokenRequest,
    username: &str,
    password: Secret<String>,
) -> Result<UserId, OAuthError> {
    let context = &request.posted.context;
    match check_password(app, username, password, source(request), context).await {
        Ok(user_id) => Ok(user_id),
        Err(SignInError::Refused) => Err(OAuthError::invalid_grant("user name or password is wrong")),
        Err(SignInError::TooMany { retry_after }) => {
            Err(OAuthError::too_many(u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX)))
        }
        Err(SignInError::Unavailable) => Err(OAuthError::unavailable()),
        Err(SignInError::Fault(fault)) => Err(OAuthError::fault(Some(context.id.as_str()), &fault)),
    }
}

/// An application with a secret asks for all its users from one address, so mistyping would lock all of them out. One that
/// nobody vouched for, or that anybody can speak for, is another matter: there would be a new one for each guess.
fn source(request: &TokenRequest) -> Source {
    let client = &request.client;
    match client.is_vouched() && !client.metadata.is_public() {
        true => Source::Client(client.id),
        false => caller(&request.posted.context),
    }
}
