//! What every page has around its content, and how a page becomes an answer.

use askama::Template;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use warp::reply::Response;

use super::assets;
use super::scripts::script_source;
use crate::http::security_headers;

/// The frame of a page: banner, navigation, and the token that its forms carry.
#[derive(Clone, Debug, Default)]
pub struct Chrome {
    /// What stands before the path of every link: the path of the issuer, or nothing.
    pub base: String,
    /// Says on every page that this is a demo.
    pub demo: bool,
    /// Users make clients here.
    pub makes_clients: bool,
    /// Somebody is signed in.
    pub signed_in: bool,
    /// Their name, when the page knows it.
    pub user: Option<String>,
    /// For the hidden field `csrf` of every form.
    pub csrf: String,
    /// The entry of the navigation that this page is.
    pub here: &'static str,
    /// Browsers reach this server over TLS.
    pub https: bool,
    /// The form that was sent was shown before something else happened; nothing was done.
    pub out_of_date: bool,
    /// `Set-Cookie` values that go with the page.
    pub cookies: Vec<HeaderValue>,
}

impl Chrome {
    /// Path of the style sheet.
    pub fn stylesheet(&self) -> String {
        format!("{}{}", self.base, assets::style().path)
    }

    /// Path of the logo.
    pub fn logo(&self) -> String {
        format!("{}{}", self.base, assets::logo().path)
    }

    /// The page as an answer, never cached.
    pub fn page(&self, status: StatusCode, template: &impl Template) -> Response {
        // Rendering fails only when a value cannot be formatted; ours are text and numbers.
        let (status, html) = match template.render() {
            Ok(html) => (status, html),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side.\n".to_owned()),
        };
        let mut response = Response::new(html.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        security_headers::page(headers, self.https);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        self.finished(response)
    }

    /// The page for who has signed out: it shows these addresses in frames, and may run that script. Where the addresses lead
    /// on to is held against the policy too (CSP Level 3, 4.1.2), and known to the clients only, so it names schemes.
    pub fn page_with_frames(&self, template: &impl Template, frames: &[String], script: Option<&str>) -> Response {
        let mut response = self.page(StatusCode::OK, template);
        let plain = frames.iter().any(|frame| frame.starts_with("http:"));
        let sources: &[&str] = match (frames.is_empty(), plain) {
            (true, _) => &[],
            (false, false) => &["https:"],
            (false, true) => &["https:", "http:"],
        };
        let policy = response.headers().get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
        let mut policy = policy.unwrap_or_default().to_owned();
        if !sources.is_empty() {
            policy.push_str(&format!("; frame-src {}", sources.join(" ")));
        }
        if let Some(script) = script {
            policy.push_str(&format!("; script-src {}", script_source(script)));
        }
        if let Ok(policy) = HeaderValue::try_from(policy) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// Sends the browser to `path` with a GET: one of this server, as if its issuer had no path, or an address elsewhere.
    pub fn redirect(&self, path: &str) -> Response {
        let mut response = self.plain(StatusCode::SEE_OTHER, String::new());
        if let Ok(location) = HeaderValue::try_from(path) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// An answer that is no page.
    pub fn plain(&self, status: StatusCode, body: String) -> Response {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        security_headers::page(response.headers_mut(), self.https);
        self.finished(response)
    }

    fn finished(&self, mut response: Response) -> Response {
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        for cookie in &self.cookies {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }
}
