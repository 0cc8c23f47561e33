//! The logout endpoint: OpenID Connect RP-Initiated Logout 1.0, 2 and 3.
//!
//! Who shows an ID token of this very session is signed out at once; for anybody else the user is asked (2), because any
//! site could send them here. Where nobody is signed in, an ID token ends the session that it is of. Only a
//! `post_logout_redirect_uri` that the client registered is gone to.

use std::sync::Arc;

use bytes::Buf;
use form_urlencoded::Serializer;
use futures::Stream;
use grantlog_projections::live::{LiveClient, LiveSession};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::hint::{self, BadHint, Hint};
use super::sid::sid;
use crate::app::{App, with};
use crate::http::form::{self, Encodings, FormError, FormLimits, Parameters, raw_query};
use crate::http::request_id::{RequestContext, request_context};
use crate::http::security_headers::lead_to_clients;
use crate::oauth::authorization_request::STATE_BYTES_MAX;
use crate::oauth::authorization_response::see_other;
use crate::oauth::posted::limits;
use crate::pages::failure::PageError;
use crate::pages::leaving;
use crate::pages::sign_out::{self, Asking, Ended, Onward};
use crate::pages::visit::{SignedIn, Visit, accounts};
use crate::standing;

const PATH: &str = "/oauth/logout";

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    let limits = limits(app);
    warp::method()
        .and(warp::header::headers_cloned())
        .and(request_context())
        .and(raw_query())
        .and(warp::body::stream())
        .then(move |method: Method, headers: HeaderMap, context: RequestContext, query: String, body| async move {
            let posted = method == Method::POST;
            let parameters = parameters(posted, &headers, &query, body, limits).await;
            (posted, headers, context, parameters)
        })
        .and(with(app))
        .then(async |(posted, headers, context, parameters): (bool, HeaderMap, RequestContext, _), app: App| {
            let answer = async {
                let accounts = accounts(&app, &headers).await?;
                let (headers, context) = (headers.clone(), context.clone());
                let visit = Visit {
                    app: app.clone(),
                    context,
                    headers,
                    target: PATH.to_owned(),
                    parameters: parameters?,
                    accounts,
                };
                logout(&visit, posted).await
            };
            let answer = answer.await;
            let mut response = answer.unwrap_or_else(|error: PageError| error.into_response(&app, &headers, &context));
            lead_to_clients(response.headers_mut());
            response
        })
        .boxed()
}

/// GET with a query, or POST with a form (2).
async fn parameters<B: Buf>(
    posted: bool,
    headers: &HeaderMap,
    query: &str,
    body: impl Stream<Item = Result<B, warp::Error>>,
    limits: FormLimits,
) -> Result<Parameters, FormError> {
    if posted {
        return form::read(headers.get(CONTENT_TYPE), body, Encodings::UrlEncoded, limits).await;
    }
    Parameters::parse(query.as_bytes(), limits.parameters)
}

/// A logout request that was checked.
struct LogoutRequest {
    hint: Option<Hint>,
    client: Option<Arc<LiveClient>>,
    /// With `state`.
    goes_to: Option<String>,
    /// As it was sent.
    fields: Vec<(&'static str, String)>,
}

async fn logout(visit: &Visit, posted: bool) -> Result<Response, PageError> {
    let request = check(&visit.app, &visit.parameters).await?;
    if visit.accounts.is_empty() {
        // A form posted from the client's site comes without our SameSite cookie: ask again, as a plain visit.
        if posted && visit.parameters.get("decision").is_none() {
            return Ok(see_other(&format!("{PATH}?{}", request.to_query())));
        }
        let ended = request.session_without_cookie(&visit.app)?;
        let client = request.client.as_ref().map(|client| client.id);
        // Whose session it was says nothing of who sits there: the link may be anybody's.
        return sign_out::signed_out(visit, ended.as_slice(), client, request.onward(visit, &[])).await;
    }
    let decides = posted && visit.parameters.get("decision").is_some();
    let ended = if decides && visit.is_own_form() {
        sign_out::chosen(visit)?
    } else if let Some(account) = request.account(visit).filter(|_| !decides) {
        vec![(account.user_id, account.session_id)]
    } else {
        let client_name = request.client.as_ref().map(|client| client.metadata.client_name.as_str());
        let (fields, goes_to) = (request.fields, request.goes_to.as_deref());
        return sign_out::ask(visit, Asking { client_name, action: PATH, fields, goes_to, out_of_date: decides }).await;
    };
    sign_out::signed_out(visit, &ended, None, request.onward(visit, &ended)).await
}

/// The checks that do not depend on who is signed in. Whatever fails is told on a page, and nobody is redirected (3).
async fn check(app: &App, parameters: &Parameters) -> Result<LogoutRequest, PageError> {
    let refused = |why: &'static str| PageError::Request(why.into());
    let hint = match parameters.get("id_token_hint") {
        None => None,
        Some(token) => Some(hint::read(app, token).await.map_err(|error| match error {
            BadHint::NotOurs => refused("The application sent an id_token_hint that is not from here."),
            BadHint::Unknown(error) => error.into(),
        })?),
    };
    let client_id = match (parameters.get("client_id"), &hint) {
        (None, hint) => hint.as_ref().map(|hint| hint.client_id),
        (Some(text), hint) => {
            let client_id = text.parse().ok().filter(|id| hint.as_ref().is_none_or(|hint| hint.client_id == *id));
            Some(client_id.ok_or_else(|| refused("The client_id is not the one of the id_token_hint."))?)
        }
    };
    let client = match client_id {
        Some(client_id) => standing::client(app, client_id).await?.filter(|client| client.is_enabled()),
        None => None,
    };
    let state = parameters.get("state");
    if state.is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(refused("The state is too long."));
    }
    let goes_to = match parameters.get("post_logout_redirect_uri") {
        None => None,
        Some(uri) => {
            let metadata = client.as_ref().map(|client| &client.metadata);
            let registered = metadata.is_some_and(|metadata| {
                metadata.openid.post_logout_redirect_uris.iter().any(|held| held.matches(uri, metadata.is_native()))
            });
            if !registered {
                return Err(refused(match (&client, client_id) {
                    (Some(_), _) => "The post_logout_redirect_uri is not one that the application registered.",
                    (None, Some(_)) => "The application is not known here any more, so nobody is sent back to it.",
                    // 2, 3: with neither nobody says whose URI it is.
                    (None, None) => {
                        "The application sent a post_logout_redirect_uri, but neither an id_token_hint nor a client_id \
                         that would say which application it is."
                    }
                }));
            }
            Some(with_state(uri, state))
        }
    };
    let names = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"];
    let fields = names.into_iter().filter_map(|name| Some((name, parameters.get(name)?.to_owned()))).collect();
    Ok(LogoutRequest { hint, client, goes_to, fields })
}

/// RP-Initiated Logout 3: `state` goes back as it came.
fn with_state(uri: &str, state: Option<&str>) -> String {
    let Some(state) = state else { return uri.to_owned() };
    let query = Serializer::new(String::new()).append_pair("state", state).finish();
    format!("{uri}{}{query}", if uri.contains('?') { '&' } else { '?' })
}

impl LogoutRequest {
    /// Of those who are signed in here, the one whose session the hint is an ID token of.
    fn account<'a>(&self, visit: &'a Visit) -> Option<&'a SignedIn> {
        let hint = self.hint.as_ref()?;
        visit.accounts.iter().find(|account| {
            let known_by = sid(&visit.app.secrets, account.session_id, hint.client_id);
            hint.sid.as_ref() == Some(&known_by) && hint.is_of(&visit.app, account.user_id)
        })
    }

    /// OpenID Connect RP-Initiated Logout 2: the session that the hint is an ID token of, where nobody is signed in. Programs
    /// of clients end sessions like this, which have no cookie. Whoever has an ID token that the client got in a session
    /// that lives may end it, and nothing more.
    /// `None` where the client knows its users by pairwise subjects, from which nobody finds the user.
    fn session_without_cookie(&self, app: &App) -> Result<Option<Ended>, PageError> {
        let (Some(hint), Some(client)) = (&self.hint, &self.client) else { return Ok(None) };
        if !standing::is_fresh(app) {
            return Err(PageError::Unavailable("which sessions there are".to_owned()));
        }
        let sessions = hint.sub.parse().map(|user_id| app.live.sessions_of(user_id)).unwrap_or_default();
        let named = |session: &Arc<LiveSession>| {
            app.now() < session.expires_at && hint.sid.as_ref() == Some(&sid(&app.secrets, session.id, client.id))
        };
        let found = sessions.into_iter().find(named).map(|session| (session.user_id, session.id));
        tracing::info!(client_id = %client.id, found = found.is_some(), "a client named a session without a cookie to end it");
        Ok(found)
    }

    /// Where the browser goes, and whether at once: to a client that somebody vouched for, or that one of those who sign out
    /// has been to.
    fn onward(&self, visit: &Visit, ended: &[Ended]) -> Option<Onward<'_>> {
        let (app, uri) = (&visit.app, self.goes_to.as_deref()?);
        let asks = self.client.as_ref().is_none_or(|client| {
            let knows = |(user_id, _): &Ended| leaving::knows(app, *user_id, client.id, uri);
            leaving::asks(app, client) && !ended.iter().any(knows)
        });
        Some(Onward { uri, asks })
    }

    fn to_query(&self) -> String {
        Serializer::new(String::new()).extend_pairs(&self.fields).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_added_to_a_query_that_is_there() {
        assert_eq!(with_state("https://a.example/out", None), "https://a.example/out");
        assert_eq!(with_state("https://a.example/out", Some("a b")), "https://a.example/out?state=a+b");
        assert_eq!(with_state("https://a.example/out?x=1", Some("&")), "https://a.example/out?x=1&state=%26");
    }
}
