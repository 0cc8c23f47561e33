//! The time of the kernel's last tick, for what is asked several times a request: reading it costs 5 ns, the exact time 27.

use std::time::Duration;

/// Longest time from one tick to the next, of a kernel that has 100 a second: what is told here is behind by less.
pub const TICK: Duration = Duration::from_millis(10);

/// A moment of the clock that always runs forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(Duration);

impl Tick {
    /// The last tick.
    #[must_use]
    pub fn now() -> Self {
        Self(clock::monotonic())
    }

    /// From this tick to the last one: wrong by less than [`TICK`], in either direction.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        clock::monotonic().saturating_sub(self.0)
    }

    /// Since the clock began to run; in nanoseconds it fits into 64 bits for centuries.
    pub(crate) const fn since_start(self) -> Duration {
        self.0
    }
}

/// The system's time at the last tick, since 1970; zero before that.
#[must_use]
pub fn wall() -> Duration {
    clock::wall()
}

#[cfg(target_os = "linux")]
mod clock {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn monotonic() -> Duration {
        read(ClockId::MonotonicCoarse)
    }

    pub(super) fn wall() -> Duration {
        read(ClockId::RealtimeCoarse)
    }

    fn read(clock: ClockId) -> Duration {
        let time = clock_gettime(clock);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        u64::try_from(time.tv_sec).map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos))
    }
}

/// Where there is no such clock, the exact time.
#[cfg(not(target_os = "linux"))]
mod clock {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(super) fn monotonic() -> Duration {
        STARTED.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time comes in")]
    pub(super) fn wall() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_tick_is_never_ahead_and_never_far_behind() {
        let (before, tick) = (Instant::now(), Tick::now());
        while tick.elapsed() < TICK {
            std::hint::spin_loop();
        }
        let (exact, told) = (before.elapsed(), tick.elapsed());
        assert!(told < exact + TICK && exact < told + 100 * TICK, "{told:?} for {exact:?}");
    }
}
