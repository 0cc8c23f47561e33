//! Reading one's own writes: the tables behind the lists are a moment behind the log, and somebody who has just created
//! a client wants to see it.

use std::time::Duration;

use grantlog_projections::checkpoint;
use grantlog_projections::feed::Cursor;

use super::failure::PageError;
use crate::app::App;

/// Longest wait; then the page is shown as the tables are.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the tables have come to where the log ends now, or for [`WAIT_MAX`].
pub async fn settled(app: &App) -> Result<(), PageError> {
    let sql = "SELECT txid, position FROM events ORDER BY txid DESC, position DESC LIMIT 1";
    let rows = app.store.db().fetch(sql, &[]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let end = Cursor { txid: row.int(0)?, position: row.int(1)? };
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
