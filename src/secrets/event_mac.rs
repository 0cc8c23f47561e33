//! The keys of the event log: whoever has the peppers can append what is believed, and whoever has the database alone
//! cannot.

use grantlog_projections::mac::MacKeys;

use super::{KnownPepper, Secrets};

impl Secrets {
    /// One key of each pepper; the newest makes new codes.
    #[must_use]
    pub fn mac_keys(&self) -> MacKeys {
        let keys = MacKeys::default();
        self.renew_keys(&keys);
        keys
    }

    /// Brings the keys to where the peppers are: takes in new ones, makes codes with the newest, forgets retired ones.
    pub fn renew_keys(&self, keys: &MacKeys) {
        for held in self.0.peppers.living() {
            if !keys.has(held.pepper.id()) {
                keys.add(held.pepper.id(), held.pepper.derive("event_mac"));
            }
        }
        keys.make_with(self.newest_pepper());
        keys.keep_only(|id| self.has_pepper(id));
    }

    /// Whether the database knows one of these peppers as databases did before their events had codes. Nobody can make it
    /// say so who has not read it then.
    #[must_use]
    pub fn knew_before_codes(&self, known: &[KnownPepper]) -> bool {
        known.iter().any(|known| {
            self.0
                .peppers
                .find(known.id)
                .is_some_and(|held| held.pepper.check_value_before_codes() == known.check_value)
        })
    }
}

#[cfg(test)]
mod tests {
    use grantlog_projections::mac::{Content, Origin, Verdict};

    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn another_pepper_makes_codes_that_are_worth_nothing_here() {
        let content = Content {
            aggregate_type: "session",
            aggregate_id: "a",
            sequence: 1,
            event_type: "session.started",
            event_version: "1.0",
            payload: "{}",
            metadata: "{}",
        };
        let keys = |seed| Secrets::ephemeral(&Entropy::seeded(seed)).mac_keys();
        let mac = keys(1).decided(&content);
        assert_eq!(keys(1).verify(&content, Some(mac.as_str())), Verdict::Genuine(Origin::Decided));
        assert_eq!(keys(2).verify(&content, Some(mac.as_str())), Verdict::Forged);
    }
}
