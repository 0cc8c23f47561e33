//! Waiting for a condition, bounded: the only way in which anything here waits. And what the clock says.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a condition may take before the case fails. Generous: two cores may be shared with a build.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `condition` until it answers, at most [`PATIENCE`] long. Panics with `what` when it never does.
pub async fn until<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    until_at_most(PATIENCE, what, condition).await
}

/// Asks until there is an answer, for at most `limit`, then fails naming what was waited for.
pub async fn until_at_most<T>(limit: Duration, what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    let found = within(limit, condition).await;
    found.unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Asks until there is an answer, for at most `limit`.
pub async fn within<T>(limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = condition().await;
        if found.is_some() || start.elapsed() >= limit {
            return found;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The wall clock, which the server and its tokens go by.
#[expect(clippy::disallowed_methods, reason = "the real clock: tokens are made in another process")]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().try_into().expect("not yet")
}
