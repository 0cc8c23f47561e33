//! The proxies in front, which are believed when they say who the caller is.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks and single addresses of trusted proxies; empty: nobody is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(super) fn parse(items: &[String]) -> Result<Self, String> {
        let network = |item: &String| {
            item.parse::<IpNet>()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("\"{item}\" is neither an address nor a network such as 10.0.0.0/24"))
        };
        items.iter().map(network).collect::<Result<_, _>>().map(TrustedProxies)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 caller on a dual-stack socket arrives as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The caller's own address: `peer`, unless that is a trusted proxy. Then the last address in `forwarded_for`
    /// (the X-Forwarded-For header) that is not a trusted proxy; what stands before it anyone can have written.
    pub fn caller(&self, peer: IpAddr, forwarded_for: Option<&str>) -> IpAddr {
        let mut caller = peer.to_canonical();
        let mut hops = forwarded_for.unwrap_or_default().rsplit(',');
        while self.contains(caller) {
            match hops.next().and_then(|hop| hop.trim().parse::<IpAddr>().ok()) {
                Some(address) => caller = address.to_canonical(),
                None => break,
            }
        }
        caller
    }
}
