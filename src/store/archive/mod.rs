//! Taking old grants out of the log (PostgreSQL): a partition all of whose grants are over is written to a file, the file
//! is read back and compared with the table, what the read models still show of it is laid aside, and only then is it
//! detached and dropped. docs/decisions/0006 says why so.
//!
//! Each step can be the last one of this process: the next run goes on. The partition leaves the log in one transaction,
//! together with the row in `archives` that says in which file it is.

mod error;
mod format;
mod reader;
mod rows;
mod switch;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use grantlog_domain::Timestamp;
use grantlog_projections::base;
use grantlog_projections::db::Db;
use grantlog_projections::read_models;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use error::ArchiveError;
pub use format::{ArchivedEvent, Header, LogIdentity, Totals, Trailer};
pub use reader::{ArchiveFileError, Reader, Verified};
pub use switch::{Record, records};

use super::Store;
use super::partitions::{self, Partition, Range};
use rows::{Over, Scan};
use writer::{Writer, Written};

/// Name and version of this program, as files and rows have it.
const PROGRAM: &str = concat!("grantlog ", env!("CARGO_PKG_VERSION"));
/// How often a partition that changes while it is written is begun anew.
const ATTEMPTS: u32 = 3;

/// What to archive, and where to.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// Nothing that was recorded later or was of use later than so long ago leaves the log.
    pub older_than: Duration,
    /// An existing folder.
    pub folder: PathBuf,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Detach, but do not drop.
    pub keep: bool,
    /// The same database as the role sees it that the read models belong to; `None` when that is this one.
    pub read_models: Option<Db>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A partition with so many events.
    Begun {
        partition: &'a str,
        events: u64,
    },
    /// Events written, or compared, since the last report.
    Events(u64),
    Reached(Stage),
}

/// What is done with a partition, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The file is on disk under a temporary name.
    Written,
    /// It holds what the table holds.
    Compared,
    /// It has its name.
    Named,
    /// What the read models still show is laid aside.
    Based,
    /// The partition is no longer of the log.
    Detached,
    /// Its table is gone.
    Dropped,
}

/// One partition that a run looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    pub partition: String,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done {
        file: PathBuf,
        bytes: u64,
        sha256: String,
        totals: Totals,
        base_events: i64,
    },
    /// A dry run: it could be archived.
    Possible {
        totals: Totals,
    },
    /// It stays, and why.
    Stays(String),
    /// An earlier run had come as far as detaching it; now its table is dropped.
    Finished {
        file: PathBuf,
    },
}

impl Store {
    /// Archives every partition of the grants' events that is old enough, the oldest first.
    ///
    /// # Errors
    /// [`ArchiveError`]; partitions that were done before stay done, and another run goes on.
    pub async fn archive(
        &self,
        options: &ArchiveOptions,
        progress: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<Vec<Archived>, ArchiveError> {
        let Db::Postgres(pool) = self.db() else { return Err(ArchiveError::NeedsPostgres) };
        let mut session = partitions::session(pool).await?;
        if !partitions::may(&mut session).await? {
            return Err(ArchiveError::NotOwner);
        }
        // Before anything is written.
        read_models::are_ours(options.read_models.as_ref().unwrap_or(self.db())).await?;
        if !partitions::try_exclusively(&mut session).await? {
            return Err(ArchiveError::Busy);
        }
        let folder = fs::canonicalize(&options.folder).map_err(|error| file_error(&options.folder, &error))?;
        let cutoff = Timestamp(self.0.clock.now().0 - i64::try_from(options.older_than.as_secs()).unwrap_or(i64::MAX));
        let mut run = Run { store: self, session, folder, cutoff, options, progress };
        let mut archived = run.finish_earlier().await?;
        for partition in partitions::list_on(&mut run.session).await? {
            let Some(range) = partition.range else {
                archived.extend(run.look_at_default(&partition).await?);
                continue;
            };
            // Grants are made at the earliest when their ids are, so a younger end means younger grants.
            if range.to.timestamp() > cutoff {
                continue;
            }
            let outcome = run.archive(&partition, &range).await?;
            archived.push(Archived { partition: partition.name, outcome });
        }
        let _ = run.session.close().await;
        Ok(archived)
    }
}

struct Run<'a> {
    store: &'a Store,
    /// Holds the lock against other runs.
    session: PgConnection,
    folder: PathBuf,
    cutoff: Timestamp,
    options: &'a ArchiveOptions,
    progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
}

impl Run<'_> {
    async fn archive(&mut self, partition: &Partition, range: &Range) -> Result<Outcome, ArchiveError> {
        let mut attempts = 1;
        loop {
            match self.attempt(partition, range).await {
                Err(ArchiveError::Changed(_)) if attempts < ATTEMPTS => attempts += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&mut self, partition: &Partition, range: &Range) -> Result<Outcome, ArchiveError> {
        let name = partition.name.as_str();
        let mut scan = Scan::begin(&mut self.session, name).await?;
        let totals = scan.totals;
        (self.progress)(Progress::Begun { partition: name, events: totals.events });
        if let Some(reason) = base::objection(self.store.db(), scan.last).await? {
            return Ok(Outcome::Stays(reason));
        }
        if self.options.dry_run {
            let progress = &mut *self.progress;
            let over = scan
                .each(self.cutoff, |_| {
                    progress(Progress::Events(1));
                    Ok(())
                })
                .await?;
            return Ok(match over {
                Over::Since(_) => Outcome::Possible { totals },
                Over::NotYet(reason) => Outcome::Stays(reason),
            });
        }
        let file = self.folder.join(format!("{name}.ndjson.zst"));
        let partial = self.folder.join(format!(".{name}.partial"));
        let header = header(&mut scan, name, range, self.store.0.clock.now()).await?;
        may_be_replaced(&file, &header)?;
        let progress = &mut *self.progress;
        let written = match write(&mut scan, &partial, &header, self.cutoff, progress).await {
            Ok(Ok(written)) => written,
            Ok(Err(reason)) => {
                let _ = fs::remove_file(&partial);
                return Ok(Outcome::Stays(reason));
            }
            Err(error) => return Err(error),
        };
        progress(Progress::Reached(Stage::Written));
        compare(&mut scan, &partial, &header, &written, progress).await?;
        scan.end().await?;
        progress(Progress::Reached(Stage::Compared));
        fs::rename(&partial, &file)
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(|error| file_error(&file, &error))?;
        progress(Progress::Reached(Stage::Named));
        let read_models = self.options.read_models.as_ref().unwrap_or(self.store.db());
        let base = base::renew(self.store.db(), read_models, name, totals.last_position).await?;
        progress(Progress::Reached(Stage::Based));
        let record = Record::new(name, range, &written, &file, self.options.keep);
        switch::detach(&mut self.session, &record).await?;
        progress(Progress::Reached(Stage::Detached));
        if !self.options.keep {
            switch::drop_detached(&mut self.session, name).await?;
            progress(Progress::Reached(Stage::Dropped));
        }
        let (bytes, sha256) = (written.bytes, written.sha256);
        Ok(Outcome::Done { file, bytes, sha256, totals, base_events: base.events })
    }

    /// Drops what an earlier run detached and did not come to drop, where its file is still whole.
    async fn finish_earlier(&mut self) -> Result<Vec<Archived>, ArchiveError> {
        let mut finished = Vec::new();
        for left in switch::left_behind(&mut self.session).await? {
            let file = PathBuf::from(&left.file);
            let is_whole =
                Reader::open(&file).and_then(Reader::verify).is_ok_and(|found| found.sha256 == left.file_sha256);
            let outcome = match (is_whole, self.options.dry_run) {
                (false, _) => Outcome::Stays(format!(
                    "it is detached, but {} is not the file that was written: bring that back, then run this again",
                    file.display()
                )),
                (true, true) => Outcome::Stays("it is detached and would be dropped".to_owned()),
                (true, false) => {
                    switch::drop_detached(&mut self.session, &left.partition).await?;
                    Outcome::Finished { file }
                }
            };
            finished.push(Archived { partition: left.partition, outcome });
        }
        Ok(finished)
    }

    /// What no partition was there for cannot be archived; better said than forgotten.
    async fn look_at_default(&mut self, partition: &Partition) -> Result<Option<Archived>, ArchiveError> {
        let events = rows::older_than(&mut self.session, &partition.name, self.cutoff).await?;
        let reason = format!(
            "it holds {events} events that are old enough but were appended when no partition was there for them: they stay"
        );
        Ok((events > 0).then(|| Archived { partition: partition.name.clone(), outcome: Outcome::Stays(reason) }))
    }
}

async fn header(scan: &mut Scan<'_>, name: &str, range: &Range, now: Timestamp) -> Result<Header, ArchiveError> {
    let written_at = OffsetDateTime::from_unix_timestamp(now.0).ok().and_then(|at| at.format(&Rfc3339).ok());
    Ok(Header {
        format: format::FORMAT,
        program: PROGRAM.to_owned(),
        log: scan.log_identity().await?,
        aggregate_type: "grant".to_owned(),
        partition: name.to_owned(),
        id_from: range.from.map(super::Bound::id),
        id_to: range.to.id(),
        written_at: written_at.unwrap_or_default(),
        totals: scan.totals,
    })
}

/// A file of that name is replaced only when it is an earlier attempt at the same partition of the same log.
fn may_be_replaced(file: &Path, header: &Header) -> Result<(), ArchiveError> {
    if !file.try_exists().map_err(|error| file_error(file, &error))? {
        return Ok(());
    }
    match Reader::open(file) {
        Ok(found) if found.header().log == header.log && found.header().partition == header.partition => Ok(()),
        _ => Err(ArchiveError::FileExists(file.to_owned())),
    }
}

/// Writes the file. The inner error is why the partition must stay.
async fn write(
    scan: &mut Scan<'_>,
    path: &Path,
    header: &Header,
    cutoff: Timestamp,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Result<Written, String>, ArchiveError> {
    let failed = |error: std::io::Error| file_error(path, &error);
    let mut writer = Writer::create(path, header).map_err(failed)?;
    let over = scan
        .each(cutoff, |event| {
            writer.event(event).map_err(failed)?;
            progress(Progress::Events(1));
            Ok(())
        })
        .await?;
    let over_since = match over {
        Over::Since(over_since) => over_since,
        Over::NotYet(reason) => return Ok(Err(reason)),
    };
    if *writer.totals() != header.totals {
        return Err(ArchiveError::Differs(path.to_owned(), "other counts".to_owned()));
    }
    writer.finish(over_since.0).map(Ok).map_err(failed)
}

/// Reads the file back beside the table: each event as it is stored, none more, none less.
async fn compare(
    scan: &mut Scan<'_>,
    path: &Path,
    header: &Header,
    written: &Written,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<(), ArchiveError> {
    let differs = |what: String| ArchiveError::Differs(path.to_owned(), what);
    let mut reader = Reader::open(path).map_err(|error| differs(error.to_string()))?;
    scan.each(Timestamp(i64::MAX), |event| {
        progress(Progress::Events(1));
        match reader.next_event() {
            Ok(Some(found)) if found == event => Ok(()),
            Ok(_) => Err(differs(format!("{} {} is another one", event.aggregate_id, event.sequence))),
            Err(error) => Err(differs(error.to_string())),
        }
    })
    .await?;
    let verified = reader.verify().map_err(|error| differs(error.to_string()))?;
    let is_same = verified.header == *header
        && verified.trailer == written.trailer
        && (verified.bytes, verified.sha256) == (written.bytes, written.sha256.clone());
    if is_same { Ok(()) } else { Err(differs("its head or its end".to_owned())) }
}

fn file_error(path: &Path, error: &std::io::Error) -> ArchiveError {
    ArchiveError::File { path: path.to_owned(), reason: error.to_string() }
}
