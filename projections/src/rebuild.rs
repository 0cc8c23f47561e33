//! Building a table anew beside the one that answers, and switching when it has caught up.
//!
//! The old table answers and is kept meanwhile. An interrupted build goes on where it stopped, because the new table has
//! its own checkpoint. The switch is one transaction; only then is the old table dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantlog_domain::Timestamp;

use crate::base;
use crate::check::{self, Comparison};
use crate::checkpoint::{self, Checkpoint};
use crate::db::{Db, DbError, Scan};
use crate::engine::builds::{self, Indexes};
use crate::engine::projection::{Projection, named};
use crate::engine::step::{Progress, Stepped};
use crate::feed::pages::{Entries, Pages, Which};
use crate::feed::{Cursor, Entry, Fault, Stored, ordered};
use crate::log::Log;
use crate::read_models;

/// Most events of one transaction of a build.
const STEP_MAX: usize = 4096;
/// The same on SQLite while others write, who wait for it. While nobody does, each is twice the last one: then a page of
/// an index is written once for more rows.
const STEP_SQLITE: usize = 512;
/// Least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// How long to wait for events that the ordered feed must not show yet.
const WAIT: Duration = Duration::from_millis(20);
/// Longest wait for the old table to come as far as the new one, when somebody keeps it.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// How often a lock that readers hold is waited for; each wait lasts as long as the database lets it.
const ATTEMPTS_MAX: u32 = 20;

/// How far a build is. Positions stand for events; a few of them may never have been used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RebuildProgress {
    pub done: i64,
    pub total: i64,
    /// Events a second since this build began or went on.
    pub rate: f64,
    /// Time left at this rate; `None` before there is one.
    pub remaining: Option<Duration>,
}

/// What a rebuild did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    pub name: String,
    pub table_name: String,
    /// The table that answered before and was dropped.
    pub replaced: Option<String>,
    /// Tables of other versions that were dropped, because no process keeps them any more.
    pub dropped: Vec<String>,
    /// Events taken in by this call.
    pub events: u64,
    /// Whether it went on with a build that was interrupted.
    pub resumed: bool,
    /// Old and new at the same place in the log.
    pub comparison: Option<Comparison>,
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("there is no projection {0}")]
    UnknownProjection(String),
    /// The old table goes on answering.
    #[error("{0}")]
    UnknownType(String),
    #[error("another rebuild of this projection is under way")]
    Busy,
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Builds the table of `name` anew from the log and lets it answer. `now`: rows that have expired are left out of the
/// comparison, because they leave at different times.
pub async fn rebuild(
    log: &Log,
    name: &str,
    now: Timestamp,
    report: impl FnMut(RebuildProgress) + Send,
) -> Result<Rebuilt, RebuildError> {
    let projection = named(name).ok_or_else(|| RebuildError::UnknownProjection(name.to_owned()))?;
    build_anew(log, projection, now, report).await
}

/// The same for a projection that need not be one of this program: see [`crate::engine::projection_of`].
pub async fn build_anew(
    log: &Log,
    projection: Arc<dyn Projection>,
    now: Timestamp,
    mut report: impl FnMut(RebuildProgress) + Send,
) -> Result<Rebuilt, RebuildError> {
    read_models::are_ours(log).await?;
    base::verify(log).await?;
    let (new, resumed) = begin(log, &*projection).await?;
    let mut build = Build::new(log, projection, new).await?;
    // No further than the table that answers, so that the two can be compared however slowly that one is kept.
    let answers = build.active().await?;
    build.run_to(answers, &mut report).await?;
    let comparison = build.compare(now, &mut report).await?;
    // The rest of the log too before the indexes are made: where the old table is far behind, that is most of it.
    build.run_to(None, &mut report).await?;
    builds::add_indexes(log, &*build.projection, &build.progress.checkpoint.table_name).await?;
    let replaced = build.switch(&mut report).await?;
    let dropped = builds::drop_others(log, &*build.projection).await?;
    Ok(Rebuilt {
        name: build.projection.name().to_owned(),
        table_name: build.progress.checkpoint.table_name,
        replaced,
        dropped,
        events: build.events,
        resumed,
        comparison,
    })
}

/// The build to work on, and whether somebody began it before.
async fn begin(db: &Db, projection: &dyn Projection) -> Result<(Checkpoint, bool), DbError> {
    let mut tx = db.begin().await?;
    builds::exclusively(&mut tx).await?;
    let mut found = checkpoint::building(&mut tx, projection.name(), projection.version()).await?.into_iter();
    let begun = match found.rfind(|build| !check::is_scratch(&build.table_name)) {
        Some(build) if !builds::is_there(&mut tx, &build.table_name).await? => {
            builds::forget(&mut tx, &build.table_name).await?;
            (builds::make(&mut tx, projection, indexes(db)).await?, false)
        }
        Some(build) => {
            read_models::check_owned(&mut tx, &[&build.table_name]).await?;
            (build, true)
        }
        None => (builds::make(&mut tx, projection, indexes(db)).await?, false),
    };
    tx.commit().await?;
    Ok(begun)
}

/// SQLite has one writer, so making an index of a full table would keep all others waiting.
const fn indexes(db: &Db) -> Indexes {
    if db.is_postgres() { Indexes::Later } else { Indexes::Now }
}

/// What a build takes from some events of the log.
struct Batch {
    /// Those of the aggregates that the table reads, and the last one, which says how far it goes.
    events: Vec<Stored>,
    /// How many there were.
    count: u64,
    /// Why it ends before the first event that this version does not know, or whose key this node does not have.
    unknown: Option<String>,
}

impl Batch {
    fn of(entries: &Entries<'_>, aggregates: &[&str], until: Option<Cursor>) -> Result<Self, DbError> {
        let mut batch = Self { events: Vec::new(), count: 0, unknown: None };
        let mut left_out = None;
        for entry in entries.iter() {
            let entry = entry?;
            if until.is_some_and(|until| entry.cursor > until) {
                break;
            }
            if let Err(unknown) = entry.known() {
                batch.unknown = Some(unknown.to_string());
                break;
            }
            batch.count += 1;
            if aggregates.contains(&entry.aggregate_type) {
                batch.events.push(entry.stored());
                left_out = None;
            } else {
                left_out = Some(entry);
            }
        }
        batch.events.extend(left_out.map(Entry::stored));
        Ok(batch)
    }

    /// Ends it before the first event under a key that is not here, if there is such a key.
    async fn settle(&mut self, log: &Log) -> Result<(), DbError> {
        self.events = log.settle_all(std::mem::take(&mut self.events)).await?;
        let stop = self.events.iter().position(|stored| stored.event.as_ref().is_err_and(Fault::stops));
        if let Some(at) = stop {
            self.unknown = self.events[at].event.as_ref().err().map(ToString::to_string);
            self.events.truncate(at);
        }
        Ok(())
    }
}

/// A table being filled from the log.
pub(crate) struct Build<'a> {
    db: &'a Log,
    projection: Arc<dyn Projection>,
    pub(crate) progress: Progress,
    pub(crate) events: u64,
    began: Instant,
    began_at: i64,
    reported: Option<Instant>,
    /// See [`Db::foreign_commits`].
    foreign_commits: Option<i64>,
    /// Most events of the next transaction.
    step: usize,
}

impl<'a> Build<'a> {
    pub(crate) async fn new(
        db: &'a Log,
        projection: Arc<dyn Projection>,
        checkpoint: Checkpoint,
    ) -> Result<Self, DbError> {
        let began_at = checkpoint.cursor.position;
        let progress = Progress::of(db, checkpoint).await?;
        let (began, foreign_commits) = (Instant::now(), db.foreign_commits().await?);
        let step = if db.is_postgres() { STEP_MAX } else { STEP_SQLITE };
        Ok(Self { db, projection, progress, events: 0, began, began_at, reported: None, foreign_commits, step })
    }

    /// Where the table that answers stands; `None` when there is none.
    async fn active(&self) -> Result<Option<Cursor>, DbError> {
        let mut tx = self.db.begin_read().await?;
        let active = checkpoint::active(&mut tx, self.projection.name(), self.projection.version()).await?;
        tx.rollback().await?;
        Ok(active.map(|active| active.cursor))
    }

    /// Takes in the log up to `until`, or to its end as it is then.
    pub(crate) async fn run_to(
        &mut self,
        until: Option<Cursor>,
        report: &mut (impl FnMut(RebuildProgress) + Send),
    ) -> Result<(), RebuildError> {
        let total = match until {
            Some(until) => until.position,
            None => ordered::end(self.db).await?,
        };
        let aggregates = self.projection.aggregates();
        let batch = move |entries: &Entries<'_>| Batch::of(entries, aggregates, until);
        let mut pages = Pages::read(self.db, self.progress.checkpoint.cursor, Which::SettledAndBase, batch);
        // The next events are read and decoded while these are written.
        while let Some(mut batch) = pages.next().await? {
            batch.settle(self.db).await?;
            // What was read beyond the end is left out.
            let mut left = &batch.events[..];
            while !left.is_empty() {
                let (events, rest) = left.split_at(self.step.min(left.len()));
                left = rest;
                let began = Instant::now();
                if self.progress.step(self.db, &*self.projection, events).await? == Stepped::Lost {
                    return Err(RebuildError::Busy);
                }
                self.give_way(began.elapsed()).await?;
                self.report(total, false, report);
            }
            self.events += batch.count;
            if let Some(unknown) = batch.unknown {
                return Err(RebuildError::UnknownType(unknown));
            }
            if batch.count == 0 {
                break;
            }
        }
        self.report(total, true, report);
        Ok(())
    }

    /// SQLite's lock has no queue: whoever takes it again at once starves the other processes.
    async fn give_way(&mut self, took: Duration) -> Result<(), DbError> {
        let before = std::mem::replace(&mut self.foreign_commits, self.db.foreign_commits().await?);
        if before != self.foreign_commits {
            self.step = STEP_SQLITE;
            tokio::time::sleep(took).await;
        } else {
            self.step = (self.step * 2).min(STEP_MAX);
        }
        Ok(())
    }

    fn report(&mut self, total: i64, now: bool, report: &mut (impl FnMut(RebuildProgress) + Send)) {
        if !now && self.reported.is_some_and(|reported| reported.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        let done = self.progress.checkpoint.cursor.position;
        let rate = (done - self.began_at) as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let left = (total - done).max(0) as f64;
        let remaining = (rate > 0.0).then(|| Duration::try_from_secs_f64(left / rate).ok()).flatten();
        report(RebuildProgress { done, total: total.max(done), rate, remaining });
    }

    /// Compares with the table that answers, at the same place in the log and without holding it up.
    pub(crate) async fn compare(
        &mut self,
        now: Timestamp,
        report: &mut (impl FnMut(RebuildProgress) + Send),
    ) -> Result<Option<Comparison>, RebuildError> {
        let (name, version) = (self.projection.name(), self.projection.version());
        loop {
            // From here on the snapshot's rows stand still, while the table itself goes on.
            let mut snapshot = Scan::open(self.db).await?;
            snapshot.begin().await?;
            let Some((active, at)) = checkpoint::active_in(&mut snapshot, name, version).await? else {
                return Ok(None);
            };
            if at >= self.progress.checkpoint.cursor {
                self.run_to(Some(at), report).await?;
                let tables = [active.as_str(), &self.progress.checkpoint.table_name];
                let comparison = check::compare(self.db, &mut snapshot, &*self.projection, tables, now).await?;
                return Ok(Some(comparison));
            }
            drop(snapshot);
            tokio::time::sleep(WAIT).await;
            if !self.is_kept(at).await? {
                return Ok(None);
            }
        }
    }

    /// Whether the table that answers moves: nobody may be keeping it, or somebody who is slow.
    async fn is_kept(&self, before: Cursor) -> Result<bool, DbError> {
        let (began, mut kept_at) = (Instant::now(), Instant::now());
        while began.elapsed() < STANDSTILL_MAX && kept_at.elapsed() < builds::UNKEPT_FOR {
            if self.active().await?.is_none_or(|active| active != before) {
                return Ok(true);
            }
            if !builds::is_unkept(self.db, &*self.projection).await? {
                kept_at = Instant::now();
            }
            tokio::time::sleep(WAIT).await;
        }
        Ok(false)
    }

    /// Lets the new table answer, and then drops the old one. Answers the one that was replaced.
    async fn switch(
        &mut self,
        report: &mut (impl FnMut(RebuildProgress) + Send),
    ) -> Result<Option<String>, RebuildError> {
        let mut attempts = 0;
        let old = loop {
            self.run_to(None, report).await?;
            match self.try_switch().await {
                Ok(Some(old)) => break old,
                // The old table has gone on meanwhile.
                Ok(None) => {}
                // Somebody reads through the view for long.
                Err(RebuildError::Database(error)) if error.is_unavailable() && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    tokio::time::sleep(WAIT).await;
                }
                Err(error) => return Err(error),
            }
        };
        if let Some(old) = &old {
            drop_when_unread(self.db, old).await?;
        }
        Ok(old)
    }

    /// One transaction; it changes nothing when the new table is behind the old one. Answers the table that answered
    /// before, if any.
    async fn try_switch(&self) -> Result<Option<Option<String>>, RebuildError> {
        let (name, version) = (self.projection.name(), self.projection.version());
        let mut tx = self.db.begin().await?;
        builds::exclusively(&mut tx).await?;
        let old = match checkpoint::active(&mut tx, name, version).await? {
            Some(old) => checkpoint::lock(&mut tx, &old.table_name).await?,
            None => None,
        };
        let new = checkpoint::lock(&mut tx, &self.progress.checkpoint.table_name).await?;
        let Some(new) = new else { return Err(RebuildError::Busy) };
        if old.as_ref().is_some_and(|old| old.cursor > new.cursor) {
            tx.rollback().await?;
            return Ok(None);
        }
        builds::answer_with(&mut tx, &*self.projection, &new.table_name).await?;
        if let Some(old) = &old {
            // In the same transaction, so that nobody takes it for a build that can be gone on with.
            builds::forget(&mut tx, &old.table_name).await?;
        }
        tx.commit().await?;
        Ok(Some(old.map(|old| old.table_name)))
    }
}

/// Drops a table that nobody finds any more, when those who still read it have ended.
async fn drop_when_unread(db: &Db, table_name: &str) -> Result<(), DbError> {
    let mut attempts = 0;
    loop {
        let mut tx = db.begin().await?;
        let dropped = match builds::drop_table(&mut tx, table_name).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        match dropped {
            Err(error) if error.is_unavailable() && attempts < ATTEMPTS_MAX => {
                attempts += 1;
                tokio::time::sleep(WAIT).await;
            }
            outcome => return outcome,
        }
    }
}
