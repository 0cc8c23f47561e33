//! URIs that clients name: taken only as every reader of them spells them (RFC 3986), so that what a person is shown, what
//! is compared and where a browser goes are the same.

use url::{Host, Url};

/// Longest URI taken, in bytes.
pub const URI_BYTES_MAX: usize = 2000;

/// Why a URI is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriError {
    /// Not absolute, too long, with characters that RFC 3986 does not know, or spelled so that reading changes it.
    Spelling,
    /// With a user name or password, or with the place for them.
    Credentials,
}

/// Reads an absolute URI that stands there as it is read: no blanks, control characters, backslashes or dot segments, and the
/// host in its plain form. Only case, a port that is the usual one and an empty path are left to the reader.
pub(crate) fn parse(text: &str) -> Result<Url, UriError> {
    if text.len() > URI_BYTES_MAX || !text.bytes().all(is_uri_byte) {
        return Err(UriError::Spelling);
    }
    let url = Url::parse(text).map_err(|_| UriError::Spelling)?;
    let (_, rest) = text.split_once(':').ok_or(UriError::Spelling)?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    if authority.contains('@') {
        return Err(UriError::Credentials);
    }
    let same_host = !is_web(&url) || spells(authority, url.host_str().unwrap_or_default());
    let same_path = path == url.path() || (path.is_empty() && url.path() == "/");
    if same_host && same_path { Ok(url) } else { Err(UriError::Spelling) }
}

/// RFC 3986 2: unreserved, reserved and the percent sign.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// Whether the authority is that host, with or without a port.
fn spells(authority: &str, host: &str) -> bool {
    let Some((written, rest)) = authority.split_at_checked(host.len()) else { return false };
    let is_port = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    !host.is_empty()
        && written.eq_ignore_ascii_case(host)
        && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

pub(crate) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

/// Whether the host is the machine that the URI is opened on.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_that_is_read_as_it_stands_is_taken() {
        for uri in [
            "https://app.example",
            "https://App.Example:443/a%20b/(c)?d=[e]#f",
            "http://[::1]:8080/",
            "http://127.0.0.1/cb",
            "https://xn--mller-kva.example/",
            "com.example.app:/cb",
            "com.example.app:cb",
            "com.example.app://callback",
        ] {
            assert!(parse(uri).is_ok(), "{uri}");
        }
    }

    #[test]
    fn a_uri_that_somebody_may_read_otherwise_is_refused() {
        for uri in [
            "",
            "/cb",
            "https://app.example/\u{1b}[2J",
            "https://app.example/\n",
            " https://app.example/",
            "https://app.example/a b",
            "https://app.example\\.evil.example/",
            "https:\\\\app.example/",
            "https:app.example/cb",
            "https:///app.example/cb",
            "https://app.example:/cb",
            "https://app.example/a/../cb",
            "https://app.example/%2e%2e/cb",
            "https://%61pp.example/cb",
            "https://m\u{fc}ller.example/",
            "http://0x7f.1/cb",
            "http://127.1/cb",
            "http://[0:0:0:0:0:0:0:1]/cb",
            "https://app.example/\"><script>",
            "https://app.example/{x}",
        ] {
            assert_eq!(parse(uri).err(), Some(UriError::Spelling), "{uri:?}");
        }
        for uri in ["https://a@app.example/", "https://:b@app.example/", "https://@app.example/", "com.app://a@b/"] {
            assert_eq!(parse(uri).err(), Some(UriError::Credentials), "{uri}");
        }
        assert_eq!(
            parse(&format!("https://app.example/{}", "x".repeat(URI_BYTES_MAX))).err(),
            Some(UriError::Spelling)
        );
    }
}
