//! How much was asked in this hour, in all and by each address or user. For what writes to the log although no operator
//! knows who asks. Counted by each node for itself; a restart forgets it.

use std::collections::HashMap;
use std::hash::Hash;

use grantlog_domain::Timestamp;
use parking_lot::Mutex;

const HOUR: i64 = 3600;

/// Counts by `K`, and says when it is too much.
pub struct Lately<K> {
    per_one: u32,
    in_all: u32,
    counted: Mutex<Counted<K>>,
}

struct Counted<K> {
    hour: i64,
    in_all: u32,
    /// Never more than `in_all`, so it is bounded.
    by_one: HashMap<K, u32>,
}

impl<K: Eq + Hash> Lately<K> {
    #[must_use]
    pub fn new(per_one: u32, in_all: u32) -> Self {
        let counted = Counted { hour: 0, in_all: 0, by_one: HashMap::new() };
        Self { per_one, in_all, counted: Mutex::new(counted) }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// The seconds until the hour is over, when it is too much.
    pub fn count(&self, one: K, at: Timestamp) -> Result<(), u32> {
        let counted = &mut *self.counted.lock();
        if counted.hour != at.0.div_euclid(HOUR) {
            *counted = Counted { hour: at.0.div_euclid(HOUR), in_all: 0, by_one: HashMap::new() };
        }
        let of_one = counted.by_one.get(&one).copied().unwrap_or_default();
        if counted.in_all >= self.in_all || of_one >= self.per_one {
            return Err(u32::try_from(HOUR - at.0.rem_euclid(HOUR)).unwrap_or_default());
        }
        counted.in_all += 1;
        counted.by_one.insert(one, of_one + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::http::per_address::network;

    fn address(text: &str) -> IpAddr {
        network(text.parse().expect("an address"))
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
        assert_eq!(lately.counted.lock().by_one.len(), 3, "what is refused takes no memory");
    }
}
