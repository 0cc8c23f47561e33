//! The authorization endpoint: RFC 6749 3.1 and OpenID Connect Core 3.1.2. What goes out is in `issue`.
//!
//! Shows pages and takes their answers: the consent form posts the request again, with `decision` and `csrf`. Not here:
//! what those pages look like and who is signed in (`pages`).

mod chosen;
mod issue;

use bytes::Buf;
use futures::Stream;
use grantlog_domain::ClientId;
use grantlog_projections::live::{Consented, LiveClient};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use self::chosen::{chosen, counts_for_this_answer, is_recent, must_be_asked, names_somebody, visible};
use self::issue::issue;
use super::authorization_request::{AuthorizationRequest, Made, way_back};
use super::authorization_response::{VerifiedRedirect, see_other};
use super::error::{AuthorizationError, ErrorCode, OAuthError};
use super::posted::{limits, not_read};
use super::profiles::not_told;
use super::request_object::NotOpened;
use super::shown::{counted, shown};
use super::{request_object, scopes};
use crate::app::{App, with};
use crate::http::form::{self, FormError, FormLimits, Parameters, raw_query};
use crate::http::request_id::{RequestContext, request_context};
use crate::http::security_headers::lead_to_clients;
use crate::oidc::hint::{self, BadHint};
use crate::oidc::id_token::may_be_unsigned;
use crate::pages::{self, SignedIn};
use crate::standing::{self, is_fresh};

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    let limits = limits(app);
    warp::method()
        .and(warp::header::headers_cloned())
        .and(request_context())
        .map(|method: Method, headers, context| Visit { posted: method == Method::POST, headers, context })
        .and(raw_query())
        .and(warp::body::stream())
        .then(move |visit: Visit, query: String, body| parameters(visit, query, body, limits))
        .and(with(app))
        .then(async |(visit, parameters): (Visit, _), app: App| {
            let mut response = match authorize(&app, &visit, parameters).await {
                Ok(response) => response,
                Err(error) => answer(&app, &visit, error).await,
            };
            lead_to_clients(response.headers_mut());
            response
        })
        .boxed()
}

/// What a browser sends beside the parameters.
struct Visit {
    headers: HeaderMap,
    context: RequestContext,
    posted: bool,
}

/// RFC 6749 3.1: GET with a query, or POST with a form.
async fn parameters<B: Buf>(
    visit: Visit,
    query: String,
    body: impl Stream<Item = Result<B, warp::Error>>,
    limits: FormLimits,
) -> (Visit, Result<Parameters, FormError>) {
    let parameters = if visit.posted {
        form::read_keeping_repeats(visit.headers.get(CONTENT_TYPE), body, limits).await
    } else {
        Parameters::parse_keeping_repeats(query.as_bytes(), limits.parameters)
    };
    (visit, parameters)
}

/// RFC 6749 4.1.2.1: on a page as long as the client or its `redirect_uri` is not verified, and then by redirect.
/// Where nobody vouched for the client, only those are sent there who know it (RFC 9700 4.11.2); others go by a click.
async fn answer(app: &App, visit: &Visit, error: AuthorizationError) -> Response {
    let (to, error, asks) = match error {
        AuthorizationError::Page(error) => return pages::error_page(app, &visit.headers, &visit.context, &error),
        AuthorizationError::Redirect { to, error } => match to.unvouched() {
            Some(client_id) => {
                let asks = !knows(app, visit, client_id, to.redirect_uri()).await;
                (to, error, asks)
            }
            None => (to, error, false),
        },
        AuthorizationError::Ask { to, error } => (to, error, true),
    };
    if asks { pages::leaving_page(app, &visit.headers, &to, &error) } else { to.refuse(&app.settings.issuer, &error) }
}

/// Whether somebody who is signed in allowed that client something that stands, there.
async fn knows(app: &App, visit: &Visit, client_id: ClientId, redirect_uri: &str) -> bool {
    let accounts = pages::accounts(app, &visit.headers).await.unwrap_or_default();
    accounts.iter().any(|account| pages::leaving::knows(app, account.user_id, client_id, redirect_uri))
}

async fn authorize(
    app: &App,
    visit: &Visit,
    parameters: Result<Parameters, FormError>,
) -> Result<Response, AuthorizationError> {
    let parameters = parameters.map_err(OAuthError::from)?;
    let request = checked(app, visit, &parameters).await?;
    let accounts = match pages::accounts(app, &visit.headers).await {
        Ok(accounts) => accounts,
        Err(error) => return Err(refuse(request, not_read(&error, &visit.context))),
    };
    let hint = match &request.openid.id_token_hint {
        None => None,
        Some(token) => match hint::read(app, token).await {
            Ok(hint) if hint.client_id == request.client_id => Some(hint),
            Ok(_) | Err(BadHint::NotOurs) => return Err(refuse(request, foreign_hint())),
            Err(BadHint::Unknown(error)) => return Err(refuse(request, not_read(&error, &visit.context))),
        },
    };
    let decides = visit.posted && parameters.get("decision").is_some();
    if request.prompt.select_account && !accounts.is_empty() && !decides {
        return Ok(choose_account(app, visit, &request, &accounts).await);
    }
    let visible = visible(app, &request, &accounts, hint.as_ref());
    let chosen = match chosen(app, &request, &visible, hint.as_ref()).await {
        Ok(chosen) => chosen,
        Err(error) => return Err(refuse(request, not_read(&error, &visit.context))),
    };
    // Whoever signs in now may be somebody who may have more.
    let request = match &chosen {
        Some(session) if request.prompt.none => for_user(app, visit, request, session).await?,
        _ => request,
    };
    if request.prompt.none && !accounts.is_empty() && must_be_asked(app, &request, &visible, chosen.as_ref()) {
        return Err(refuse(request, OAuthError::new(ErrorCode::ConsentRequired, "the user must be asked")));
    }
    let Some(session) = chosen.clone().filter(|session| is_recent(app, session, &request)) else {
        let has_signed_in = accounts.iter().find(|account| request.is_reauthenticated(account));
        if let Some(other) = has_signed_in.filter(|_| names_somebody(&request, hint.as_ref())) {
            return Err(somebody_else(app, request, other));
        }
        let elsewhere = chosen.is_none() && !accounts.is_empty();
        let request = if elsewhere { as_somebody_else(request) } else { request };
        return sign_in(app, visit, request, &accounts).await;
    };
    answered(app, visit, request, &session, &accounts, &parameters).await
}

/// What the user, who has signed in, gets to see or the client gets.
async fn answered(
    app: &App,
    visit: &Visit,
    request: AuthorizationRequest,
    session: &SignedIn,
    accounts: &[SignedIn],
    parameters: &Parameters,
) -> Result<Response, AuthorizationError> {
    let request = for_user(app, visit, request, session).await?;
    if visit.posted && parameters.get("decision").is_some() {
        return decided(app, visit, request, (session, accounts), parameters).await;
    }
    if !needs_consent(app, &request, session) {
        return issued_once(app, visit, request, (session, accounts)).await;
    }
    // It was not needed a moment ago.
    if request.prompt.none {
        return Err(refuse(request, OAuthError::unavailable()));
    }
    Ok(pages::consent_page(app, &request, session).await)
}

/// RFC 6749 3.3: less than was asked for, where the user may not have all of it; the client is told what it got.
async fn for_user(
    app: &App,
    visit: &Visit,
    request: AuthorizationRequest,
    session: &SignedIn,
) -> Result<AuthorizationRequest, AuthorizationError> {
    match scopes::allowed(app, &request.scope, &request.client, session.user_id).await {
        Ok(scope) if scope.is_empty() && !request.scope.is_empty() => {
            Err(refuse(request, OAuthError::scope_withheld()))
        }
        Ok(scope) => Ok(AuthorizationRequest { scope, ..request }),
        Err(error) => Err(refuse(request, not_read(&error, &visit.context))),
    }
}

fn foreign_hint() -> OAuthError {
    OAuthError::invalid_request("id_token_hint is not an ID token that this client got here")
}

/// OpenID Connect Core 3.1.2.1 `id_token_hint`: the user that the client names is logged in as a result of the request, or
/// the client hears of it. Otherwise whoever cannot sign in as that user would be asked for ever. From who did not allow it to
/// know them it hears it by a click only, because it says who they are not.
fn somebody_else(app: &App, request: AuthorizationRequest, other: &SignedIn) -> AuthorizationError {
    let why = "somebody else signed in than the user whom the request names";
    let error = OAuthError::new(ErrorCode::LoginRequired, why);
    match needs_consent(app, &request, other) {
        true => AuthorizationError::Ask { to: Box::new(request.redirect), error },
        false => refuse(request, error),
    }
}

/// OpenID Connect Core 3.1.2.1 `prompt=select_account`: the page stands in the place of the answer, and comes back here.
async fn choose_account(app: &App, visit: &Visit, request: &AuthorizationRequest, accounts: &[SignedIn]) -> Response {
    let next = request.account_chosen().to_path();
    let shown = pages::accounts_page(app, &visit.headers, accounts, &next).await;
    shown.unwrap_or_else(|error| error.into_response(app, &visit.headers, &visit.context))
}

/// Somebody other than the user who is signed in has to sign in.
fn as_somebody_else(mut request: AuthorizationRequest) -> AuthorizationRequest {
    request.arrival = None;
    request.prompt.login |= !request.prompt.none;
    request
}

/// The answer of the consent form.
async fn decided(
    app: &App,
    visit: &Visit,
    request: AuthorizationRequest,
    (session, accounts): (&SignedIn, &[SignedIn]),
    parameters: &Parameters,
) -> Result<Response, AuthorizationError> {
    // RFC 6749 10.12: nothing is decided by a form that was not shown in this browser.
    if !parameters.get("csrf").is_some_and(|csrf| pages::is_csrf_token(app, session, csrf)) {
        // In another tab they may have proved again who they are, or somebody else may have.
        return Ok(pages::consent_again_page(app, &request, session).await);
    }
    match parameters.get("decision") {
        // What was allowed is what was shown: the client may have changed while the page was open.
        Some("allow") if parameters.get("shown") != Some(&*shown(&request).to_string()) => {
            Ok(pages::consent_page(app, &request, session).await)
        }
        Some("allow") => issued_once(app, visit, request, (session, accounts)).await,
        Some("deny") => Err(refuse(request, OAuthError::new(ErrorCode::AccessDenied, "the user did not allow it"))),
        _ => Err(OAuthError::invalid_request("decision must be allow or deny").into()),
    }
}

/// What the user agreed to, unless the sign-in that the request asks for was used for an answer already.
async fn issued_once(
    app: &App,
    visit: &Visit,
    request: AuthorizationRequest,
    (session, accounts): (&SignedIn, &[SignedIn]),
) -> Result<Response, AuthorizationError> {
    match counts_for_this_answer(app, session, &request).await {
        Ok(true) => issue(app, &request, (session, accounts), &visit.context).await,
        Ok(false) => sign_in(app, visit, AuthorizationRequest { arrival: None, ..request }, accounts).await,
        Err(error) => Err(refuse(request, not_told(&error, &visit.context))),
    }
}

/// The request, once everything about it that does not depend on the user is checked: first who asks and where the
/// answer goes, told on a page, then the rest, told to the client.
async fn checked(
    app: &App,
    visit: &Visit,
    parameters: &Parameters,
) -> Result<AuthorizationRequest, AuthorizationError> {
    for name in ["client_id", "redirect_uri"] {
        if parameters.is_repeated(name) {
            return Err(OAuthError::invalid_request(format!("the parameter {name} is repeated")).into());
        }
    }
    let client_id = parameters.get("client_id").ok_or_else(|| OAuthError::missing("client_id"))?;
    let client_id = client_id.parse().map_err(|_| OAuthError::unknown_client())?;
    let client = standing::client(app, client_id).await.map_err(|error| not_read(&error, &visit.context))?;
    let client = client.filter(|client| client.is_enabled()).ok_or_else(OAuthError::unknown_client)?;
    let opened = match request_object::opened(app, &client, parameters).await {
        Ok(opened) => opened,
        Err(refused) => return Err(not_opened(app, &client, parameters, refused)),
    };
    let arrival = parameters.get("arrival");
    let parameters = opened.as_ref().unwrap_or(parameters);
    let redirect = verified(app, &client, parameters)?;
    let mut request = AuthorizationRequest::check(parameters, client_id, &client.metadata, redirect, &app.settings)?;
    if let Err(error) = request.check_length(app) {
        return Err(refuse(request, error));
    }
    if request.scope.contains("openid")
        && client.metadata.openid.id_token_alg().is_none()
        && !may_be_unsigned(&app.settings)
    {
        let why = "the client is registered for ID tokens without a signature, which this server does not give";
        return Err(refuse(request, OAuthError::new(ErrorCode::UnauthorizedClient, why)));
    }
    request.recall(app, arrival);
    request.made = Made { by: client.author, vouched: client.vouched };
    Ok(request)
}

/// What a client hears of a request object that is not read: where the object wants the answer, or what stands beside it, or
/// else nothing (a page).
fn not_opened(app: &App, client: &LiveClient, outside: &Parameters, refused: NotOpened) -> AuthorizationError {
    let NotOpened { error, says } = refused;
    for parameters in says.iter().chain([outside]) {
        if let Ok(redirect) = verified(app, client, parameters) {
            return AuthorizationError::Redirect { to: Box::new(way_back(redirect, parameters)), error };
        }
    }
    AuthorizationError::Page(error)
}

fn verified(app: &App, client: &LiveClient, parameters: &Parameters) -> Result<VerifiedRedirect, OAuthError> {
    let redirect = VerifiedRedirect::verify(&client.metadata, parameters.get("redirect_uri"))?;
    Ok(redirect.of_unvouched(pages::leaving::asks(app, client).then_some(client.id)))
}

fn refuse(request: AuthorizationRequest, error: OAuthError) -> AuthorizationError {
    AuthorizationError::Redirect { to: Box::new(request.redirect), error }
}

/// RFC 6749 3.1: the server MUST first verify the identity of the resource owner. The sign-in page stands in the place of
/// the answer, so that the request need not go through another URL, and comes back here.
async fn sign_in(
    app: &App,
    visit: &Visit,
    request: AuthorizationRequest,
    accounts: &[SignedIn],
) -> Result<Response, AuthorizationError> {
    if request.prompt.none {
        return Err(refuse(request, OAuthError::new(ErrorCode::LoginRequired, "the user must sign in")));
    }
    // A form posted from the client's site comes without our SameSite cookie: ask again, as a plain visit.
    if visit.posted && !request.prompt.login {
        return Ok(see_other(&request.to_path()));
    }
    // Who signs in has chosen. The page still proposes what the client hints at.
    let mut request = if request.prompt.select_account {
        AuthorizationRequest { prompt: request.account_chosen().prompt, ..request }
    } else {
        request
    };
    request.arrive(app, accounts);
    let next = request.to_path();
    let shown = pages::sign_in_page(app, &visit.headers, accounts.first(), &next).await;
    Ok(shown.unwrap_or_else(|error| error.into_response(app, &visit.headers, &visit.context)))
}

/// Whether the user is asked: unless they allowed all of it before, and may not have taken it back meanwhile.
fn needs_consent(app: &App, request: &AuthorizationRequest, session: &SignedIn) -> bool {
    let claims = request.openid.claims.beyond(&request.scope);
    let shown = counted(app, request);
    let asked = Consented { client: request.client_id, shown: shown.as_ref(), scope: &request.scope, claims: &claims };
    !counts_earlier_consent(request) || !is_fresh(app) || !app.live.has_consented(session.user_id, &asked, app.now())
}

/// RFC 8252 8.6: never for native clients, whose identity nobody can prove; for others when they are confidential, or
/// when only they can receive what is sent to an https address.
fn counts_earlier_consent(request: &AuthorizationRequest) -> bool {
    let provable = !request.client.is_public() || request.redirect.redirect_uri().starts_with("https://");
    provable && !request.client.is_native() && !request.prompt.consent
}

#[cfg(test)]
mod tests;
