//! Who reads what the server says of itself: `/metrics`, and the checks behind `/health/ready`.
//!
//! On a listener of its own (`operations.listen`), or to who shows `operations.token`, or else to programs on this machine
//! that no proxy stands before. Everybody else hears from `/health/live` and `/health/ready` whether, and not why.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::StatusCode;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, VIA,
    WWW_AUTHENTICATE,
};
use metrics_exporter_prometheus::PrometheusHandle;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::hosts::is_this_machine;
use super::request_id::{RequestContext, request_context};
use super::{health, metrics};
use crate::app::{App, with};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Where clients and browsers come.
    Main,
    /// `operations.listen`.
    Own,
}

/// Why a caller does not hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is told on the listener of its own only.
    Elsewhere,
    /// RFC 6750 3: a token is wanted, and was not shown.
    NoToken,
    /// Not a program on this machine, or not only one.
    NotLocal,
}

/// `/health/live`, `/health/ready` and `/metrics`.
pub fn routes(app: &App, handle: PrometheusHandle, listener: Listener) -> BoxedFilter<(Response,)> {
    health::routes(app, listener).or(metrics::route(app, handle, listener)).unify().boxed()
}

/// Whether the caller may read it.
pub(super) fn may_read(
    app: &App,
    listener: Listener,
) -> impl Filter<Extract = (Result<(), Refusal>,), Error = std::convert::Infallible> + Clone + use<> {
    request_context()
        .and(warp::header::headers_cloned())
        .and(with(app))
        .map(move |context: RequestContext, headers: HeaderMap, app: App| check(&app, listener, &context, &headers))
}

fn check(app: &App, listener: Listener, context: &RequestContext, headers: &HeaderMap) -> Result<(), Refusal> {
    let settings = &app.settings.operations;
    if listener == Listener::Main && settings.listen.is_some() {
        return Err(Refusal::Elsewhere);
    }
    if let Some(token) = &settings.token {
        return if shows(headers, token.expose()) { Ok(()) } else { Err(Refusal::NoToken) };
    }
    let is_local = || !app.settings.http.trusted_proxies.contains(context.peer) && is_local(context, headers);
    if listener == Listener::Own || is_local() { Ok(()) } else { Err(Refusal::NotLocal) }
}

/// RFC 6750 2.1, compared in constant time.
fn shows(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    shown.is_some_and(|(scheme, shown)| {
        scheme.eq_ignore_ascii_case("bearer") && verify_slices_are_equal(shown.as_bytes(), token.as_bytes()).is_ok()
    })
}

/// Headers of proxies, by which one that is not trusted gives itself away.
const FORWARDING: [HeaderName; 5] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// A program on this machine that calls by a name of this machine: not a page that a browser here has from elsewhere, under a
/// name that somebody made mean this machine.
fn is_local(context: &RequestContext, headers: &HeaderMap) -> bool {
    let calls_here = headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(is_this_machine));
    context.peer.to_canonical().is_loopback() && calls_here && !FORWARDING.iter().any(|name| headers.contains_key(name))
}

/// The answer to who may not read it.
pub(super) fn refused(refusal: Refusal) -> Response {
    let (status, text) = match refusal {
        Refusal::Elsewhere => (StatusCode::NOT_FOUND, "There is nothing here.\n"),
        Refusal::NoToken => (StatusCode::UNAUTHORIZED, "Only with the token of the setting operations.token.\n"),
        Refusal::NotLocal => (
            StatusCode::FORBIDDEN,
            "Only for programs on this machine. Others: see the settings operations.listen and operations.token.\n",
        ),
    };
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refusal == Refusal::NoToken {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(peer: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let context = RequestContext { peer: peer.parse().expect("an address"), ..RequestContext::unknown() };
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        is_local(&context, &headers)
    }

    #[test]
    fn a_program_on_this_machine_is_local() {
        for (peer, host) in [("127.0.0.1", "127.0.0.1:5000"), ("::1", "[::1]:5000"), ("::ffff:127.0.0.1", "localhost")]
        {
            assert!(local(peer, &[("host", host)]), "{peer} {host}");
        }
        assert!(local("127.0.0.1", &[]), "HTTP/1.0");
    }

    #[test]
    fn whoever_comes_from_elsewhere_or_by_another_name_is_not() {
        for peer in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert!(!local(peer, &[("host", "127.0.0.1:5000")]), "{peer}");
        }
        for host in ["evil.example:5000", "127.0.0.1.evil.example", "", "192.0.2.1", "localhost.evil.example"] {
            assert!(!local("127.0.0.1", &[("host", host)]), "{host}");
        }
        for name in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"] {
            assert!(!local("127.0.0.1", &[("host", "localhost"), (name, "127.0.0.1")]), "{name}");
        }
    }

    #[test]
    fn only_the_whole_token_is_shown() {
        let shown = |text: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))]);
            shows(&headers, "secret")
        };
        assert!(shown("Bearer secret") && shown("bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer ", ""] {
            assert!(!shown(wrong), "{wrong}");
        }
    }
}
