//! Connections by address: one address cannot take them all.
//!
//! A trusted proxy speaks for many and is not counted. An IPv6 caller has a whole /64 to choose from, so that counts as one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::TrustedProxies;

/// Counts open connections by address. Clones share it.
#[derive(Clone)]
pub(super) struct PerAddress(Arc<Inner>);

struct Inner {
    max: usize,
    trusted: TrustedProxies,
    /// Only addresses with open connections, so it is bounded by those.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection; counted until it is dropped.
pub(super) struct Counted {
    by: PerAddress,
    address: Option<IpAddr>,
}

impl PerAddress {
    pub(super) fn new(max: usize, trusted: TrustedProxies) -> Self {
        Self(Arc::new(Inner { max, trusted, open: Mutex::default() }))
    }

    /// `None` when that address has as many as one may have.
    pub(super) fn count(&self, peer: IpAddr) -> Option<Counted> {
        if self.0.trusted.contains(peer) {
            return Some(Counted { by: self.clone(), address: None });
        }
        let address = network(peer);
        let mut open = self.0.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.0.max {
            return None;
        }
        *count += 1;
        Some(Counted { by: self.clone(), address: Some(address) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut entry) = self.by.0.open.lock().entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What counts as one address.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn two_each(proxies: &str) -> PerAddress {
        let settings = Settings::with(&[("http.trusted_proxies", proxies)]).expect("settings");
        PerAddress::new(2, settings.http.trusted_proxies)
    }

    #[test]
    fn one_address_has_so_many_and_others_are_unhurt() {
        let connections = two_each("");
        let held = [connections.count(address("192.0.2.1")), connections.count(address("::ffff:192.0.2.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(connections.count(address("192.0.2.1")).is_none());
        assert!(connections.count(address("192.0.2.2")).is_some());
        drop(held);
        assert!(connections.count(address("192.0.2.1")).is_some());
        assert!(connections.0.open.lock().is_empty(), "an address without connections is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let connections = two_each("");
        let _held = [connections.count(address("2001:db8::1")), connections.count(address("2001:db8::2"))];
        assert!(connections.count(address("2001:db8::3")).is_none());
        assert!(connections.count(address("2001:db8:0:1::3")).is_some());
    }

    #[test]
    fn a_trusted_proxy_has_as_many_as_it_wants() {
        let connections = two_each("10.0.0.0/24");
        let held: Vec<_> = (0..10).map(|_| connections.count(address("10.0.0.7"))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
