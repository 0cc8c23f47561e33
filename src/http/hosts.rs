//! Whom a server on this machine alone is asked as. A page elsewhere may give its own name the address 127.0.0.1 after it was
//! loaded (DNS rebinding): then the browser takes this server for the page's own, and lets the page read every answer. Only
//! the `Host` of the request tells.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Request;
use http::header::HOST;

use crate::config::Issuer;

/// The names that a server whose issuer is a loopback address, or a listener on one, answers to; `None` for every other, which
/// whoever asks it may call what they like.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Option<String>);

impl Hosts {
    pub(super) fn of(issuer: &Issuer) -> Self {
        Self(issuer.is_loopback().then(|| host(issuer.authority()).to_owned()))
    }

    /// Of a listener that no name leads to.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self(address.ip().is_loopback().then(|| "localhost".to_owned()))
    }

    /// Whether the request is for this server. Who names no host is no browser.
    pub(super) fn has<T>(&self, request: &Request<T>) -> bool {
        let Some(own) = &self.0 else { return true };
        let is_own = |authority: &str| host(authority).eq_ignore_ascii_case(own) || is_this_machine(authority);
        request.uri().authority().is_none_or(|authority| is_own(authority.as_str()))
            && request.headers().get_all(HOST).iter().all(|value| value.to_str().is_ok_and(is_own))
    }
}

/// Whether that is a name that every machine has for itself, with or without a port.
pub(super) fn is_this_machine(authority: &str) -> bool {
    let host = host(authority);
    host.eq_ignore_ascii_case("localhost") || is_loopback(host)
}

/// Without the port.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Addresses only: no name is resolved.
fn is_loopback(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback()),
        None => host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(issuer: &str, host: &str) -> bool {
        let request = Request::builder().uri("/").header(HOST, host).body(()).unwrap();
        Hosts::of(&issuer.parse().unwrap()).has(&request)
    }

    #[test]
    fn a_server_on_this_machine_answers_to_its_own_names_only() {
        for own in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:5000", "127.8.9.1:1", "[::1]", "[::1]:5000"] {
            assert!(has("http://127.0.0.1:5000", own), "{own}");
            assert!(has("http://[::1]:5000", own), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:5000",
            "localhost.evil.example",
            "localhost:5000.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:5000@evil.example",
            "evil.example:",
            "10.0.0.1",
            "[::2]:5000",
            "::1",
            "2130706433",
            "0.0.0.0",
            "",
        ] {
            assert!(!has("http://127.0.0.1:5000", foreign), "{foreign}");
        }
        assert!(has("https://login.example", "anything.example"));
    }

    #[test]
    fn the_address_in_the_request_line_counts_too() {
        let request = |uri: &str| Request::builder().uri(uri).header(HOST, "localhost").body(()).unwrap();
        let hosts = Hosts::of(&"http://localhost:5000".parse().unwrap());
        assert!(hosts.has(&request("http://127.0.0.1:5000/")));
        assert!(!hosts.has(&request("http://evil.example/")));
        assert!(hosts.has(&Request::builder().uri("/").body(()).unwrap()));
    }
}
