//! The table projections as commands use them: first brought to the end of the log, whether a server runs or not.

use std::time::{Duration, Instant};

use grantlog_projections::engine::is_known;
use grantlog_projections::feed::Wake;
use grantlog_projections::live::Now;
use grantlog_projections::{Projector, ProjectorOptions, prepare, status};

use super::opened::Opened;
use super::{CliError, output};

/// Longest wait for the read models to reach the end of the log.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Brings the tables to where the log ends now. Where a server keeps them, this only waits for it.
pub(super) async fn catch_up(opened: &Opened) -> Result<(), CliError> {
    prepare(opened.db()).await?;
    let end = status::read(opened.db(), opened.clock.now()).await?.end;
    let clock = opened.clock.clone();
    let options = ProjectorOptions::new(Now::new(move || clock.now()));
    let projector = Projector::start(opened.db(), &Wake::new(opened.db()), options);
    let bar = output::progress("catching up");
    bar.set_length(u64::try_from(end).unwrap_or(0));
    let began = Instant::now();
    let reached = loop {
        let status = status::read(opened.db(), opened.clock.now()).await?;
        // Tables of another version are kept by other programs, or left behind.
        let tables = || status.tables.iter().filter(|table| table.active && is_known(&table.name, table.version));
        if tables().all(|table| table.lag_events == 0 || table.position >= end || table.stopped.is_some()) {
            break true;
        }
        if began.elapsed() > CATCH_UP_TIMEOUT {
            break false;
        }
        let least = tables().map(|table| table.position).min().unwrap_or(0);
        bar.set_position(u64::try_from(least).unwrap_or(0));
        tokio::time::sleep(LOOK_EVERY).await;
    };
    projector.stop().await;
    bar.finish_and_clear();
    if !reached {
        output::message("the read models are behind the log; the newest changes may be missing");
    }
    Ok(())
}
