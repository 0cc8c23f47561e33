//! `grantlog events archive`, `archives` and `partitions`: taking old grants out of the log, and looking at what was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::opened::Opened;
use super::{CliError, output};
use crate::config::{DatabaseUrl, Settings};
use crate::store::archive::{
    ArchiveError, ArchiveFileError, ArchiveOptions, Archived, Outcome, Progress, Reader, Verified, records,
};
use crate::store::{Ensured, Partition};

#[derive(Debug, Args)]
#[command(after_help = "\
A partition leaves the log whole, when every grant in it was over for that long. Each becomes one file, which is read back
and compared with the log before the partition is detached and dropped. An interrupted run is finished by the next one.
PostgreSQL only; needs the role that owns the events (docs/postgres-roles.sql).")]
pub(super) struct Archive {
    /// How long everything in a partition must have been over: 90d, 12w, 36h
    #[arg(long, value_name = "AGE", value_parser = age, required_unless_present = "verify")]
    older_than: Option<Duration>,
    /// Existing folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Only say what would be archived
    #[arg(long)]
    dry_run: bool,
    /// Detach the partitions, but do not drop them
    #[arg(long)]
    keep: bool,
    /// The same database as the server's role: what users are still shown is read as that role. Needed where the server
    /// does not run as the owner
    #[arg(long, value_name = "URL")]
    read_models: Option<DatabaseUrl>,
    /// Check such a file instead; needs no database
    #[arg(long, value_name = "FILE", conflicts_with_all = ["older_than", "output", "dry_run", "keep", "read_models"])]
    pub(super) verify: Option<PathBuf>,
}

/// `90d`, `12w`, `36h`.
fn age(text: &str) -> Result<Duration, String> {
    const HOUR: u64 = 3600;
    let wrong = || "a whole number and h, d or w, such as 90d".to_owned();
    let unit = match text.chars().last() {
        Some('h') => HOUR,
        Some('d') => 24 * HOUR,
        Some('w') => 7 * 24 * HOUR,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * unit))
}

/// Checks a file, without any database.
pub(super) fn verify(file: &Path, json: bool) -> Result<(), CliError> {
    let failed = |error: ArchiveFileError| CliError::Failed(format!("{}: {error}", file.display()));
    let found = Reader::open(file).and_then(Reader::verify).map_err(failed)?;
    if json { output::json(&verified_json(&found)) } else { print_verified(&found) }
}

fn verified_json(found: &Verified) -> Value {
    json!({ "whole": true, "header": found.header, "trailer": found.trailer, "bytes": found.bytes, "sha256": found.sha256 })
}

fn print_verified(found: &Verified) -> Result<(), CliError> {
    let (header, totals) = (&found.header, &found.header.totals);
    output::fields(&[
        ("whole", "yes".to_owned()),
        ("partition", header.partition.clone()),
        ("log", format!("{} of cluster {}", header.log.database, header.log.system_identifier)),
        ("written", format!("{} by {}", header.written_at, header.program)),
        ("events", totals.events.to_string()),
        ("grants", totals.grants.to_string()),
        ("positions", format!("{} to {}", totals.first_position, totals.last_position)),
        ("over_since", output::moment(grantlog_domain::Timestamp(found.trailer.over_since))),
        ("bytes", found.bytes.to_string()),
        ("sha256", found.sha256.clone()),
    ])
}

pub(super) async fn run(command: Archive, opened: &Opened, settings: &Settings, json: bool) -> Result<(), CliError> {
    let read_models = match command.read_models {
        Some(database) => {
            let mut settings = settings.clone();
            settings.database = database;
            Some(Opened::connect(&settings, false).await?.db().clone())
        }
        None => None,
    };
    let options = ArchiveOptions {
        older_than: command.older_than.unwrap_or_default(),
        folder: command.output,
        dry_run: command.dry_run,
        keep: command.keep,
        read_models,
    };
    let bar = output::progress("archiving");
    let mut report = |progress: Progress<'_>| match progress {
        Progress::Begun { partition, events } => {
            bar.println(partition);
            // Written, and then compared.
            bar.set_length(events * if options.dry_run { 1 } else { 2 });
            bar.set_position(0);
        }
        Progress::Events(events) => bar.inc(events),
        Progress::Reached(_) => {}
    };
    let archived = opened.store.archive(&options, &mut report).await?;
    bar.finish_and_clear();
    if json {
        return output::json(&archived.iter().map(archived_json).collect::<Vec<_>>());
    }
    if archived.is_empty() {
        output::message("no partition is old enough");
    }
    archived.iter().try_for_each(|archived| output::line(&output::printable(&told(archived))))
}

fn archived_json(archived: &Archived) -> Value {
    let partition = &archived.partition;
    match &archived.outcome {
        Outcome::Done { file, bytes, sha256, totals, base_events } => json!({
            "partition": partition, "outcome": "archived", "file": file, "bytes": bytes, "sha256": sha256,
            "events": totals.events, "grants": totals.grants, "base_events": base_events,
        }),
        Outcome::Possible { totals } => json!({
            "partition": partition, "outcome": "possible", "events": totals.events, "grants": totals.grants,
        }),
        Outcome::Stays(reason) => json!({ "partition": partition, "outcome": "stays", "reason": reason }),
        Outcome::Finished { file } => json!({ "partition": partition, "outcome": "finished", "file": file }),
    }
}

fn told(archived: &Archived) -> String {
    let partition = &archived.partition;
    match &archived.outcome {
        Outcome::Done { file, bytes, totals, .. } => format!(
            "{partition}: {} events of {} grants are in {} ({bytes} bytes)",
            totals.events,
            totals.grants,
            file.display()
        ),
        Outcome::Possible { totals } => {
            format!("{partition}: {} events of {} grants could be archived", totals.events, totals.grants)
        }
        Outcome::Stays(reason) => format!("{partition}: stays: {reason}"),
        Outcome::Finished { file } => {
            format!("{partition}: an earlier run had archived it to {}; now it is dropped", file.display())
        }
    }
}

/// What left the log, and in which files it is.
pub(super) async fn list(opened: &Opened, json: bool) -> Result<(), CliError> {
    needs_postgres(opened)?;
    let records = records(opened.db()).await?;
    if json {
        let all: Vec<Value> = records
            .iter()
            .map(|record| {
                json!({
                    "partition": record.partition, "id_from": record.id_from, "id_to": record.id_to,
                    "totals": record.totals, "over_since": output::moment(grantlog_domain::Timestamp(record.over_since)),
                    "file": record.file, "bytes": record.file_bytes, "sha256": record.file_sha256,
                    "kept": record.kept,
                    "archived_at": output::moment(grantlog_domain::Timestamp(record.archived_at)),
                })
            })
            .collect();
        return output::json(&all);
    }
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let archived = output::moment(grantlog_domain::Timestamp(record.archived_at));
            let (events, sha256) = (record.totals.events.to_string(), record.file_sha256.clone());
            vec![record.partition.clone(), archived, events, record.file.clone(), sha256]
        })
        .collect();
    output::table(&["PARTITION", "ARCHIVED", "EVENTS", "FILE", "SHA256"], &rows)
}

/// Makes the partitions that are missing, and shows all.
pub(super) async fn partitions(opened: &Opened, json: bool) -> Result<(), CliError> {
    needs_postgres(opened)?;
    match opened.store.ensure_partitions().await? {
        Ensured::NotAllowed => output::message("this role may not make partitions: the owner of the events has to"),
        Ensured::Busy => output::message("somebody else is making partitions or archiving"),
        Ensured::Made(_) | Ensured::None => {}
    }
    let partitions = opened.store.partitions().await?;
    let ends = |partition: &Partition| {
        let from = partition.range.as_ref().and_then(|range| range.from).map(|from| output::moment(from.timestamp()));
        let to = partition.range.as_ref().map(|range| output::moment(range.to.timestamp()));
        (from, to)
    };
    if json {
        let all = partitions.iter().map(|partition| {
            let (from, to) = ends(partition);
            json!({
                "name": partition.name, "from": from, "to": to, "default": partition.range.is_none(),
                "bytes": partition.bytes, "events_estimated": partition.events,
            })
        });
        return output::json(&all.collect::<Vec<Value>>());
    }
    let rows: Vec<Vec<String>> = partitions
        .iter()
        .map(|partition| {
            let (from, to) = ends(partition);
            let (from, to) = (from.unwrap_or_default(), to.unwrap_or_else(|| "(what has no other)".to_owned()));
            vec![partition.name.clone(), from, to, partition.events.to_string(), partition.bytes.to_string()]
        })
        .collect();
    output::table(&["PARTITION", "FROM", "TO", "EVENTS~", "BYTES"], &rows)
}

fn needs_postgres(opened: &Opened) -> Result<(), CliError> {
    if opened.db().is_postgres() { Ok(()) } else { Err(ArchiveError::NeedsPostgres.into()) }
}

impl From<ArchiveError> for CliError {
    fn from(error: ArchiveError) -> Self {
        let text = error.to_string();
        match error {
            ArchiveError::NeedsPostgres | ArchiveError::NotOwner | ArchiveError::FileExists(_) => {
                CliError::Refused(text)
            }
            ArchiveError::Busy | ArchiveError::InUse => CliError::Unavailable(text),
            ArchiveError::File { .. } | ArchiveError::Differs(..) | ArchiveError::Changed(_) => CliError::Failed(text),
            ArchiveError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_hours_days_or_weeks() {
        assert_eq!(age("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(age("2w"), age("14d"));
        assert_eq!(age("36h"), Ok(Duration::from_secs(36 * 3600)));
        for wrong in ["", "d", "90", "-1d", "1.5d", "90m", "9é", "99999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
