//! Reading one's own writes: the tables behind the lists are a moment behind the log, and somebody who has just created
//! a client wants to see it. Only for what is shown: nothing that is promised may rest on it.

use std::time::Duration;

use grantlog_projections::checkpoint;
use grantlog_projections::feed::ahead;

use super::failure::PageError;
use crate::app::App;

/// Longest wait; then the page is shown as the tables are.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the tables have come to where the log ends now, or for [`WAIT_MAX`].
pub async fn settled(app: &App) -> Result<(), PageError> {
    let Some(end) = ahead::end(app.store.db()).await? else { return Ok(()) };
    let caught_up = async {
        loop {
            let tables = checkpoint::all(app.store.db()).await?;
            if tables.iter().all(|(table, answers)| !answers || table.cursor >= end) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, caught_up).await.unwrap_or(Ok(()))
}
