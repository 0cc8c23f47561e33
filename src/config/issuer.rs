//! The issuer: the one URL under which clients know this server (RFC 8414 2).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use url::{Host, Url};

/// Scheme, host and port, without a slash at the end: `https://id.example.org`, `http://127.0.0.1:5000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    text: String,
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

    /// The URL of a path on this server; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether browsers reach this server over TLS: `Secure` and `__Host-` cookies, HSTS.
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
        // RFC 8414 2: https, no query, no fragment. Ours has no path either, so that every path is at its usual place.
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err("must be scheme, host and port only, such as https://id.example.org".into());
        }
        let https = match url.scheme() {
            "https" => true,
            "http" if loopback => false,
            _ => return Err("must be https, unless its host is a loopback address".into()),
        };
        Ok(Issuer { text: url.origin().ascii_serialization(), https, loopback })
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
