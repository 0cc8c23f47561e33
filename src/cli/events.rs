//! `grantlog events`: read the event log, and archive what is over. Nothing here appends to it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::archive::{self, Archive};
use super::event_log::{self, LogEntry, Place, Wanted};
use super::opened::Opened;
use super::{CliError, output, verify};
use crate::config::Settings;
use crate::store::archive::{ArchiveFileError, Reader};

/// How often `follow` looks for new events.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// List the newest events
    List(List),
    /// Show one event by its position, or all events of one aggregate by its id
    Show(Show),
    /// Print events as they are appended, until interrupted
    Follow(Follow),
    /// Write all events as one JSON object a line, in the order of the log
    Export(Export),
    /// Check that every event was decided by a Grantlog of this database, and name those that were not
    Verify,
    /// Take grants that are long over out of the log, into files
    Archive(Archive),
    /// List what was archived
    Archives,
    /// Show the partitions of the grants' events, and make those that are missing
    Partitions,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only events of this aggregate: a client_id, user, session or grant
    #[arg(long, value_name = "ID")]
    aggregate: Option<String>,
    /// Only events of this type (grant.revoked) or kind of aggregate (grant)
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events before this position, to page back
    #[arg(long, value_name = "POSITION")]
    before: Option<i64>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Of an archive file instead of the log, by grant and the oldest first; needs no database
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// A position (a number) or the id of an aggregate
    #[arg(value_name = "POSITION|ID")]
    which: String,
}

#[derive(Debug, Args)]
pub(super) struct Follow {
    /// Begin with the first event instead of the next one
    #[arg(long)]
    from_start: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Write to this file, which must not exist, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(command: Events, settings: &Settings, json: bool) -> Result<(), CliError> {
    match &command {
        Events::Archive(Archive { verify: Some(file), .. }) => return archive::verify(file, json),
        Events::List(list @ List { archive: Some(file), .. }) => return list_file(file, list, json),
        _ => {}
    }
    if matches!(command, Events::Verify) {
        return verify::run(&Opened::open(settings).await?, json).await;
    }
    let opened = Opened::open_to_look(settings).await?;
    match command {
        Events::List(list) => {
            let wanted = Wanted { aggregate_id: list.aggregate, event_type: list.event_type, before: list.before };
            print_all(&event_log::newest(opened.db(), &wanted, list.limit).await?, json)
        }
        Events::Show(show) => print_one(&opened, &show.which, json).await,
        Events::Follow(follow) => {
            tokio::select! {
                followed = print_new(&opened, follow.from_start, json) => followed,
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        }
        Events::Export(export) => export_all(&opened, export.output.as_deref()).await,
        Events::Verify => Ok(()),
        Events::Archive(command) => archive::run(command, &opened, settings, json).await,
        Events::Archives => archive::list(&opened, json).await,
        Events::Partitions => archive::partitions(&opened, json).await,
    }
}

/// The file is read to its end before anything is printed, so that nothing of a damaged one is shown.
fn list_file(file: &Path, list: &List, json: bool) -> Result<(), CliError> {
    let failed = |error: ArchiveFileError| CliError::Failed(format!("{}: {error}", file.display()));
    let wanted =
        Wanted { aggregate_id: list.aggregate.clone(), event_type: list.event_type.clone(), before: list.before };
    let mut reader = Reader::open(file).map_err(failed)?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().map_err(failed)? {
        if events.len() < list.limit as usize && wanted.has(&event) {
            events.push(LogEntry::archived(event)?);
        }
    }
    print_all(&events, json)
}

fn print_all(events: &[LogEntry], json: bool) -> Result<(), CliError> {
    if json {
        return output::json(&events);
    }
    let rows: Vec<_> = events.iter().map(row).collect();
    output::table(&["POSITION", "RECORDED", "EVENT", "AGGREGATE", "SEQUENCE", "ACTOR"], &rows)
}

fn row(event: &LogEntry) -> Vec<String> {
    vec![
        event.position.to_string(),
        event.recorded_at.clone(),
        event.event_type.clone(),
        event.aggregate_id.clone(),
        event.sequence.to_string(),
        event.actor(),
    ]
}

async fn print_one(opened: &Opened, which: &str, json: bool) -> Result<(), CliError> {
    if let Ok(position) = which.parse::<i64>() {
        return match event_log::at(opened.db(), position).await? {
            Some(event) => output::json(&event),
            None => Err(CliError::NotFound(format!("there is no event at position {position}"))),
        };
    }
    let events = event_log::stream(opened.db(), which).await?;
    match events.is_empty() {
        true => Err(CliError::NotFound(format!("there is no aggregate {which}"))),
        false => print_all(&events, json),
    }
}

async fn print_new(opened: &Opened, from_start: bool, json: bool) -> Result<(), CliError> {
    let mut place = if from_start { Place::default() } else { event_log::end(opened.db()).await? };
    let mut tick = tokio::time::interval(FOLLOW_INTERVAL);
    loop {
        let events = event_log::page_after(opened.db(), place).await?;
        for event in &events {
            match json {
                true => output::json_line(event)?,
                false => output::line(&output::printable(&row(event).join("  ")))?,
            }
        }
        match events.last() {
            Some(last) => place = last.place(),
            None => {
                tick.tick().await;
            }
        }
    }
}

async fn export_all(opened: &Opened, file: Option<&Path>) -> Result<(), CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => CliError::ReaderGone,
        _ => CliError::Failed(format!("cannot write the export: {error}")),
    };
    let mut out: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(std::fs::File::create_new(path).map_err(failed)?),
        None => Box::new(std::io::stdout()),
    };
    let bar = output::progress("exporting");
    bar.set_length(event_log::count(opened.db()).await?);
    let mut place = Place::default();
    loop {
        let events = event_log::page_after(opened.db(), place).await?;
        let Some(last) = events.last() else { break };
        place = last.place();
        let mut page = Vec::new();
        for event in &events {
            serde_json::to_writer(&mut page, event).map_err(|error| failed(error.into()))?;
            page.push(b'\n');
        }
        out.write_all(&page).map_err(failed)?;
        bar.inc(events.len() as u64);
    }
    out.flush().map_err(failed)?;
    bar.finish_and_clear();
    output::message(&format!("{} events exported", bar.position()));
    Ok(())
}
