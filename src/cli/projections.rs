//! `grantlog projections`: how far the read models are, whether they say what the log says, and building them anew.

use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use grantlog_projections::check::{self, Checked};
use grantlog_projections::engine::names;
use grantlog_projections::rebuild::{self, RebuildError, RebuildProgress};
use grantlog_projections::status::{self, TableStatus};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::opened::Opened;
use super::{CliError, output, read_models};
use crate::config::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Projections {
    /// Show how far each read model is
    Status,
    /// Build read models anew from the log, beside those that answer, and switch
    Rebuild(Which),
    /// Replay the log into scratch tables and compare; exit code 1 when they differ
    Check(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Names of read models [default: all]
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    names: Vec<String>,
}

impl Which {
    fn names(self) -> Vec<String> {
        if self.names.is_empty() { names().into_iter().map(str::to_owned).collect() } else { self.names }
    }
}

pub(super) async fn run(command: Projections, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = Opened::open(settings).await?;
    match command {
        Projections::Status => show_status(&opened, json).await,
        Projections::Rebuild(which) => rebuild_all(&opened, which.names(), json).await,
        Projections::Check(which) => check_all(&opened, which.names(), json).await,
    }
}

async fn show_status(opened: &Opened, json: bool) -> Result<(), CliError> {
    let status = status::read(opened.log(), opened.clock.now()).await?;
    if json {
        let tables: Vec<Value> = status.tables.iter().map(table_json).collect();
        return output::json(&json!({
            "end": status.end,
            "oldest_write_seconds": status.oldest_write_seconds,
            "tables": tables,
        }));
    }
    let row = |table: &TableStatus| {
        vec![
            table.name.clone(),
            table.version.to_string(),
            if table.active { "answers" } else { "building" }.to_owned(),
            table.position.to_string(),
            table.lag_events.to_string(),
            table.lag_seconds.to_string(),
            table.poison.to_string(),
            table.keeper.clone().unwrap_or_default(),
            table.stopped.clone().unwrap_or_default(),
        ]
    };
    let head = ["NAME", "VERSION", "STATE", "POSITION", "LAG_EVENTS", "LAG_SECONDS", "POISON", "KEPT_BY", "STOPPED"];
    output::table(&head, &status.tables.iter().map(row).collect::<Vec<_>>())?;
    output::message(&format!("the log ends at position {}", status.end));
    if let Some(seconds) = status.oldest_write_seconds {
        output::message(&format!("the oldest write under way in the database began {seconds} s ago"));
    }
    Ok(())
}

fn table_json(table: &TableStatus) -> Value {
    json!({
        "name": table.name,
        "version": table.version,
        "table": table.table_name,
        "active": table.active,
        "position": table.position,
        "lag_events": table.lag_events,
        "lag_seconds": table.lag_seconds,
        "poison": table.poison,
        "kept_by": table.keeper,
        "stopped": table.stopped,
    })
}

/// How often a build says how far it is where no bar can be shown.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Shows a build on its bar; without a terminal in a line now and then.
fn reporter(bar: &ProgressBar, name: &str) -> impl FnMut(RebuildProgress) + Send {
    let (bar, name, mut told) = (bar.clone(), name.to_owned(), Instant::now());
    move |progress| {
        bar.set_length(u64::try_from(progress.total).unwrap_or(0));
        bar.set_position(u64::try_from(progress.done).unwrap_or(0));
        if bar.is_hidden() && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            output::message(&progress_line(&name, &progress));
        }
    }
}

fn progress_line(name: &str, progress: &RebuildProgress) -> String {
    let RebuildProgress { done, total, rate, remaining } = progress;
    let left = remaining.map_or_else(String::new, |left| format!(", {} s left", left.as_secs()));
    format!("{name}: {done} of {total} events, {rate:.0}/s{left}")
}

async fn rebuild_all(opened: &Opened, names: Vec<String>, json: bool) -> Result<(), CliError> {
    // A table that is behind cannot be compared with a new one.
    read_models::catch_up(opened).await?;
    let mut done = Vec::new();
    for name in names {
        let bar = output::progress("rebuilding");
        bar.println(&name);
        let rebuilt = rebuild::rebuild(opened.log(), &name, opened.clock.now(), reporter(&bar, &name)).await?;
        bar.finish_and_clear();
        let equal = rebuilt.comparison.as_ref().map(check::Comparison::is_equal);
        if !json {
            let found = match equal {
                Some(true) => "equal to the old one",
                Some(false) => "different from the old one",
                None => "nothing to compare with",
            };
            output::line(&format!("{}: rebuilt from {} events, {found}", rebuilt.name, rebuilt.events))?;
        }
        done.push(json!({
            "name": rebuilt.name,
            "table": rebuilt.table_name,
            "replaced": rebuilt.replaced,
            "events": rebuilt.events,
            "resumed": rebuilt.resumed,
            "equal": equal,
        }));
    }
    if json { output::json(&done) } else { Ok(()) }
}

async fn check_all(opened: &Opened, names: Vec<String>, json: bool) -> Result<(), CliError> {
    read_models::catch_up(opened).await?;
    let mut found = Vec::new();
    for name in names {
        let bar = output::progress("checking");
        let checked = check::check(opened.log(), &name, opened.clock.now(), reporter(&bar, &name)).await?;
        bar.finish_and_clear();
        if !json {
            output::line(&sentence(&checked))?;
        }
        found.push(checked);
    }
    if json {
        output::json(&found.iter().map(checked_json).collect::<Vec<_>>())?;
    }
    let different: Vec<&str> =
        found.iter().filter(|checked| !checked.comparison.is_equal()).map(|checked| checked.name.as_str()).collect();
    if different.is_empty() {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "these read models are not what the log says: {}; build them anew with: grantlog projections rebuild {}",
        different.join(", "),
        different.join(" ")
    )))
}

fn sentence(checked: &Checked) -> String {
    let Checked { name, position, comparison, events, .. } = checked;
    let rows = comparison.left.rows;
    match comparison.is_equal() {
        true => format!("{name}: equal ({rows} rows, {events} events, up to position {position})"),
        false => format!("{name}: DIFFERENT ({rows} rows, the log says {})", comparison.right.rows),
    }
}

fn checked_json(checked: &Checked) -> Value {
    json!({
        "name": checked.name,
        "table": checked.table_name,
        "position": checked.position,
        "events": checked.events,
        "equal": checked.comparison.is_equal(),
        "rows": checked.comparison.left.rows,
        "checksum": checked.comparison.left.checksum,
        "rows_replayed": checked.comparison.right.rows,
        "checksum_replayed": checked.comparison.right.checksum,
    })
}

impl From<RebuildError> for CliError {
    fn from(error: RebuildError) -> Self {
        let text = error.to_string();
        match error {
            RebuildError::UnknownProjection(_) => CliError::NotFound(text),
            RebuildError::Busy => CliError::Refused(text),
            RebuildError::UnknownType(_) => CliError::Failed(text),
            RebuildError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_rate_and_the_time_left() {
        let progress = RebuildProgress { done: 5, total: 10, rate: 3.0, remaining: Some(Duration::from_millis(2000)) };
        assert_eq!(progress_line("tokens", &progress), "tokens: 5 of 10 events, 3/s, 2 s left");
    }
}
