//! Cookies: RFC 6265 and its successor draft (`SameSite`, the `__Host-` prefix).
//!
//! On https every name has the prefix `__Host-`, so that browsers take it only from this host, only over TLS and only for
//! the whole host. A server whose issuer has a path shares the host with others, who shall not be sent its cookies: theirs are for
//! the path, which that prefix does not allow, and have `__Secure-`. Plain http exists on loopback addresses only, where browsers
//! refuse both.

use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use crate::config::Issuer;

/// Longest value that is looked at, in bytes.
const VALUE_BYTES_MAX: usize = 4096;

/// The cookies of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Who is signed in: one value for each account, the current one first, with dots between them.
    Session,
    /// What clients' pages watch through our frame (OpenID Connect Session Management 3.2): the only one that scripts and
    /// frames see. It signs nobody in.
    State,
    /// Ties forms to a browser that is not signed in.
    Form,
    /// State of the demo's client between its requests.
    Demo,
}

impl Cookie {
    /// The name as the browser knows it.
    pub fn name(self, issuer: &Issuer) -> String {
        let name = match self {
            Self::Session => "grantlog",
            Self::State => "grantlog_state",
            Self::Form => "grantlog_form",
            Self::Demo => "grantlog_demo",
        };
        let prefix = match (issuer.is_https(), issuer.path()) {
            (true, "") => "__Host-",
            (true, _) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}{name}")
    }

    /// Its value in a request. One that is there twice is not believed: somebody else put one of them there.
    pub fn read(self, headers: &HeaderMap, issuer: &Issuer) -> Option<String> {
        let name = self.name(issuer);
        let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = pairs
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(held, value)| (held == name).then_some(value));
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() && value.len() <= VALUE_BYTES_MAX => Some(value.to_owned()),
            _ => None,
        }
    }

    /// `Set-Cookie` for it; `value` is made of the characters of base64url, dots and underscores. `None` for `life`
    /// keeps it until the browser is closed.
    pub fn set(self, value: &str, life: Option<Duration>, issuer: &Issuer) -> Option<HeaderValue> {
        let max_age = life.map(|life| format!("; Max-Age={}", life.as_secs())).unwrap_or_default();
        let secure = if issuer.is_https() { "; Secure" } else { "" };
        let name = self.name(issuer);
        let path = if issuer.path().is_empty() { "/" } else { issuer.path() };
        let seen_by = match (self, issuer.is_https()) {
            (Self::State, true) => "SameSite=None",
            // Browsers take None only with Secure.
            (Self::State, false) => "SameSite=Lax",
            (Self::Session | Self::Form | Self::Demo, _) => "HttpOnly; SameSite=Lax",
        };
        HeaderValue::try_from(format!("{name}={value}; Path={path}; {seen_by}{max_age}{secure}")).ok()
    }

    /// `Set-Cookie` that takes it away.
    pub fn clear(self, issuer: &Issuer) -> Option<HeaderValue> {
        self.set("", Some(Duration::ZERO), issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (COOKIE, HeaderValue::from_static(value))).collect()
    }

    const HTTPS: &str = "https://id.example";
    const HTTP: &str = "http://127.0.0.1:5000";

    fn issuer(text: &str) -> Issuer {
        text.parse().expect("an issuer")
    }

    fn set(text: &str) -> String {
        let value = Cookie::Session.set("gln_x", Some(Duration::from_secs(60)), &issuer(text)).expect("a header");
        value.to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn on_https_the_cookie_is_bound_to_the_host() {
        assert_eq!(set(HTTPS), "__Host-grantlog=gln_x; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
    }

    #[test]
    fn on_loopback_http_it_has_no_prefix_and_is_not_secure() {
        assert_eq!(set(HTTP), "grantlog=gln_x; Path=/; HttpOnly; SameSite=Lax; Max-Age=60");
    }

    #[test]
    fn under_a_path_the_cookie_is_for_the_path() {
        let secure = "__Secure-grantlog=gln_x; Path=/auth; HttpOnly; SameSite=Lax; Max-Age=60; Secure";
        assert_eq!(set("https://id.example/auth"), secure);
        assert_eq!(set("http://127.0.0.1:5000/auth"), "grantlog=gln_x; Path=/auth; HttpOnly; SameSite=Lax; Max-Age=60");
    }

    #[test]
    fn only_the_state_is_seen_by_scripts_and_frames() {
        let set = |cookie: Cookie| {
            cookie.set("x", None, &issuer(HTTPS)).expect("a header").to_str().expect("ASCII").to_owned()
        };
        assert_eq!(set(Cookie::State), "__Host-grantlog_state=x; Path=/; SameSite=None; Secure");
        for cookie in [Cookie::Session, Cookie::Form, Cookie::Demo] {
            assert!(set(cookie).contains("; HttpOnly; SameSite=Lax"), "{cookie:?}");
        }
    }

    #[test]
    fn no_cookie_is_for_a_domain() {
        for issuer in [issuer(HTTPS), issuer(HTTP), issuer("https://id.example/auth")] {
            for cookie in [Cookie::Session, Cookie::State, Cookie::Form, Cookie::Demo] {
                let set = cookie.set("x", None, &issuer).expect("a header");
                assert!(!set.to_str().expect("ASCII").contains("Domain"));
            }
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers = headers(&["a=b; grantlog=gln_x;c=d", "grantlog_form=y"]);
        assert_eq!(Cookie::Session.read(&headers, &issuer(HTTP)).as_deref(), Some("gln_x"));
        assert_eq!(Cookie::Form.read(&headers, &issuer(HTTP)).as_deref(), Some("y"));
        assert_eq!(Cookie::Session.read(&headers, &issuer(HTTPS)), None);
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_not_believed() {
        assert_eq!(Cookie::Session.read(&headers(&["grantlog=a; grantlog=b"]), &issuer(HTTP)), None);
        assert_eq!(Cookie::Session.read(&headers(&["grantlog=a", "grantlog=b"]), &issuer(HTTP)), None);
        assert_eq!(Cookie::Session.read(&headers(&["grantlog="]), &issuer(HTTP)), None);
    }
}
