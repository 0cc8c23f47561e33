//! Redirection endpoints: RFC 6749 3.1.2, RFC 8252 7, RFC 9700 2.1.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::uri::{self, URI_BYTES_MAX, UriError, is_loopback};

/// A registered redirect URI, kept exactly as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    #[error(
        "a redirect URI must be an absolute URI (RFC 3986) of at most {URI_BYTES_MAX} characters, spelled as browsers spell it"
    )]
    Spelling,
    #[error("a redirect URI must not have a fragment")]
    Fragment,
    #[error("a redirect URI must not carry a user name or password")]
    Credentials,
    #[error("a redirect URI must use https; http is for loopback addresses only")]
    PlainHttp,
    #[error("only a native client may use a private-use scheme, and its name must be a reversed domain name")]
    Scheme,
}

impl RedirectUri {
    /// Checks a URI for registration. `native` clients may use private-use schemes (RFC 8252 7.1).
    pub fn register(text: &str, native: bool) -> Result<Self, RedirectUriError> {
        let url = uri::parse(text).map_err(|error| match error {
            UriError::Spelling => RedirectUriError::Spelling,
            UriError::Credentials => RedirectUriError::Credentials,
        })?;
        // RFC 6749 3.1.2: the endpoint URI MUST NOT include a fragment component.
        if url.fragment().is_some() {
            return Err(RedirectUriError::Fragment);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(RedirectUriError::PlainHttp),
            // RFC 8252 7.1: a private-use scheme is a reversed domain name; this keeps out javascript: and data:.
            scheme if native && scheme.contains('.') => {}
            _ => return Err(RedirectUriError::Scheme),
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the URI of a request is this one: exact text (RFC 9700 2.1), except for the port of a loopback address
    /// of a native client (RFC 8252 7.3).
    #[must_use]
    pub fn matches(&self, presented: &str, native: bool) -> bool {
        self.0 == presented || (native && same_but_for_loopback_port(&self.0, presented))
    }
}

/// RFC 8252 7.3 names the literal addresses; 8.3 advises against `localhost`, whose port therefore stays exact.
fn same_but_for_loopback_port(registered: &str, presented: &str) -> bool {
    ["http://127.0.0.1", "http://[::1]"].into_iter().any(|origin| {
        match (registered.strip_prefix(origin), presented.strip_prefix(origin)) {
            (Some(registered), Some(presented)) => match (after_port(registered), after_port(presented)) {
                (Some(left), Some(right)) => left == right,
                _ => false,
            },
            _ => false,
        }
    })
}

/// The part behind an optional `:port`; `None` when what follows the host is neither.
fn after_port(rest: &str) -> Option<&str> {
    let rest = match rest.strip_prefix(':') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest[..digits].parse::<u16>().ok()?;
            &rest[digits..]
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_client_registers_https_and_loopback_http() {
        for uri in ["https://app.example/cb?x=1", "http://127.0.0.1:8080/cb", "http://localhost/cb", "http://[::1]/"] {
            assert!(RedirectUri::register(uri, false).is_ok(), "{uri}");
        }
    }

    #[test]
    fn unsafe_uris_are_refused() {
        for (uri, why) in [
            ("http://app.example/cb", RedirectUriError::PlainHttp),
            ("https://app.example/cb#x", RedirectUriError::Fragment),
            ("https://app.example/cb#", RedirectUriError::Fragment),
            ("https://user@app.example/cb", RedirectUriError::Credentials),
            ("javascript:alert(1)", RedirectUriError::Scheme),
            ("data:text/html,x", RedirectUriError::Scheme),
            ("com.example.app:/cb", RedirectUriError::Scheme),
            ("/cb", RedirectUriError::Spelling),
            ("https://app.example/\0", RedirectUriError::Spelling),
            ("https://app.example\\@evil.example/", RedirectUriError::Spelling),
            ("https://app.example/a/../cb", RedirectUriError::Spelling),
            ("http://127.1/cb", RedirectUriError::Spelling),
        ] {
            assert_eq!(RedirectUri::register(uri, false), Err(why), "{uri}");
        }
        assert!(RedirectUri::register("com.example.app:/cb", true).is_ok());
        assert_eq!(RedirectUri::register("javascript:alert(1)", true), Err(RedirectUriError::Scheme));
    }

    #[test]
    fn only_the_exact_text_matches() {
        let uri = RedirectUri::register("https://app.example/cb", false).unwrap();
        assert!(uri.matches("https://app.example/cb", false));
        for other in [
            "https://app.example/cb/",
            "https://app.example/CB",
            "https://app.example/cb?x",
            "https://app.example:443/cb",
        ] {
            assert!(!uri.matches(other, false), "{other}");
            assert!(!uri.matches(other, true), "{other}");
        }
    }

    #[test]
    fn a_native_client_may_choose_its_loopback_port() {
        let uri = RedirectUri::register("http://127.0.0.1/cb", true).unwrap();
        assert!(uri.matches("http://127.0.0.1:51004/cb", true));
        assert!(!uri.matches("http://127.0.0.1:51004/cb", false));
        for other in [
            "http://127.0.0.1:51004/other",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://[::1]:51004/cb",
            "https://127.0.0.1:51004/cb",
            "http://localhost:51004/cb",
        ] {
            assert!(!uri.matches(other, true), "{other}");
        }
    }
}
