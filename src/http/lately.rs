//! How much was asked in this hour, in all and by each address. For what writes to the log without anybody having proved
//! who they are. Counted by each node for itself; a restart forgets it.

use std::collections::HashMap;
use std::net::IpAddr;

use grantlog_domain::Timestamp;
use parking_lot::Mutex;

use super::per_address::network;

const HOUR: i64 = 3600;

/// Counts, and says when it is too much. An IPv6 caller has a whole /64 to choose from, so that counts as one.
pub struct Lately {
    per_address: u32,
    in_all: u32,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    hour: i64,
    in_all: u32,
    /// Never more than `in_all`, so it is bounded.
    by_address: HashMap<IpAddr, u32>,
}

impl Lately {
    #[must_use]
    pub fn new(per_address: u32, in_all: u32) -> Self {
        Self { per_address, in_all, counted: Mutex::default() }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// The seconds until the hour is over, when it is too much.
    pub fn count(&self, caller: IpAddr, at: Timestamp) -> Result<(), u32> {
        let counted = &mut *self.counted.lock();
        if counted.hour != at.0.div_euclid(HOUR) {
            *counted = Counted { hour: at.0.div_euclid(HOUR), ..Counted::default() };
        }
        let address = network(caller);
        let of_address = counted.by_address.get(&address).copied().unwrap_or_default();
        if counted.in_all >= self.in_all || of_address >= self.per_address {
            return Err(u32::try_from(HOUR - at.0.rem_euclid(HOUR)).unwrap_or_default());
        }
        counted.in_all += 1;
        counted.by_address.insert(address, of_address + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_in_an_hour_and_others_are_unhurt() {
        let lately = Lately::new(2, 100);
        for caller in ["2001:db8::1", "2001:db8::2"] {
            assert_eq!(lately.count(address(caller), Timestamp(7200)), Ok(()));
        }
        assert_eq!(lately.count(address("2001:db8::3"), Timestamp(7260)), Err(3540));
        assert_eq!(lately.count(address("192.0.2.1"), Timestamp(7260)), Ok(()));
        assert_eq!(lately.count(address("2001:db8::3"), Timestamp(10_800)), Ok(()));
    }

    #[test]
    fn all_together_have_so_many_whatever_their_addresses() {
        let lately = Lately::new(100, 3);
        let count = |last: u8| lately.count(IpAddr::from([192, 0, 2, last]), Timestamp(3600));
        assert!((0..3).all(|last| count(last).is_ok()));
        assert_eq!(count(3), Err(3600));
        assert_eq!(lately.counted.lock().by_address.len(), 3, "what is refused takes no memory");
    }
}
