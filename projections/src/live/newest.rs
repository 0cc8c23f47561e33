//! A fact that yields only to a newer event of its aggregate.

/// A value and the sequence of the event that told it. The order in which events arrive, and how often, makes no
/// difference to where it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Newest<T> {
    sequence: i64,
    value: T,
}

impl<T> Newest<T> {
    pub(super) fn set(&mut self, sequence: i64, value: T) {
        if sequence > self.sequence {
            *self = Self { sequence, value };
        }
    }

    pub(super) const fn get(&self) -> &T {
        &self.value
    }

    pub(super) const fn sequence(&self) -> i64 {
        self.sequence
    }
}
