//! Waiting for a condition, bounded: the only way in which anything here waits.

use std::time::{Duration, Instant};

/// How long a condition may take before the case fails. Generous: two cores may be shared with a build.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `condition` until it answers, at most [`PATIENCE`] long. Panics with `what` when it never does.
pub async fn until<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    until_at_most(PATIENCE, what, condition).await
}

/// As [`until`], with a limit of its own.
pub async fn until_at_most<T>(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}
