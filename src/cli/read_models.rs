//! The table projections as commands use them: first brought to the end of the log, whether a server runs or not. Mostly
//! for what is shown: what ends grants or sessions of somebody looks at the log itself.

use std::time::{Duration, Instant};

use grantlog_projections::engine::is_known;
use grantlog_projections::feed::{Cursor, Wake, ahead};
use grantlog_projections::live::Now;
use grantlog_projections::{Projector, ProjectorOptions, prepare, status};

use super::opened::Opened;
use super::{CliError, output};

/// Longest wait for the read models to reach the end of the log.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Makes the tables that are not there yet.
pub(super) async fn there(opened: &Opened) -> Result<(), CliError> {
    Ok(prepare(opened.log()).await?)
}

/// Brings the tables to where the log ends now. Where a server keeps them, this only waits for it.
pub(super) async fn catch_up(opened: &Opened) -> Result<(), CliError> {
    if let Some(reason) = behind(opened).await? {
        output::message(&format!("{reason}; the newest changes may be missing"));
    }
    Ok(())
}

/// The same for what must not miss anything.
pub(super) async fn be_caught_up(opened: &Opened) -> Result<(), CliError> {
    match behind(opened).await? {
        Some(reason) => Err(CliError::Unavailable(format!("{reason}; try again"))),
        None => Ok(()),
    }
}

/// Why the tables did not come to where the log ends now.
async fn behind(opened: &Opened) -> Result<Option<String>, CliError> {
    prepare(opened.log()).await?;
    let end = ahead::end(opened.db()).await?.unwrap_or(Cursor::START);
    let clock = opened.clock.clone();
    let options = ProjectorOptions::new(Now::new(move || clock.now()));
    let projector = Projector::start(opened.log(), &Wake::new(opened.db()), options);
    let bar = output::progress("catching up");
    bar.set_length(u64::try_from(end.position).unwrap_or(0));
    let began = Instant::now();
    let missing = loop {
        let status = status::read(opened.log(), opened.clock.now()).await?;
        // Tables of another version are kept by other programs, or left behind.
        let tables = || status.tables.iter().filter(|table| table.active && is_known(&table.name, table.version));
        let cursor = |table: &status::TableStatus| Cursor { txid: table.txid, position: table.position };
        let behind = || tables().filter(|table| table.lag_events > 0 && cursor(table) < end);
        if behind().next().is_none() {
            break None;
        }
        // Nothing helps a table but a newer version; the others come to the end.
        if behind().all(|table| table.stopped.is_some()) {
            break behind().find_map(|table| table.stopped.clone());
        }
        if began.elapsed() > CATCH_UP_TIMEOUT {
            break Some("the read models are behind the log".to_owned());
        }
        let least = tables().map(|table| table.position).min().unwrap_or(0);
        bar.set_position(u64::try_from(least).unwrap_or(0));
        tokio::time::sleep(LOOK_EVERY).await;
    };
    projector.stop().await;
    bar.finish_and_clear();
    Ok(missing)
}
