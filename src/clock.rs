//! The time, as everything here takes it: from a `Clock` that is handed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use grantlog_domain::time::Timestamp;
use grantlog_projections::ticks::{self, Tick};

/// Tells the time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// Follows the system's clock forwards, never backwards.
    System { started: Tick, offset_millis: Arc<AtomicI64> },
    /// Stands still until a test moves it; Unix milliseconds.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock, with one promise more: it never goes back. When the system's clock is set back, this one
    /// runs on at its own pace, so that no expired code or token comes back to life and lifetimes still pass.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { started: Tick::now(), offset_millis: Arc::new(AtomicI64::new(i64::MIN)) })
    }

    /// A clock for tests: stands at `now` until moved.
    #[must_use]
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now.0.saturating_mul(1000)))))
    }

    /// From here on it tells no time before `millis` (Unix milliseconds), as if it had told that one already. For a
    /// process that starts: what it followed was told by another. Answers by how much the clock was moved on. A manual
    /// clock stays where it is.
    pub fn not_before(&self, millis: i64) -> Duration {
        let Source::System { started, offset_millis } = &self.0 else { return Duration::ZERO };
        let behind = millis.saturating_sub(self.now_millis()).max(0);
        if behind > 0 {
            offset_millis.fetch_max(millis.saturating_sub(self::millis(started.elapsed())), Ordering::SeqCst);
        }
        Duration::from_millis(behind.unsigned_abs())
    }

    /// Now, in whole seconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now_millis().div_euclid(1000))
    }

    /// Now, in Unix milliseconds; as exact as a tick of the kernel, see [`ticks`].
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        match &self.0 {
            Source::Manual(now) => now.load(Ordering::SeqCst),
            Source::System { started, offset_millis } => {
                // First the wall: who is held up between the two finds too small an offset, which is let go. Too large a
                // one would stay, and the clock would be ahead by as much for good.
                let wall = millis(ticks::wall());
                let running = millis(started.elapsed());
                let offset = wall.saturating_sub(running);
                let mut highest = offset_millis.load(Ordering::SeqCst);
                // Written only when it grows, so that those who ask do not wait for one another.
                if highest < offset {
                    highest = offset_millis.fetch_max(offset, Ordering::SeqCst).max(offset);
                }
                running.saturating_add(highest)
            }
        }
    }

    /// Moves a manual clock on; a system clock moves by itself and ignores it.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_does_not_follow_a_step_back() {
        let clock = Clock::system();
        let before = clock.now_millis();
        if let Source::System { offset_millis, .. } = &clock.0 {
            // As if the system's clock had been an hour ahead and was then set back.
            offset_millis.fetch_add(3_600_000, Ordering::SeqCst);
        }
        let ahead = clock.now_millis();
        assert!(ahead >= before + 3_600_000);
        assert!(clock.now_millis() >= ahead);
    }

    #[test]
    fn threads_that_are_held_up_do_not_make_it_run_ahead() {
        let clock = Clock::system();
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| (0..100_000).map(|_| clock.now_millis()).max());
            }
        });
        let told = clock.now_millis();
        // Both are cut to milliseconds.
        assert!(told <= millis(ticks::wall()) + 1, "{told}");
    }

    #[test]
    fn a_new_clock_starts_no_earlier_than_it_is_told_and_goes_on_from_there() {
        let clock = Clock::system();
        let told = clock.now_millis() + 3_600_000;
        assert!(clock.not_before(told) > Duration::from_secs(3_590));
        assert!(clock.now_millis() >= told);
        assert_eq!(clock.not_before(told - 1), Duration::ZERO);
        assert!(clock.now_millis() < told + 3_600_000);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp(1_000));
        assert_eq!(clock.now(), Timestamp(1_000));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!((clock.now(), clock.now_millis()), (Timestamp(1_001), 1_001_500));
    }
}
