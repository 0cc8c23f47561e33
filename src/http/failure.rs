//! Why a request has no answer of its handler, and how people hear of it. Programs hear of it as OAuth 2.0 says
//! (`oauth::error`).

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use warp::reply::Response;

/// Why a request has no answer of its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// More than `http.body_bytes` are announced.
    BodyTooLarge,
    /// More than `http.headers`.
    TooManyHeaders,
    /// For a path that is not below the one of the issuer.
    Elsewhere,
    /// Not for this server, which is one of this machine alone.
    ForeignHost,
    /// The handler panicked.
    Panicked,
    /// It took longer than `http.request_timeout_seconds`.
    TooSlow,
}

impl Failure {
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Elsewhere => StatusCode::NOT_FOUND,
            // RFC 9110 15.5.20.
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// In a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "The request body is too large.",
            Self::TooManyHeaders => "There are too many headers.",
            Self::Elsewhere => "There is nothing here: everything of this server is below the path of its issuer.",
            Self::ForeignHost => "This server is for this machine alone: ask for it as localhost.",
            Self::Panicked => "Something went wrong on our side.",
            Self::TooSlow => "The answer took too long.",
        }
    }
}

/// The answer for people.
#[must_use]
pub fn plain(failure: Failure) -> Response {
    let mut response = Response::new(format!("{}\n", failure.text()).into());
    *response.status_mut() = failure.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
