//! Expired rows leave as fast as they come.

use std::sync::Arc;
use std::time::Duration;

use grantlog_domain::Timestamp;
use grantlog_domain::grant::GrantEvent;
use uuid::Uuid;

use super::super::{BREATH, SWEEP_EVERY, SWEEP_MAX, sweep_pause};
use super::{catch_up, opened_plain, registered};
use crate::feed::Wake;
use crate::live::Now;
use crate::testing::{Fresh, append, append_all, on_both, recorded, until};
use crate::{Projector, ProjectorOptions};

#[tokio::test]
async fn many_expired_rows_leave_in_bounded_steps() {
    const ROWS: u128 = SWEEP_MAX as u128 * 3 + 7;
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &registered()).await;
        for number in 0..ROWS {
            append(db, &recorded(Uuid::from_u128(0x8000 + number), 1, GrantEvent::Opened(opened_plain()))).await;
        }
        catch_up(db).await;
        let later = Now::new(|| Timestamp(i64::MAX / 2));
        let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(later));
        until("the tables are empty", || async {
            let left = db.fetch("SELECT (SELECT COUNT(*) FROM tokens_v1) + (SELECT COUNT(*) FROM grants_v3)", &[]);
            left.await.unwrap()[0].int(0).unwrap() == 0
        })
        .await;
        projector.stop().await;
    })
    .await;
}

#[test]
fn expired_rows_leave_faster_than_they_come() {
    // One step, and the pause that the engine makes after it at least.
    let step = |took| (took + sweep_pause(took, true).max(BREATH)).as_secs_f64();
    for took in [1, 10, 50].map(Duration::from_millis) {
        assert!(SWEEP_MAX as f64 / step(took) > 2000.0, "{took:?}");
        assert!(took.as_secs_f64() / step(took) <= 0.25, "{took:?}");
    }
    assert_eq!(sweep_pause(Duration::ZERO, false), SWEEP_EVERY);
}
