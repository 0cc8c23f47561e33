//! The issuer: the one URL under which clients know this server (RFC 8414 2).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use url::{Host, Url};

/// Longest path of an issuer.
const PATH_BYTES_MAX: usize = 128;

/// Scheme, host, port, and a path if it has one, without a slash at the end: `https://id.example.org`,
/// `https://example.org/auth`, `http://127.0.0.1:5000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    /// Bytes of `text` before the path.
    origin: usize,
    https: bool,
    loopback: bool,
}

impl Issuer {
    /// The issuer of a server that was not told one: the address it listens on, when that is a loopback address.
    pub(super) fn from_listen(listen: SocketAddr, tls: bool) -> Result<Self, String> {
        if !listen.ip().is_loopback() {
            return Err(format!(
                "must be set, because the server listens on {listen}, which is not a loopback address"
            ));
        }
        format!("{}://{listen}", if tls { "https" } else { "http" }).parse()
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before every path of this server: empty, or `/auth`.
    pub fn path(&self) -> &str {
        &self.text[self.origin..]
    }

    /// Host and port, as they stand in the `Host` header of requests for it.
    pub fn authority(&self) -> &str {
        self.text[..self.origin].split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The URL of a path on this server; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether browsers reach this server over TLS: `Secure` cookies with a prefix, HSTS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether the host is this machine by its address or by the name `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl FromStr for Issuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err("has no host".into()),
        };
        // RFC 8414 2: https, no query, no fragment.
        let bare = url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err("must be scheme, host, port and path only, such as https://id.example.org".into());
        }
        let path = url.path().strip_suffix('/').unwrap_or(url.path());
        // As it was written: what `Url` makes of dots and blanks is not what clients compare.
        let authority_and_path = text.split_once("://").map_or("", |(_, rest)| rest);
        let written = authority_and_path.find('/').map_or("", |at| &authority_and_path[at..]);
        if !is_plain(path) || written.strip_suffix('/').unwrap_or(written) != path {
            return Err("has a path that is not made of letters, digits and - . _ ~, such as /auth".into());
        }
        let https = match url.scheme() {
            "https" => true,
            "http" if loopback => false,
            _ => return Err("must be https, unless its host is a loopback address".into()),
        };
        let origin = url.origin().ascii_serialization();
        Ok(Issuer { text: format!("{origin}{path}"), origin: origin.len(), https, loopback })
    }
}

/// Whether a path needs no encoding and has one spelling: it stands in cookies, in links, and before every route.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    path.is_empty()
        || path.len() <= PATH_BYTES_MAX
            && path.split('/').skip(1).all(|segment| {
                !segment.is_empty() && !segment.bytes().all(|byte| byte == b'.') && segment.bytes().all(plain)
            })
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
