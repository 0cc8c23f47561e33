//! The peppers in memory. A process takes in new ones and lets go of retired ones while it runs, without a lock: a place is
//! written once, and what changes is a number and a flag.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use super::pepper::{PEPPERS_MAX, Pepper};
use super::sealing::SealingKey;

pub(super) struct Ring {
    /// Ascending by id; the first one is always there.
    places: [OnceLock<Held>; PEPPERS_MAX],
    /// Place of the one that makes new hashes.
    newest: AtomicUsize,
    /// Id of the first pepper that the database was ever used with.
    first: AtomicU16,
    /// What names users and sessions to clients, when the first pepper is not here any more.
    identifiers: OnceLock<Pepper>,
}

pub(super) struct Held {
    pub(super) pepper: Pepper,
    pub(super) vault_key: SealingKey,
    retired: AtomicBool,
}

impl Held {
    fn is_living(&self) -> bool {
        !self.retired.load(Ordering::Acquire)
    }
}

impl Ring {
    /// Not empty, ascending by id; the last one makes new hashes.
    pub(super) fn new(peppers: Vec<Pepper>) -> Self {
        let ring = Self {
            places: [const { OnceLock::new() }; PEPPERS_MAX],
            newest: AtomicUsize::new(0),
            first: AtomicU16::new(peppers.first().map_or(0, Pepper::id)),
            identifiers: OnceLock::new(),
        };
        for pepper in peppers {
            ring.push(pepper);
        }
        let newest = ring.held().count().saturating_sub(1);
        ring.newest.store(newest, Ordering::Release);
        ring
    }

    /// Takes one in behind the others, if its id is higher. Nothing is made with it yet.
    pub(super) fn push(&self, pepper: Pepper) -> bool {
        let Some(place) = self.places.iter().find(|place| place.get().is_none()) else { return false };
        if self.held().last().is_some_and(|last| last.pepper.id() >= pepper.id()) {
            return false;
        }
        let vault_key = SealingKey::derive(&pepper, "vault");
        place.set(Held { pepper, vault_key, retired: AtomicBool::new(false) }).is_ok()
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.places.iter().map_while(OnceLock::get)
    }

    /// Those that are not retired.
    pub(super) fn living(&self) -> impl Iterator<Item = &Held> {
        self.held().filter(|held| held.is_living())
    }

    pub(super) fn find(&self, id: u16) -> Option<&Held> {
        self.living().find(|held| held.pepper.id() == id)
    }

    /// Whether it is here, retired or not.
    pub(super) fn has(&self, id: u16) -> bool {
        self.held().any(|held| held.pepper.id() == id)
    }

    /// The one that makes new hashes.
    pub(super) fn newest(&self) -> &Held {
        let at = self.newest.load(Ordering::Acquire);
        self.places[at].get().expect("the place was written before the number that names it")
    }

    /// From now on that one makes new hashes.
    pub(super) fn make_with(&self, id: u16) {
        if let Some(at) = self.held().position(|held| held.pepper.id() == id) {
            self.newest.store(at, Ordering::Release);
        }
    }

    pub(super) fn retire(&self, id: u16) {
        if let Some(held) = self.held().find(|held| held.pepper.id() == id) {
            held.retired.store(true, Ordering::Release);
        }
    }

    /// Id of the first pepper that the database was ever used with.
    pub(super) fn first(&self) -> u16 {
        self.first.load(Ordering::Acquire)
    }

    pub(super) fn set_first(&self, id: u16) {
        self.first.store(id, Ordering::Release);
    }

    /// What names users and sessions to clients: the first pepper, also when it is retired.
    pub(super) fn identifiers(&self) -> &Pepper {
        let first = || &self.places[0].get().expect("the first place is written when the ring is made").pepper;
        self.identifiers.get().unwrap_or_else(first)
    }

    pub(super) fn set_identifiers(&self, key: Pepper) {
        // What is there is the same.
        let _ = self.identifiers.set(key);
    }
}
