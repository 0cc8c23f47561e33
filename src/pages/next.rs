//! Where the browser goes after signing in: only to a path of this server, never elsewhere.

use std::fmt;

use crate::oauth::authorization_request::REQUEST_BYTES_MAX;

/// Longest path that is kept, in bytes: an authorization request.
const NEXT_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// A path on this server, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next(String);

impl Next {
    /// `text`, when it is a path of this server; otherwise the first page.
    ///
    /// A second slash or a backslash would name another host (`//evil.example`), and browsers drop tabs and line
    /// breaks before they look, so none of these may stand anywhere near the front, and no control character anywhere.
    pub fn parse(text: &str) -> Self {
        let own = text.starts_with('/')
            && !text.starts_with("//")
            && !text.contains('\\')
            && text.len() <= NEXT_BYTES_MAX
            && text.bytes().all(|byte| (0x21..=0x7E).contains(&byte));
        Self(if own { text.to_owned() } else { "/".to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The sign-in page that leads here.
    pub fn login(&self) -> String {
        self.behind("/login")
    }

    /// The page that leads here with an account that is signed in.
    pub fn choose_account(&self) -> String {
        self.behind("/accounts")
    }

    fn behind(&self, path: &str) -> String {
        let next: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        format!("{path}?next={next}")
    }
}

impl fmt::Display for Next {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_paths_are_kept() {
        for path in ["/", "/account", "/oauth/authorize?client_id=x&redirect_uri=https%3A%2F%2Fa.example%2F", "/a//b"] {
            assert_eq!(Next::parse(path).as_str(), path);
        }
    }

    #[test]
    fn anything_that_could_lead_elsewhere_becomes_the_first_page() {
        for path in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " /account",
            "/\u{0}",
            "/a\r\nSet-Cookie: x=y",
            "/caf\u{e9}",
            "/a\\..\\b",
        ] {
            assert_eq!(Next::parse(path).as_str(), "/", "{path:?}");
        }
        assert_eq!(Next::parse(&format!("/{}", "a".repeat(NEXT_BYTES_MAX))).as_str(), "/");
    }

    #[test]
    fn the_sign_in_page_gets_it_back_whole() {
        let next = Next::parse("/oauth/authorize?a=1&b=%20");
        let login = next.login();
        let (_, query) = login.split_once('?').expect("a query");
        let (_, value) = form_urlencoded::parse(query.as_bytes()).next().expect("a parameter");
        assert_eq!(Next::parse(&value), next);
    }
}
