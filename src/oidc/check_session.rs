//! Session management: OpenID Connect Session Management 1.0. The frame that pages of clients ask whether somebody has
//! signed in or out since, and the `session_state` that they ask with.
//!
//! The frame reads one cookie, which says nothing but whether it has changed. It is served to everybody alike and may be
//! framed by anyone, so it shows nothing and does nothing else.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use grantlog_domain::ClientId;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use url::Url;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::app::App;
use crate::http::security_headers::HSTS;
use crate::pages::scripts::{CHECK_SESSION, script_source};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// 3.2, 3.3: the OP iframe.
pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>Session</title><script>{CHECK_SESSION}</script>");
    let policy =
        format!("default-src 'none'; script-src {}; base-uri 'none'; form-action 'none'", script_source(CHECK_SESSION));
    let (page, https) = (Bytes::from(page), app.settings.issuer.is_https());
    warp::any()
        .map(move || {
            let mut response = Response::new(page.clone().into());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            // A hash and fixed words: always a header value.
            if let Ok(policy) = HeaderValue::try_from(policy.as_str()) {
                headers.insert(CONTENT_SECURITY_POLICY, policy);
            }
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            // For pages that load nothing from elsewhere unless it agrees.
            headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
            if https {
                headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
            }
            response
        })
        .boxed()
}

/// `session_state` of an authentication response (2, 3.2): what the frame computes again from the client, the origin of the
/// page that asks, the browser's state and the salt. `None` for a redirect URI that no page has.
#[must_use]
pub fn session_state(client_id: ClientId, redirect_uri: &str, browser_state: &str, salt: &str) -> Option<String> {
    let origin = Url::parse(redirect_uri).ok().map(|url| url.origin()).filter(url::Origin::is_tuple)?;
    let text = format!("{client_id} {} {browser_state} {salt}", origin.ascii_serialization());
    let hash = digest(&SHA256, text.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{hex}.{salt}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_state_is_of_one_client_origin_and_browser() {
        let of = |client, uri: &str, browser: &str| session_state(ClientId(Uuid::from_u128(client)), uri, browser, "s");
        let state = of(1, "https://app.example/cb", "b").expect("a state");
        assert_eq!(of(1, "https://app.example/other?x", "b").as_ref(), Some(&state), "the origin only");
        for other in [
            of(2, "https://app.example/cb", "b"),
            of(1, "https://app.example:444/cb", "b"),
            of(1, "https://app.example/cb", "c"),
        ] {
            assert_ne!(other.as_ref(), Some(&state));
        }
        assert!(state.ends_with(".s") && state.len() == 66, "{state}");
        assert_eq!(of(1, "com.example.app:/cb", "b"), None);
    }
}
