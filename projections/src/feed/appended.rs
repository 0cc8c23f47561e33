//! Events that this process appended, kept until its table projections have taken them in: what is in memory need not be
//! sent back and decoded. The log says which events come next and in which order; only their content is spared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantlog_domain::Recorded;
use parking_lot::Mutex;

use super::{Cursor, Stored};

/// Most events kept, some KiB each; the oldest go first. One that is not there is read from the log.
const KEPT_MAX: usize = 8192;

/// What a projector is spared to read. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Appended(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether this process keeps a table at all.
    wanted: AtomicBool,
    by_position: Mutex<BTreeMap<i64, Recorded>>,
}

impl Appended {
    /// Keeps events that are committed and know their places.
    pub fn offer(&self, events: &[Recorded]) {
        if !self.0.wanted.load(Ordering::Relaxed) {
            return;
        }
        for event in events.iter().filter(|event| event.position > 0) {
            let event = event.clone();
            let mut kept = self.0.by_position.lock();
            kept.insert(event.position, event);
            if kept.len() > KEPT_MAX {
                kept.pop_first();
            }
        }
    }

    /// Says whether somebody will take them.
    pub(crate) fn want(&self, wanted: bool) {
        self.0.wanted.store(wanted, Ordering::Relaxed);
        if !wanted {
            self.0.by_position.lock().clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.by_position.lock().is_empty()
    }

    /// The events at these places, when all of them are here. They are here no longer in any case.
    pub(crate) fn take(&self, places: &[Cursor]) -> Option<Vec<Stored>> {
        let mut kept = self.0.by_position.lock();
        let mut events = Vec::with_capacity(places.len());
        for place in places {
            // Another transaction id would be another event: the log was restored from elsewhere.
            events.extend(kept.remove(&place.position).filter(|event| event.txid == place.txid));
        }
        drop(kept);
        (events.len() == places.len()).then(|| events.into_iter().map(Stored::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use grantlog_domain::grant::GrantEvent;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{NOW, hash, recorded};

    fn at(position: i64) -> Recorded {
        let id = Uuid::from_u128(position.unsigned_abs().into());
        let event = GrantEvent::AccessTokenRevoked { token: hash(1), at: NOW };
        Recorded { txid: 7, position, ..recorded(id, 1, event) }
    }

    fn places(positions: &[i64]) -> Vec<Cursor> {
        positions.iter().map(|position| Cursor { txid: 7, position: *position }).collect()
    }

    fn wanted(positions: impl IntoIterator<Item = i64>) -> Appended {
        let appended = Appended::default();
        appended.want(true);
        positions.into_iter().for_each(|position| appended.offer(&[at(position)]));
        appended
    }

    #[test]
    fn what_is_there_is_given_once_and_in_the_order_of_the_log() {
        let appended = wanted([3, 1, 2]);
        let taken = appended.take(&places(&[2, 1])).expect("both are there");
        assert_eq!(taken.iter().map(|event| event.cursor.position).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(taken[0].event.as_ref(), Ok(&at(2)));
        assert_eq!((appended.take(&places(&[1])), appended.is_empty()), (None, false));
    }

    #[test]
    fn a_missing_event_or_another_transaction_leaves_it_to_the_log() {
        let appended = wanted([1, 2]);
        assert_eq!(appended.take(&places(&[1, 5])), None);
        assert_eq!(appended.take(&[Cursor { txid: 8, position: 2 }]), None);
        assert!(appended.is_empty(), "what was read is not kept");
    }

    #[test]
    fn nothing_is_kept_for_nobody_or_beyond_the_bound() {
        let appended = wanted([1]);
        appended.want(false);
        appended.offer(&[at(2)]);
        assert!(appended.is_empty());
        let appended = wanted(1..=KEPT_MAX as i64 + 1);
        assert_eq!(appended.take(&places(&[1])), None);
        assert!(appended.take(&places(&[2])).is_some());
    }
}
