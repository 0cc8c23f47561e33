//! Randomness, as everything here takes it: from an `Entropy` that is handed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use uuid::Uuid;

/// A source of random bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct Entropy(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The operating system's, through the cryptographic library.
    System,
    /// The same bytes for the same seed: for tests only.
    Seeded(Arc<Seeded>),
}

#[derive(Debug)]
struct Seeded {
    key: hmac::Key,
    counter: AtomicU64,
}

impl Entropy {
    /// Bytes fit for keys and tokens.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Bytes that anyone who knows `seed` can tell: for tests only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes());
        Self(Source::Seeded(Arc::new(Seeded { key, counter: AtomicU64::new(0) })))
    }

    /// Fills `out` with random bytes.
    ///
    /// # Panics
    /// When the operating system gives no randomness: nothing that follows could be secret.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Source::System => rand::fill(out).expect("the operating system gives random bytes"),
            Source::Seeded(seeded) => {
                for chunk in out.chunks_mut(32) {
                    let block = hmac::sign(&seeded.key, &seeded.counter.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                    chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
                }
            }
        }
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A UUID version 7 (RFC 9562 5.7) of the time `unix_millis`.
    #[must_use]
    pub fn uuid_v7(&self, unix_millis: i64) -> Uuid {
        let millis = u64::try_from(unix_millis).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes::<10>()).into_uuid()
    }

    /// A duration between nothing and `longest`, evenly spread; so that those who collided do not meet again.
    #[must_use]
    pub fn jitter(&self, longest: Duration) -> Duration {
        let share = u32::from_be_bytes(self.bytes::<4>());
        longest.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_again_and_others_next() {
        let (one, two) = (Entropy::seeded(7), Entropy::seeded(7));
        assert_eq!(one.bytes::<40>(), two.bytes::<40>());
        assert_ne!(one.bytes::<40>(), two.bytes::<32>()[..8].repeat(5)[..40]);
    }

    #[test]
    fn identifiers_of_a_later_time_sort_later() {
        let entropy = Entropy::system();
        let (early, late) = (entropy.uuid_v7(1_700_000_000_000), entropy.uuid_v7(1_700_000_000_001));
        assert!(early < late);
        assert_eq!(late.get_version_num(), 7);
    }

    #[test]
    fn jitter_stays_below_its_bound() {
        let entropy = Entropy::seeded(1);
        assert!((0..100).all(|_| entropy.jitter(Duration::from_millis(5)) <= Duration::from_millis(5)));
    }
}
