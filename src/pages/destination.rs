//! Where a URI of a client leads, in words: as much of it as somebody has to own.

use grantlog_domain::uri::is_loopback;
use url::Url;

/// The host of an https address, or the application that a browser hands it to. A private-use scheme is claimed by whatever
/// application on the device says so (RFC 8252 7.1, 8.6), so a host behind it says nothing; on a loopback address listens
/// whatever application was there first.
pub fn destination(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return uri.to_owned() };
    let host = match (url.scheme(), url.host_str()) {
        ("https" | "http", _) if is_loopback(&url) => return "an app on this computer".to_owned(),
        ("https" | "http", Some(host)) => host,
        (scheme, _) => return format!("the app {scheme} on this device"),
    };
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_where_it_leads() {
        for (uri, words) in [
            ("https://app.example/cb?host=evil.example", "app.example"),
            ("https://app.example:8443/cb", "app.example:8443"),
            ("http://127.0.0.1:5001/cb", "an app on this computer"),
            ("https://localhost/cb", "an app on this computer"),
            ("http://[::1]/cb", "an app on this computer"),
            ("com.example.app:/cb", "the app com.example.app on this device"),
            ("com.evil.app://victim.example/cb", "the app com.evil.app on this device"),
            ("com.evil.app://127.0.0.1/cb", "the app com.evil.app on this device"),
        ] {
            assert_eq!(destination(uri), words);
        }
    }
}
