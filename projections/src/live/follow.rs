//! Keeping the live models up to date: the task that reads the eager feed, and how far it has come.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantlog_domain::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Live, SHARDS};
use crate::db::DbError;
use crate::feed::eager::{Eager, KNOWN_MAX};
use crate::feed::{Entry, Fault, Stored, Wake};
use crate::log::Log;
use crate::ticks::{TICK, Tick};

/// Longest pause between two attempts while the database is unavailable.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Longest that the first read after a success may take. Twice as long after each that took too long, up to
/// [`READ_MAX`]: a slow database must be read at last, a dead connection must be noticed soon.
const READ: Duration = Duration::from_secs(1);
/// More than that the server does not give a statement.
const READ_MAX: Duration = Duration::from_secs(16);
/// Connections of the follower's own: when requests hold all others, the models must not grow old as well.
const CONNECTIONS: u32 = 2;
/// Shortest pause between two reads: appends that come close together are read together.
const BREATH: Duration = Duration::from_millis(5);
/// How long one look at all that is held takes at least, for what has expired: a part at a time. What has expired is not
/// answered with meanwhile, so only memory waits; and with many millions held each look costs.
const SWEEP_ALL: Duration = Duration::from_secs(60);
/// How often a part is looked at, at most.
const SWEEP_EVERY: Duration = Duration::from_micros(SWEEP_ALL.as_micros() as u64 / SHARDS as u64);

/// The time, as the caller's clock has it.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Now {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    #[must_use]
    pub fn get(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Now")
    }
}

/// How to follow the log.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// Longest pause between two reads when nothing wakes it; 25 ms by default.
    pub interval: Duration,
    pub now: Now,
}

impl FollowOptions {
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self { interval: Duration::from_millis(25), now }
    }
}

/// Where the feed of the live models stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// Time since the log was last read to its end; since the start of the process when it never was.
    pub staleness: Duration,
    /// The models have caught up with the log once.
    pub ready: bool,
    /// The greatest position seen.
    pub position: i64,
    /// Positions that were given but are not visible yet.
    pub gaps: usize,
    /// Events taken in from the feed since the start.
    pub events: u64,
    /// Events that could not be read; their aggregates are quarantined.
    pub poison: u64,
    /// Why the feed has stopped for good: a newer version wrote what this one does not know.
    pub stopped: Option<String>,
    /// Why the last read failed.
    pub error: Option<String>,
}

#[derive(Debug)]
pub(super) struct Status {
    known: Mutex<Known>,
    /// When the last read that reached the end began, as [`Tick`] in nanoseconds: asked several times a request.
    read_at: AtomicU64,
}

#[derive(Debug)]
struct Known {
    rest: FeedStatus,
    /// The feed between [`Live::load`] and [`Live::follow`].
    feed: Option<Eager>,
    /// Positions of own appends that the feed has not been told of.
    own: Vec<i64>,
}

impl Default for Status {
    fn default() -> Self {
        let rest = FeedStatus {
            staleness: Duration::ZERO,
            ready: false,
            position: 0,
            gaps: 0,
            events: 0,
            poison: 0,
            stopped: None,
            error: None,
        };
        Self { known: Mutex::new(Known { rest, feed: None, own: Vec::new() }), read_at: nanos(Tick::now()).into() }
    }
}

fn nanos(tick: Tick) -> u64 {
    u64::try_from(tick.since_start().as_nanos()).unwrap_or(u64::MAX)
}

impl Status {
    /// At most; never less than it is.
    pub(super) fn staleness(&self) -> Duration {
        let age = nanos(Tick::now()).saturating_sub(self.read_at.load(Ordering::Acquire));
        // The tick that was read now may be behind by so much.
        Duration::from_nanos(age) + TICK
    }

    pub(super) fn read(&self) -> FeedStatus {
        FeedStatus { staleness: self.staleness(), ..self.known.lock().rest.clone() }
    }

    /// Events that were taken in, in bulk: threads that work beside each other do not meet here for each of them.
    pub(super) fn counted(&self, events: u64) {
        self.known.lock().rest.events += events;
    }

    pub(super) fn loaded(&self, feed: Eager, began: Tick) {
        self.progressed(&feed, Some(began));
        self.known.lock().feed = Some(feed);
    }

    pub(super) fn own(&self, positions: impl Iterator<Item = i64>) {
        let mut known = self.known.lock();
        // While nothing is read they only pile up; those forgotten are read again.
        if known.own.len() >= KNOWN_MAX {
            known.own.clear();
        }
        known.own.extend(positions.filter(|position| *position > 0));
    }

    fn take_own(&self) -> Vec<i64> {
        std::mem::take(&mut self.known.lock().own)
    }

    fn take_feed(&self) -> Option<Eager> {
        self.known.lock().feed.take()
    }

    fn progressed(&self, feed: &Eager, at_end_since: Option<Tick>) {
        let mut known = self.known.lock();
        known.rest.position = feed.position();
        known.rest.gaps = feed.gaps();
        known.rest.error = None;
        if let Some(began) = at_end_since {
            known.rest.ready = true;
            self.read_at.store(nanos(began), Ordering::Release);
        }
    }
}

/// The task that follows the log. Dropping it ends the task.
#[derive(Debug)]
pub struct Follower {
    stop: watch::Sender<bool>,
    running: watch::Receiver<()>,
    task: Option<JoinHandle<()>>,
}

impl Follower {
    /// Ready when the task runs no more, whatever ended it; see [`FeedStatus::stopped`].
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut running = self.running.clone();
        async move { while running.changed().await.is_ok() {} }
    }

    /// Ends the task after the read under way.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Live {
    /// Follows the log from where [`Live::load`] left off (or loads first). Runs until the answer is dropped; while the
    /// database is unavailable it tries again, and [`Live::staleness`] grows.
    #[must_use]
    pub fn follow(&self, log: &Log, wake: &Wake, options: FollowOptions) -> Follower {
        let (stop, stopped) = watch::channel(false);
        let (live, log, wake) = (self.clone(), log.clone(), wake.clone());
        let (runs, running) = watch::channel(());
        let task = tokio::spawn(async move {
            let _runs = runs;
            live.run(log, &wake, &options, stopped).await;
        });
        Follower { stop, running, task: Some(task) }
    }

    async fn run(&self, log: Log, wake: &Wake, options: &FollowOptions, mut stop: watch::Receiver<bool>) {
        let mut waking = wake.subscribe();
        let (mut own, mut longest) = (log.apart(CONNECTIONS), READ);
        let mut feed = self.0.status.take_feed();
        let (mut retry, mut sweep_at) = (options.interval, Instant::now());
        while !*stop.borrow() {
            if Instant::now() >= sweep_at {
                self.sweep(options.now.get());
                sweep_at = Instant::now() + SWEEP_EVERY;
            }
            let read = if feed.is_none() {
                // Loading takes as long as it takes.
                self.read_once(&log, &mut feed, options).await
            } else {
                let read = tokio::time::timeout(longest, self.read_once(&own, &mut feed, options)).await;
                read.unwrap_or(Err(DbError::TimedOut))
            };
            if matches!(read, Err(DbError::TimedOut)) {
                // Whatever these connections still wait for, nobody waits with them.
                own = log.apart(CONNECTIONS);
                longest = (longest * 2).min(READ_MAX);
            } else if read.is_ok() {
                longest = READ;
            }
            let pause = match read {
                Ok(Reached::End) => {
                    retry = options.interval;
                    Some(options.interval)
                }
                Ok(Reached::Page) => None,
                Ok(Reached::Unknown) => return,
                Err(error) => {
                    tracing::warn!(%error, "the live models cannot read the log");
                    self.0.status.known.lock().rest.error = Some(error.to_string());
                    retry = (retry * 2).min(RETRY_MAX);
                    Some(retry)
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = async { tokio::time::sleep(BREATH).await; waking.wait(pause).await } => {}
                    _ = stop.changed() => {}
                }
            }
        }
    }

    async fn read_once(
        &self,
        log: &Log,
        feed: &mut Option<Eager>,
        options: &FollowOptions,
    ) -> Result<Reached, DbError> {
        let Some(eager) = feed else {
            self.load(log, options.now.get()).await?;
            *feed = self.0.status.take_feed();
            return Ok(Reached::Page);
        };
        let began = Tick::now();
        eager.leave_out(self.0.status.take_own());
        let poll = eager.poll(log).await?;
        for stored in &poll.events {
            if let Err(unknown) = self.take_in(stored) {
                tracing::error!(%unknown, "the live models stop: update this node");
                self.0.status.known.lock().rest.stopped = Some(unknown.to_string());
                return Ok(Reached::Unknown);
            }
        }
        self.0.status.progressed(eager, poll.at_end.then_some(began));
        Ok(if poll.at_end { Reached::End } else { Reached::Page })
    }

    /// Applies an event of the feed, or quarantines its aggregate. An unknown type or key is handed back: it ends the
    /// feed.
    pub(super) fn take_in(&self, stored: &Stored) -> Result<(), Fault> {
        let Stored { aggregate_type, aggregate_id, sequence, .. } = stored;
        match &stored.event {
            Ok(recorded) => {
                self.apply(recorded);
                self.0.status.known.lock().rest.events += 1;
            }
            Err(fault) if fault.stops() => return Err(fault.clone()),
            Err(fault) => self.hold_back(aggregate_type, aggregate_id, *sequence, fault),
        }
        Ok(())
    }

    /// The same for a row that was read in bulk. Answers whether it was applied; see [`Status::counted`].
    pub(super) fn take_in_entry(&self, entry: &Entry<'_>) -> Result<bool, Fault> {
        match entry.event() {
            Ok(event) => self.apply_event(entry.aggregate_id, entry.sequence, &event),
            Err(fault) if fault.stops() => return Err(fault),
            Err(fault) => {
                self.hold_back(entry.aggregate_type, entry.aggregate_id, entry.sequence, &fault);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn hold_back(&self, aggregate_type: &str, aggregate_id: &str, sequence: i64, fault: &Fault) {
        tracing::error!(aggregate_type, aggregate_id, sequence, %fault, "an event cannot be taken in: quarantined");
        self.quarantine(aggregate_type, aggregate_id);
        self.0.status.known.lock().rest.poison += 1;
    }
}

enum Reached {
    /// All that was visible has been read.
    End,
    /// There may be more.
    Page,
    /// An event type that this version does not know.
    Unknown,
}

#[cfg(test)]
mod tests;
