//! What a browser sees when there is no page to show: the error page, or the way to the sign-in page.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use askama::Template;
use grantlog_projections::DbError;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::next::Next;
use super::visit::{bare_chrome, seems_signed_in};
use crate::app::App;
use crate::http::form::FormError;
use crate::http::request_id::RequestContext;
use crate::oauth::error::OAuthError;
use crate::secrets::password::PasswordError;
use crate::store::vault::VaultError;
use crate::store::{EndingError, ExecuteError, StoreError};

/// What a form says whose password was not looked at.
pub(super) const TOO_MANY: &str = "There were too many attempts from your address, or too many at once. This one was not \
                                   looked at; please try again later.";

/// Such a page: RFC 6585 4.
pub(super) fn too_many(mut page: Response, retry_after: Duration) -> Response {
    *page.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    page.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
    page
}

/// Why a page is not shown.
#[derive(Debug)]
pub enum PageError {
    /// Somebody must sign in first.
    SignIn(Next),
    /// What was sent cannot be read.
    Form(FormError),
    /// The form was not shown in this browser, or before somebody signed in or out. The page that has it, and whether the
    /// browser sent a cookie.
    ForeignForm {
        page: Next,
        cookie: bool,
    },
    NotFound,
    /// With what the `Allow` header says.
    Method(&'static str),
    /// The request makes no sense here.
    Request(Cow<'static, str>),
    /// The operator does not want it, or an operator did what only an operator undoes.
    Denied(Cow<'static, str>),
    /// Too much of this lately; may be tried again after so many seconds.
    TooMany(u32),
    /// The database is away or too much is waiting. For the log.
    Unavailable(String),
    /// Anything else. For the log.
    Fault(String),
}

#[derive(Template)]
#[template(path = "error.html")]
pub(super) struct ErrorPage {
    pub chrome: super::chrome::Chrome,
    pub status: u16,
    pub title: &'static str,
    pub code: &'static str,
    pub description: String,
    pub request_id: Option<String>,
    /// The page that has the form.
    pub load_again: Option<String>,
}

impl PageError {
    /// A command that was not executed; `refused` says what its refusals mean.
    pub fn not_executed<E: std::error::Error>(error: ExecuteError<E>, refused: impl FnOnce(E) -> Self) -> Self {
        match error {
            ExecuteError::Refused(refusal) => refused(refusal),
            ExecuteError::Conflict | ExecuteError::Busy => Self::Unavailable(error.to_string()),
            ExecuteError::Damaged(_) => Self::Fault(error.to_string()),
            ExecuteError::Unavailable(reason) => Self::Unavailable(reason),
            ExecuteError::Fault(fault) => Self::Fault(fault),
        }
    }

    /// The answer; what is for the log goes there.
    pub fn into_response(self, app: &App, headers: &HeaderMap, context: &RequestContext) -> Response {
        if let Self::SignIn(next) = &self {
            return bare_chrome(app, false).redirect(&next.login());
        }
        self.log(context.id.as_str());
        let (status, title, code, description) = self.words();
        let load_again = match &self {
            Self::ForeignForm { page, .. } => Some(page.as_str().to_owned()),
            _ => None,
        };
        let said = Said { status, title, code, description, load_again };
        let mut response = respond(app, headers, context, said);
        if let Self::Method(allow) = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::TooMany(seconds) = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn log(&self, request_id: &str) {
        match self {
            Self::Unavailable(reason) => tracing::warn!(request_id, error = %reason, "the store is not available"),
            Self::Fault(fault) => tracing::error!(request_id, error = %fault, "a page failed"),
            _ => {}
        }
    }

    fn words(&self) -> (StatusCode, &'static str, &'static str, Cow<'static, str>) {
        match self {
            Self::Form(error) => {
                let status = OAuthError::from(*error).status();
                (status, "This request cannot be read", "invalid_request", Cow::Owned(capitalized(error)))
            }
            Self::Request(why) => {
                (StatusCode::BAD_REQUEST, "This request makes no sense here", "invalid_request", why.clone())
            }
            Self::Denied(why) => (StatusCode::FORBIDDEN, "This is not for you to do", "access_denied", why.clone()),
            Self::TooMany(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Not so often",
                "temporarily_unavailable",
                "You have made or changed many clients lately. Please try again later.".into(),
            ),
            Self::ForeignForm { cookie: false, .. } => (
                StatusCode::FORBIDDEN,
                "Your browser sent no cookie",
                "invalid_form",
                "Without it nobody can tell whose form this is, so nothing was done. Either your browser keeps no cookies \
                 from this site: please allow them. Or the page was open for too long."
                    .into(),
            ),
            Self::ForeignForm { .. } => (
                StatusCode::FORBIDDEN,
                "This form is out of date",
                "invalid_form",
                "Somebody signed in or out since it was shown, so nothing was done. Load the page again, and send it once \
                 more."
                    .into(),
            ),
            Self::SignIn(_) | Self::NotFound => (
                StatusCode::NOT_FOUND,
                "There is nothing here",
                "not_found",
                "The address is wrong, or what was here is not yours to see.".into(),
            ),
            Self::Method(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This cannot be done here",
                "method_not_allowed",
                "The page exists, but not for this kind of request.".into(),
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Not at the moment",
                "temporarily_unavailable",
                "The server cannot reach what it needs. Please try again in a few seconds.".into(),
            ),
            Self::Fault(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on our side",
                "server_error",
                "It has been written down under the number below.".into(),
            ),
        }
    }
}

/// The error page of the authorization endpoint (RFC 6749 4.1.2.1): for the user, who is not sent anywhere.
pub fn error_page(app: &App, headers: &HeaderMap, context: &RequestContext, error: &OAuthError) -> Response {
    let title = if error.status().is_server_error() {
        "Not at the moment"
    } else {
        "The application asked for something that cannot be"
    };
    let said = Said {
        status: error.status(),
        title,
        code: error.code().as_str(),
        description: Cow::Owned(capitalized(error.description())),
        load_again: None,
    };
    respond(app, headers, context, said)
}

/// The error page where the request is out of reach; the log names it by the span that it is written in.
pub(super) fn error_without_request(app: &App, error: PageError) -> Response {
    error.log("-");
    let (status, title, code, description) = error.words();
    let chrome = bare_chrome(app, true);
    let description = description.into_owned();
    let view = ErrorPage {
        chrome: chrome.clone(),
        status: status.as_u16(),
        title,
        code,
        description,
        request_id: None,
        load_again: None,
    };
    chrome.page(status, &view)
}

struct Said {
    status: StatusCode,
    title: &'static str,
    code: &'static str,
    description: Cow<'static, str>,
    load_again: Option<String>,
}

/// A page for browsers; for programs, which do not ask for HTML, the same as JSON.
fn respond(app: &App, headers: &HeaderMap, context: &RequestContext, said: Said) -> Response {
    let chrome = bare_chrome(app, seems_signed_in(app, headers));
    let wants_html = headers.get(ACCEPT).is_none_or(|accept| {
        let accept = accept.to_str().unwrap_or_default();
        accept.contains("text/html") || accept.contains("*/*")
    });
    if !wants_html {
        let body = serde_json::json!({ "error": said.code, "error_description": said.description }).to_string();
        let mut response = chrome.plain(said.status, body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    chrome.clone().page(
        said.status,
        &ErrorPage {
            chrome,
            status: said.status.as_u16(),
            title: said.title,
            code: said.code,
            description: said.description.into_owned(),
            request_id: Some(context.id.as_str().to_owned()),
            load_again: said.load_again,
        },
    )
}

fn capitalized(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

impl From<FormError> for PageError {
    fn from(error: FormError) -> Self {
        Self::Form(error)
    }
}

impl From<DbError> for PageError {
    fn from(error: DbError) -> Self {
        if error.is_unavailable() { Self::Unavailable(error.to_string()) } else { Self::Fault(error.to_string()) }
    }
}

impl From<EndingError> for PageError {
    fn from(error: EndingError) -> Self {
        match error {
            EndingError::Database(error) => error.into(),
            EndingError::Grant(_, error) => Self::not_executed(error, |refusal| Self::Fault(refusal.to_string())),
            EndingError::Session(_, error) => Self::not_executed(error, |refusal| Self::Fault(refusal.to_string())),
            EndingError::Newer { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            other => Self::Fault(other.to_string()),
        }
    }
}

impl From<VaultError> for PageError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Database(error) => error.into(),
            VaultError::Password(PasswordError::Busy | PasswordError::TooMany) => Self::Unavailable(error.to_string()),
            other => Self::Fault(other.to_string()),
        }
    }
}
