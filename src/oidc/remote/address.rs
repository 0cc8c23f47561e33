//! Which addresses may be asked: those of the public Internet (RFC 6890 2.2 and the registries that it made), and others where a
//! setting says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Settings;

/// This machine, whatever a name server says.
pub(super) const LOCALHOST: &str = "localhost";

/// How far questions may go. Link-local addresses (where clouds keep credentials of their machines), multicast,
/// unspecified and reserved ones are never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Public,
    /// And this machine.
    Loopback,
    /// And this machine and private networks.
    Private,
}

impl Reach {
    /// A demo is on this machine, and so are the clients that are tried with it.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        match (settings.remote.allow_private, settings.demo) {
            (true, _) => Self::Private,
            (false, true) => Self::Loopback,
            (false, false) => Self::Public,
        }
    }

    /// Whether that address may be asked.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        let place = match address {
            IpAddr::V4(v4) => place_v4(v4),
            IpAddr::V6(v6) => place_v6(v6),
        };
        match place {
            Place::Public => true,
            Place::Loopback => self != Self::Public,
            Place::Private => self == Self::Private,
            Place::Never => false,
        }
    }

    /// The same for an address that `name` was said to have.
    pub(super) fn allows_as(self, name: &str, address: IpAddr) -> bool {
        let is_localhost = name.trim_end_matches('.').eq_ignore_ascii_case(LOCALHOST);
        self.allows(address) && (!is_localhost || address.is_loopback())
    }
}

/// What an address is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Public,
    Loopback,
    Private,
    Never,
}

fn place_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        [127, ..] => Place::Loopback,
        // Private networks, and those that carriers share.
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Place::Private,
        // "This network", link-local, protocol assignments, documentation, 6to4 relays, benchmarks, multicast, reserved.
        [0, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => Place::Never,
        [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => Place::Never,
        _ => Place::Public,
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    let segments = address.segments();
    let inside = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        place_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
        // IPv4-mapped, and what a network that has only IPv6 makes of an IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inside(high, low),
        // Unique local.
        [0xfc00..=0xfdff, ..] => Place::Private,
        // Protocol assignments with Teredo, documentation, 6to4.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => Place::Never,
        // Global unicast, as far as it was given out.
        [0x2000..=0x3fff, ..] => Place::Public,
        _ => Place::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &[&str] = &["1.1.1.1", "192.0.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::101:101"];
    const LOOPBACK: &[&str] = &["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"];
    const PRIVATE: &[&str] = &[
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "fd00:ec2::254",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
    ];
    const NEVER: &[&str] = &[
        "0.0.0.0",
        "169.254.169.254",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b:1::1",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2002:7f00:1::",
        "100::1",
        "3fff::1",
        "4000::1",
    ];

    fn all_allowed(reach: Reach, addresses: &[&str]) -> Vec<bool> {
        let mut answers: Vec<_> =
            addresses.iter().map(|text| reach.allows(text.parse().expect("an address"))).collect();
        answers.dedup();
        answers
    }

    #[test]
    fn only_what_the_setting_allows_is_asked() {
        for (reach, loopback, private) in
            [(Reach::Public, false, false), (Reach::Loopback, true, false), (Reach::Private, true, true)]
        {
            assert_eq!(all_allowed(reach, PUBLIC), [true], "{reach:?}");
            assert_eq!(all_allowed(reach, LOOPBACK), [loopback], "{reach:?}");
            assert_eq!(all_allowed(reach, PRIVATE), [private], "{reach:?}");
            assert_eq!(all_allowed(reach, NEVER), [false], "{reach:?}");
        }
    }

    #[test]
    fn localhost_is_this_machine_only() {
        let address = |text: &str| text.parse().expect("an address");
        assert!(Reach::Private.allows_as("localhost", address("127.0.0.1")));
        assert!(!Reach::Private.allows_as("localhost.", address("10.0.0.1")));
        assert!(Reach::Private.allows_as("inside.example", address("10.0.0.1")));
    }
}
