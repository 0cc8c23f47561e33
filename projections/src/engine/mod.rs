//! The engine that keeps the table projections up to date: reads the ordered feed, folds batches, commits rows and
//! checkpoint together. Any number of processes may run it; each table is kept by one of them at a time.

mod batch;
pub(crate) mod builds;
mod leader;
pub(crate) mod projection;
pub(crate) mod step;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use builds::{prepare, prepare_new};
pub(crate) use leader::keepers;
pub use leader::node_name;
pub use projection::{Projection, is_known, names, of as projection_of};

use crate::checkpoint;
use crate::db::DbError;
use crate::feed::{Appended, Cursor, Fault, Stored, Wake, ordered};
use crate::live::Now;
use crate::log::Log;
use leader::Leader;
use step::{Progress, Stepped};

/// Shortest pause after a round that reached the end: what is appended meanwhile is taken in together, which costs less.
const BREATH: Duration = Duration::from_millis(50);
/// Longest pause between two attempts while the database is unavailable.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Seconds for which a row stays after it has expired.
pub const EXPIRED_KEPT_SECONDS: i64 = 3600;
/// Rows that one sweep removes at most.
pub const SWEEP_MAX: i64 = 500;
/// How often the tables are swept while there is little to remove.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Pause after a sweep that left something behind, as a multiple of the time that it took: it keeps the database busy
/// for a quarter of the time, and removes more than any load adds.
const SWEEP_PAUSE: u32 = 3;

/// How long to wait after a sweep.
fn sweep_pause(took: Duration, found_full: bool) -> Duration {
    if found_full { (took * SWEEP_PAUSE).min(SWEEP_EVERY) } else { SWEEP_EVERY }
}

/// How to keep the table projections.
#[derive(Clone, Debug)]
pub struct ProjectorOptions {
    /// Longest pause between two reads when nothing wakes it; 100 ms by default.
    pub interval: Duration,
    /// Most events of one transaction; 2000 by default.
    pub batch: i64,
    pub now: Now,
}

impl ProjectorOptions {
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self { interval: Duration::from_millis(100), batch: 2000, now }
    }
}

/// Where to look at what the engine does, also when who started it is elsewhere. Clones share it.
#[derive(Clone, Debug)]
pub struct ProjectorWatch(Arc<Mutex<ProjectorStatus>>);

impl ProjectorWatch {
    #[must_use]
    pub fn status(&self) -> ProjectorStatus {
        self.0.lock().clone()
    }
}

/// What this process does for the table projections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectorStatus {
    /// Names of the projections that this process keeps now.
    pub keeps: Vec<&'static str>,
    /// Events that this process has taken in since its start, counted once for each table.
    pub events: u64,
    /// Why the engine stands still: a newer version wrote what this one does not know.
    pub stopped: Option<String>,
    /// Why the last attempt failed, for all tables or for some of those that this process keeps.
    pub error: Option<String>,
    /// How many tables this process keeps and cannot go on with, each after a pause of its own.
    pub failing: usize,
}

/// The running engine. Dropping it ends it; the transaction under way is rolled back and done again by the next one.
#[derive(Debug)]
pub struct Projector {
    status: Arc<Mutex<ProjectorStatus>>,
    appended: Appended,
    stop: watch::Sender<bool>,
    running: watch::Receiver<()>,
    task: Option<JoinHandle<()>>,
}

impl Projector {
    /// Starts the engine. Call [`prepare`] first. While the database is unavailable it tries again for ever.
    #[must_use]
    pub fn start(log: &Log, wake: &Wake, options: ProjectorOptions) -> Self {
        Self::with(log, wake, options, projection::all())
    }

    /// The same for these projections only: a program that embeds the read models can bring tables of its own, or the
    /// next version of one of them.
    #[must_use]
    pub fn with(log: &Log, wake: &Wake, options: ProjectorOptions, projections: Vec<Arc<dyn Projection>>) -> Self {
        let status = Arc::new(Mutex::new(ProjectorStatus::default()));
        let appended = Appended::default();
        let (stop, stopped) = watch::channel(false);
        let failing = projections.iter().map(|_| None).collect();
        let engine = Engine {
            leader: Leader::new(log, projections.len()),
            progress: projections.iter().map(|_| None).collect(),
            log: log.clone(),
            options,
            projections,
            status: Arc::clone(&status),
            appended: appended.clone(),
            failing,
            sweep_at: Instant::now() + SWEEP_EVERY,
        };
        let (runs, running) = watch::channel(());
        let wake = wake.clone();
        let task = tokio::spawn(async move {
            let _runs = runs;
            engine.run(wake, stopped).await;
        });
        Self { status, appended, stop, running, task: Some(task) }
    }

    #[must_use]
    pub fn status(&self) -> ProjectorStatus {
        self.status.lock().clone()
    }

    #[must_use]
    pub fn watch(&self) -> ProjectorWatch {
        ProjectorWatch(Arc::clone(&self.status))
    }

    /// Ready when the engine runs no more, whatever ended it.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut running = self.running.clone();
        async move { while running.changed().await.is_ok() {} }
    }

    /// Where to put what this process appends, so that the engine need not read it.
    #[must_use]
    pub fn appended(&self) -> Appended {
        self.appended.clone()
    }

    /// Ends the engine after the batch under way.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Engine {
    log: Log,
    options: ProjectorOptions,
    projections: Vec<Arc<dyn Projection>>,
    leader: Leader,
    /// Where each table stands; `None` while another process keeps it.
    progress: Vec<Option<Progress>>,
    status: Arc<Mutex<ProjectorStatus>>,
    appended: Appended,
    /// Tables that cannot go on; the others do.
    failing: Vec<Option<Failing>>,
    /// When to remove expired rows next.
    sweep_at: Instant,
}

/// A table that cannot go on for a reason of its own.
struct Failing {
    reason: String,
    pause: Duration,
    try_at: Instant,
}

/// What one round found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// There may be more to do.
    More,
    Idle,
}

impl Engine {
    async fn run(mut self, wake: Wake, mut stop: watch::Receiver<bool>) {
        let mut waking = wake.subscribe();
        let mut retry = self.options.interval;
        while !*stop.borrow() {
            let pause = match self.round().await {
                Ok(round) => {
                    retry = self.options.interval;
                    self.show_failure();
                    if round == Round::More {
                        continue;
                    }
                    self.options.interval.min(self.sweep_at.saturating_duration_since(Instant::now()))
                }
                Err(error) => {
                    tracing::warn!(%error, "the table projections cannot go on");
                    self.status.lock().error = Some(error.to_string());
                    retry = (retry * 2).min(RETRY_MAX);
                    retry
                }
            };
            tokio::select! {
                () = async { tokio::time::sleep(BREATH).await; waking.wait(pause).await } => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Logs the faults of tables when there is a new one.
    fn show_failure(&self) {
        let reasons: Vec<&str> = self.failing.iter().flatten().map(|failing| failing.reason.as_str()).collect();
        let error = (!reasons.is_empty()).then(|| reasons.join("; "));
        let mut status = self.status.lock();
        if error.is_some() && error != status.error {
            tracing::error!(error, "a table projection cannot go on");
        }
        status.failing = reasons.len();
        status.error = error;
    }

    /// Lets a table rest, for longer with each time that it fails.
    fn fail(&mut self, at: usize, reason: &str) {
        let reason = format!("{}: {reason}", self.projections[at].name());
        let pause = self.failing[at].take().map_or(self.options.interval, |before| (before.pause * 2).min(RETRY_MAX));
        self.progress[at] = None;
        self.failing[at] = Some(Failing { reason, pause, try_at: Instant::now() + pause });
    }

    async fn round(&mut self) -> Result<Round, DbError> {
        self.lead().await?;
        let mut by_cursor: BTreeMap<Cursor, Vec<usize>> = BTreeMap::new();
        for (at, progress) in self.progress.iter().enumerate() {
            if let Some(progress) = progress {
                by_cursor.entry(progress.checkpoint.cursor).or_default().push(at);
            }
        }
        let mut round = Round::Idle;
        let cursors: Vec<Cursor> = by_cursor.keys().copied().collect();
        // Tables at the same place share what is read. One that is behind stops where the next one stands and joins it.
        for (number, (cursor, tables)) in by_cursor.into_iter().enumerate() {
            if self.advance(cursor, cursors.get(number + 1).copied(), &tables).await? == Round::More {
                round = Round::More;
            }
        }
        let began = Instant::now();
        if began >= self.sweep_at {
            let found_full = self.sweep().await?;
            self.sweep_at = Instant::now() + sweep_pause(began.elapsed(), found_full);
        }
        Ok(round)
    }

    /// Finds out which tables are this process's to keep, and where they stand.
    async fn lead(&mut self) -> Result<(), DbError> {
        let held = self.leader.look(&self.projections).await?.to_vec();
        for (at, held) in held.into_iter().enumerate() {
            let rests = self.failing[at].as_ref().is_some_and(|failing| failing.try_at > Instant::now());
            if !held {
                (self.progress[at], self.failing[at]) = (None, None);
            } else if self.progress[at].is_none() && !rests {
                let projection = &self.projections[at];
                let mut tx = self.log.begin_read().await?;
                let active = checkpoint::active(&mut tx, projection.name(), projection.version()).await?;
                tx.rollback().await?;
                match active {
                    Some(active) => self.progress[at] = Some(Progress::of(&self.log, active).await?),
                    // Dropped by another version, or by hand.
                    None => self.fail(at, "its table is not there any more; a start of this version makes it again"),
                }
            }
        }
        self.appended.want(self.progress.iter().any(Option::is_some));
        let keeps = self.projections.iter().zip(&self.progress);
        let keeps = keeps.filter(|(_, progress)| progress.is_some()).map(|(projection, _)| projection.name()).collect();
        self.status.lock().keeps = keeps;
        Ok(())
    }

    async fn advance(&mut self, from: Cursor, until: Option<Cursor>, tables: &[usize]) -> Result<Round, DbError> {
        let mut events = ordered::read_beside(&self.log, from, self.options.batch, &self.appended).await?;
        let full = events.len() as i64 >= self.options.batch;
        if let Some(until) = until {
            events.truncate(events.partition_point(|event| event.cursor <= until));
        }
        self.stop_before_unknown(&mut events);
        if events.is_empty() {
            return Ok(Round::Idle);
        }
        if self.advance_together(tables, &events).await? {
            tables.iter().for_each(|&table| self.failing[table] = None);
            return Ok(if full { Round::More } else { Round::Idle });
        }
        let mut advanced = false;
        for &table in tables {
            let Some(progress) = &mut self.progress[table] else { continue };
            match progress.step(&self.log, &*self.projections[table], &events).await {
                Ok(Stepped::Done) => {
                    advanced = true;
                    self.failing[table] = None;
                    self.status.lock().events += events.len() as u64;
                }
                // Switched by a rebuild, or another process has taken over: look again.
                Ok(Stepped::Lost) => self.progress[table] = None,
                Err(error) if error.is_unavailable() => return Err(error),
                // The fault of one table must not stop the others.
                Err(error) => self.fail(table, &error.to_string()),
            }
        }
        // One that failed finds as much to do the next time, and must not be tried without a pause.
        Ok(if full && advanced { Round::More } else { Round::Idle })
    }

    /// One transaction for all tables; answers whether they have taken in the events.
    async fn advance_together(&mut self, tables: &[usize], events: &[Stored]) -> Result<bool, DbError> {
        let all = self.progress.iter_mut().zip(&self.projections).enumerate();
        let mut together: Vec<(&mut Progress, &dyn Projection)> = all
            .filter(|(at, _)| tables.contains(at))
            .filter_map(|(_, (progress, projection))| Some((progress.as_mut()?, &**projection)))
            .collect();
        let done = step::together(&self.log, &mut together, events).await?;
        if done {
            self.status.lock().events += (events.len() * tables.len()) as u64;
        }
        Ok(done)
    }

    fn stop_before_unknown(&self, events: &mut Vec<Stored>) {
        let unknown = events.iter().position(|event| event.event.as_ref().is_err_and(Fault::stops));
        let stopped = unknown.map(|at| {
            let reason = match &events[at].event {
                Err(fault) => fault.to_string(),
                Ok(_) => String::new(),
            };
            events.truncate(at);
            reason
        });
        let mut status = self.status.lock();
        if stopped.is_some() && status.stopped != stopped {
            tracing::error!(reason = stopped, "the table projections stop here: update this node");
        }
        if stopped.is_some() || !events.is_empty() {
            status.stopped = stopped;
        }
    }

    /// Removes rows that are long of no use, a bounded number from each table. Answers whether some table has more.
    async fn sweep(&self) -> Result<bool, DbError> {
        let now = self.options.now.get().0;
        let mut found_full = false;
        for (projection, progress) in self.projections.iter().zip(&self.progress) {
            let (Some(progress), Some(_)) = (progress, projection.expires()) else { continue };
            // Not beyond what the log has told: a later event must find the rows that it speaks of.
            let horizon = now.min(progress.checkpoint.recorded_at / 1000) - EXPIRED_KEPT_SECONDS;
            let mut tx = self.log.begin_rebuildable().await?;
            if checkpoint::lock(&mut tx, &progress.checkpoint.table_name).await?.is_some() {
                let removed = projection.sweep(&mut tx, &progress.checkpoint.table_name, horizon, SWEEP_MAX).await?;
                found_full |= removed >= SWEEP_MAX.unsigned_abs();
            }
            tx.commit().await?;
        }
        Ok(found_full)
    }
}
