//! The proxies in front, which are believed when they say who the caller is: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! One of the two, as the setting says: a proxy that writes one passes the other on as the caller sent it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Networks and single addresses of trusted proxies; empty: nobody is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

/// In which header the proxies write who the caller is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// Who the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub address: IpAddr,
    /// A trusted proxy said something that is no address: this is the proxy's own.
    pub unreadable: bool,
}

impl TrustedProxies {
    pub(super) fn parse(items: &[String], header: ForwardedHeader) -> Result<Self, String> {
        let network = |item: &String| {
            item.parse::<IpNet>()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("\"{item}\" is neither an address nor a network such as 10.0.0.0/24"))
        };
        Ok(Self { networks: items.iter().map(network).collect::<Result<_, _>>()?, header })
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// In which header the proxies write who the caller is.
    pub fn header(&self) -> ForwardedHeader {
        self.header
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 caller on a dual-stack socket arrives as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The caller's own address: `peer`, unless that is a trusted proxy. Then the last address in the `lines` of the header
    /// that is not a trusted proxy; what stands before it anyone can have written. Read from behind, so that what
    /// anyone can have written cannot change how the rest is read.
    pub fn caller<'a>(&self, peer: IpAddr, lines: impl DoubleEndedIterator<Item = &'a str>) -> Caller {
        let mut caller = Caller { address: peer.to_canonical(), unreadable: false };
        let mut hops = lines.rev().flat_map(|line| FromBehind::new(line, b',')).filter(|hop| !hop.trim().is_empty());
        while self.contains(caller.address) {
            let Some(hop) = hops.next() else { break };
            let read = match self.header {
                ForwardedHeader::XForwardedFor => address(hop),
                ForwardedHeader::Forwarded => for_pair(hop).and_then(address),
            };
            match read {
                Some(address) => caller.address = address,
                None => {
                    caller.unreadable = true;
                    break;
                }
            }
        }
        caller
    }
}

/// The value of `for` in one element of `Forwarded` (RFC 7239 4).
fn for_pair(element: &str) -> Option<&str> {
    let mut pairs = FromBehind::new(element, b';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value)
}

/// An address as proxies write it: alone, with a port (RFC 7239 6, also behind IPv4 in `X-Forwarded-For`), in brackets, in
/// quotes, with a zone. `unknown` and names that begin with an underscore are none.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim();
    let bare = |text: &str| text.split_once('%').map_or(text, |(address, _)| address).parse::<IpAddr>().ok();
    let address = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, port)) if port.is_empty() || port.strip_prefix(':').is_some_and(is_port) => {
            bare(inner).filter(IpAddr::is_ipv6)
        }
        Some(_) => None,
        None => bare(text)
            .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
            .or_else(|| text.split_once(':').filter(|(_, port)| is_port(port)).and_then(|(address, _)| bare(address))),
    };
    address.map(|address| address.to_canonical())
}

/// A number, or a name that hides it (RFC 7239 6.3).
fn is_port(text: &str) -> bool {
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    number || text.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(hidden))
}

/// The parts of a list from the last to the first; a separator in quotes is none.
struct FromBehind<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> FromBehind<'a> {
    const fn new(text: &'a str, separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for FromBehind<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let (bytes, mut quoted) = (text.as_bytes(), false);
        for at in (0..bytes.len()).rev() {
            match bytes[at] {
                b'"' if at == 0 || bytes[at - 1] != b'\\' => quoted = !quoted,
                byte if byte == self.separator && !quoted => {
                    self.rest = Some(&text[..at]);
                    return Some(&text[at + 1..]);
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: ForwardedHeader) -> TrustedProxies {
        TrustedProxies::parse(&["10.0.0.0/24".into(), "::1".into()], header).expect("networks")
    }

    fn caller(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
        let caller = proxies(header).caller(peer.parse().expect("an address"), lines.iter().copied());
        format!("{}{}", caller.address, if caller.unreadable { " unreadable" } else { "" })
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_caller_is() {
        let caller = |peer, lines: &[&str]| caller(ForwardedHeader::XForwardedFor, peer, lines);
        assert_eq!(caller("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(caller("10.0.0.7", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(caller("::ffff:10.0.0.7", &["203.0.113.9"]), "203.0.113.9");
        // What stands before the proxy's own entry was sent by the caller; lines are one list (RFC 9110 5.3).
        assert_eq!(caller("10.0.0.7", &["1.1.1.1, 203.0.113.9, 10.0.0.8"]), "203.0.113.9");
        assert_eq!(caller("10.0.0.7", &["1.1.1.1", "203.0.113.9", "10.0.0.8"]), "203.0.113.9");
        assert_eq!(caller("10.0.0.7", &["nonsense, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(caller("10.0.0.7", &["nonsense"]), "10.0.0.7 unreadable");
        assert_eq!(caller("10.0.0.7", &[]), "10.0.0.7");
        assert_eq!(caller("10.0.0.7", &["", " , "]), "10.0.0.7");
    }

    #[test]
    fn an_address_may_have_a_port_brackets_quotes_and_a_zone() {
        for (text, address) in [
            ("203.0.113.7:50123", "203.0.113.7"),
            ("\"203.0.113.7:50123\"", "203.0.113.7"),
            ("203.0.113.7:_hidden", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("\"[2001:db8::7]:443\"", "2001:db8::7"),
            ("[2001:db8::7]:_p", "2001:db8::7"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(caller(ForwardedHeader::XForwardedFor, "10.0.0.7", &[text]), address, "{text}");
        }
        for text in ["203.0.113.7:", "203.0.113.7:x", "[203.0.113.7]:1", "[2001:db8::7", "unknown", "_hidden", "a:1"] {
            let seen = caller(ForwardedHeader::XForwardedFor, "10.0.0.7", &[text]);
            assert_eq!(seen, "10.0.0.7 unreadable", "{text}");
        }
    }

    #[test]
    fn forwarded_is_read_from_behind() {
        // RFC 7239 4, 6, 7.1.
        let caller = |line| caller(ForwardedHeader::Forwarded, "10.0.0.7", &[line]);
        assert_eq!(caller("for=192.0.2.43"), "192.0.2.43");
        assert_eq!(caller("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(caller("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        assert_eq!(caller("proto=http ; for=\"192.0.2.43:47011\";host=\"a,b;c\""), "192.0.2.43");
        assert_eq!(caller("for=1.1.1.1, for=192.0.2.43, for=10.0.0.8"), "192.0.2.43");
        // A quote that the caller left open swallows nothing of what the proxy wrote.
        assert_eq!(caller("for=\"1.1.1.1, for=192.0.2.43"), "192.0.2.43");
        assert_eq!(caller("for=\"1.1.1.1\\\", for=192.0.2.43;by=\"x\""), "192.0.2.43");
        assert_eq!(caller("for=192.0.2.43, for=unknown"), "10.0.0.7 unreadable");
        assert_eq!(caller("for=192.0.2.43, for=_hidden"), "10.0.0.7 unreadable");
        assert_eq!(caller("proto=https"), "10.0.0.7 unreadable");
        assert_eq!(caller("192.0.2.43"), "10.0.0.7 unreadable");
    }
}
