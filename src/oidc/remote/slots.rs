//! Questions at the same time: so many in all, and so many to one host.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) struct Slots {
    all: Semaphore,
    per_host: usize,
    /// Only hosts that are being asked, so it is bounded by the questions that wait.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A question to a host, from the waiting to the end.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    host: String,
    turns: Arc<Semaphore>,
}

impl Slots {
    pub(super) fn new(all: usize, per_host: usize) -> Self {
        Self { all: Semaphore::new(all), per_host, hosts: Mutex::default() }
    }

    pub(super) fn of(&self, host: &str) -> Slot<'_> {
        let mut hosts = self.hosts.lock();
        let turns = hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.per_host)));
        Slot { slots: self, host: host.to_owned(), turns: Arc::clone(turns) }
    }
}

impl Slot<'_> {
    /// Waits for the host first, so that nobody who waits for a slow host keeps a place that others could use.
    pub(super) async fn turn(&self) -> (Option<SemaphorePermit<'_>>, Option<SemaphorePermit<'_>>) {
        // Neither is ever closed.
        let of_host = self.turns.acquire().await.ok();
        (of_host, self.slots.all.acquire().await.ok())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut hosts = self.slots.hosts.lock();
        // The map's own and this one.
        if Arc::strong_count(&self.turns) == 2 {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_host_does_not_keep_the_others_waiting_and_is_forgotten() {
        let slots = Slots::new(3, 1);
        let (a, second, b) = (slots.of("a"), slots.of("a"), slots.of("b"));
        let held = a.turn().await;
        assert!(futures::FutureExt::now_or_never(second.turn()).is_none());
        assert!(futures::FutureExt::now_or_never(b.turn()).is_some());
        drop(held);
        assert!(futures::FutureExt::now_or_never(second.turn()).is_some());
        drop((a, second, b));
        assert!(slots.hosts.lock().is_empty());
    }
}
