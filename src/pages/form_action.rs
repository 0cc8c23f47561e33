//! `form-action` of the Content-Security-Policy (CSP Level 3, 6.4.2): where the forms of a page may lead.
//!
//! Browsers hold it against every redirect that follows a form, so a page whose form ends at a client's redirect URI
//! must name that URI's origin.

use std::fmt;

use url::{Host, Url};

/// This server, and at most one place of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormAction {
    source: Option<String>,
}

impl FormAction {
    /// This server and the origin of a redirect URI; `redirect_uri` must be one that the client registered.
    pub fn also(redirect_uri: &str) -> Self {
        Self { source: Url::parse(redirect_uri).ok().and_then(|url| source(&url)) }
    }
}

/// The origin of a redirect URI that the client registered, and not this server.
pub fn only(redirect_uri: &str) -> String {
    Url::parse(redirect_uri).ok().and_then(|url| source(&url)).unwrap_or_else(|| "'none'".to_owned())
}

/// A source expression holds no blank, semicolon or comma: anything else would end the directive or the header.
fn source(url: &Url) -> Option<String> {
    let source = match (url.scheme(), url.host()) {
        // CSP cannot name an IPv6 address; its scheme is the closest.
        ("http" | "https", Some(Host::Ipv6(_))) => format!("{}:", url.scheme()),
        ("http" | "https", Some(_)) => url.origin().ascii_serialization(),
        (scheme, _) => format!("{scheme}:"),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:/_".contains(&byte);
    source.bytes().all(fits).then_some(source)
}

impl fmt::Display for FormAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("'self'")?;
        match &self.source {
            Some(source) => write!(out, " {source}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_lead_to_the_origin_of_the_redirect_uri_only() {
        for (uri, policy) in [
            ("https://app.example/cb?x=1", "'self' https://app.example"),
            ("http://127.0.0.1:5001/cb", "'self' http://127.0.0.1:5001"),
            ("http://[::1]:5001/cb", "'self' http:"),
            ("com.example.app:/cb", "'self' com.example.app:"),
            ("not a uri", "'self'"),
        ] {
            assert_eq!(FormAction::also(uri).to_string(), policy, "{uri}");
        }
    }

    #[test]
    fn a_redirect_uri_cannot_add_to_the_policy() {
        for uri in ["https://a.example;script-src%20*/", "https://a.example,b/", "https://a.example/;x *"] {
            let policy = FormAction::also(uri).to_string();
            assert!(!policy.contains([';', ',', '*']), "{uri}: {policy}");
        }
    }
}
