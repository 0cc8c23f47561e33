//! An issuer with a path: what comes in loses it and what goes out gets it, so that nothing in between knows of it.
//!
//! - Everything is below the path (`/auth/oauth/token`), and the metadata of OpenID Connect with it (Discovery 4.1).
//! - RFC 8414 3.1 puts its part before the path (`/.well-known/oauth-authorization-server/auth`), and clients look for the other
//!   document there too (RFC 8414 5).
//! - `/health/…` and `/metrics` are asked by machines that do not come through the proxy, so they are at both places.
//!
//! Not here: links in pages (`Chrome::base`), the path of cookies, and whole URLs, which are made from the issuer.

use http::header::{HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};

use crate::config::Issuer;

/// Documents that are named before the path of an issuer.
const INSERTED: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// What is there without the path as well.
const OPERATIONS: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];

/// The path below which a listener serves; empty for most.
#[derive(Clone, Debug, Default)]
pub(super) struct Mount(String);

impl Mount {
    pub(super) fn of(issuer: &Issuer) -> Self {
        Self(issuer.path().to_owned())
    }

    /// Makes of a request one for the same server without the path. False when it is for no path of this server.
    pub(super) fn enter<T>(&self, request: &mut Request<T>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some(path) = self.inside(request.uri().path()) else { return false };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let Ok(inside) = PathAndQuery::try_from(format!("{path}{query}")) else { return false };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(inside);
        Uri::from_parts(parts).map(|uri| *request.uri_mut() = uri).is_ok()
    }

    fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(self.0.as_str()) {
            Some("") => return Some("/"),
            Some(rest) if rest.starts_with('/') => return Some(rest),
            _ => {}
        }
        let inserted = path.strip_suffix(self.0.as_str()).filter(|document| INSERTED.contains(document));
        inserted.or_else(|| OPERATIONS.contains(&path).then_some(path))
    }

    /// Sends a browser that is sent to a path of this server to the right one.
    pub(super) fn leave(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let own = headers.get(LOCATION).and_then(|to| to.to_str().ok()).filter(|to| to.starts_with('/'));
        if let Some(location) = own.and_then(|to| HeaderValue::try_from(format!("{}{to}", self.0)).ok()) {
            headers.insert(LOCATION, location);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(issuer: &str) -> Mount {
        Mount::of(&issuer.parse().expect("an issuer"))
    }

    fn entered(issuer: &str, target: &str) -> Option<String> {
        let mut request = Request::builder().uri(target).body(()).expect("a request");
        mount(issuer).enter(&mut request).then(|| request.uri().to_string())
    }

    #[test]
    fn everything_is_below_the_path_of_the_issuer() {
        let inside = |target: &str| entered("https://id.example/a/b", target);
        for (target, expected) in [
            ("/a/b", "/"),
            ("/a/b/", "/"),
            ("/a/b/oauth/token", "/oauth/token"),
            ("/a/b/login?next=%2Fa%2Fb", "/login?next=%2Fa%2Fb"),
            ("/a/b/.well-known/openid-configuration", "/.well-known/openid-configuration"),
            ("/.well-known/openid-configuration/a/b", "/.well-known/openid-configuration"),
            ("/.well-known/oauth-authorization-server/a/b", "/.well-known/oauth-authorization-server"),
            ("/health/ready", "/health/ready"),
            ("/a/b/metrics", "/metrics"),
            ("http://id.example/a/b/oauth/token", "http://id.example/oauth/token"),
        ] {
            assert_eq!(inside(target).as_deref(), Some(expected), "{target}");
        }
        for other in
            ["/", "/oauth/token", "/a/bc", "/a", "/login", "/.well-known/openid-configuration", "/x/a/b", "/a/b2/"]
        {
            assert_eq!(inside(other), None, "{other}");
        }
        assert_eq!(entered("https://id.example", "/oauth/token?a").as_deref(), Some("/oauth/token?a"));
    }

    #[test]
    fn only_own_paths_get_the_path_of_the_issuer() {
        let left = |issuer: &str, to: &'static str| {
            let mut headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(to))]);
            mount(issuer).leave(&mut headers);
            headers[LOCATION].to_str().expect("ASCII").to_owned()
        };
        assert_eq!(left("https://id.example/auth", "/login?next=%2F"), "/auth/login?next=%2F");
        assert_eq!(left("https://id.example/auth", "https://app.example/cb"), "https://app.example/cb");
        assert_eq!(left("https://id.example", "/login"), "/login");
    }
}
