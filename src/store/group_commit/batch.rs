//! One batch: who won, who lost, who was at fault. No SQL here.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Append, Coded, Placed};
use crate::store::error::AppendError;

/// The first and the longest pause between two attempts to reach a database that went away while committing.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// A connection that inserts batches.
pub(super) trait Lane: Send + 'static {
    /// Inserts every event whose place is free, durably, in one transaction. `groups` holds the number of events of each
    /// append, in order; when one of them could be inserted only in part, nothing is kept.
    fn insert(
        &mut self,
        events: &[&Coded],
        groups: &[usize],
    ) -> impl Future<Output = Result<Inserted, LaneError>> + Send;

    /// What stands at the places of `events` now: the event's id and where it stands.
    fn read_back(
        &mut self,
        events: &[&Coded],
    ) -> impl Future<Output = Result<Vec<Option<(Uuid, Placed)>>, LaneError>> + Send;

    /// When readers must be told of what was appended; `None` when they have been, or look by themselves.
    fn announce_at(&self) -> Option<Instant> {
        None
    }

    /// Tells them.
    fn announce(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Says goodbye to the database.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What became of an insert.
pub(super) enum Inserted {
    /// Committed. `None` for an event whose place was taken.
    Committed(Vec<Option<Placed>>),
    /// Rolled back: these appends (by index) found only a part of their places free.
    Partial(Vec<usize>),
}

/// Why an insert failed.
#[derive(Debug)]
pub(super) enum LaneError {
    /// The connection was lost; whether it was committed is unknown.
    Lost(String),
    /// Certainly nothing was committed; trying again later may help.
    Unavailable(String),
    /// Certainly nothing was committed; the data is at fault.
    Data(String),
}

/// The appends, by index, of which some events were inserted and some not.
pub(super) fn partial(groups: &[usize], placed: &[Option<Placed>]) -> Vec<usize> {
    let mut from = 0;
    let mut partial = Vec::new();
    for (index, length) in groups.iter().enumerate() {
        let inserted = placed[from..from + length].iter().flatten().count();
        if inserted > 0 && inserted < *length {
            partial.push(index);
        }
        from += length;
    }
    partial
}

/// Appends a gathered batch and answers everyone in it.
pub(super) async fn append_all<L: Lane>(lane: &mut L, gathered: Vec<Append>, settle: Duration) {
    let mut answers = Answers::new(gathered.len());
    let mut parts = vec![first_of_each_stream(gathered, &mut answers)];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match append_part(lane, &part, settle).await {
            Ok(Inserted::Committed(placed)) => answers.committed(part, &placed),
            Ok(Inserted::Partial(losers)) => {
                for index in losers.into_iter().rev() {
                    answers.one(part.remove(index), Err(AppendError::Conflict));
                }
                parts.push(part);
            }
            // One of them is at fault: look for it by halves, so that the others do not suffer.
            Err(LaneError::Data(_)) if part.len() > 1 => {
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
            }
            Err(LaneError::Data(reason)) => answers.failed(part, &AppendError::Refused(reason)),
            Err(LaneError::Unavailable(reason) | LaneError::Lost(reason)) => {
                tracing::warn!(appends = part.len(), reason, "an append failed: the event log is not available");
                answers.failed(part, &AppendError::Unavailable(reason));
            }
        }
    }
    answers.report();
}

/// Of appends to the same stream the first stays; the others have lost, and need no SQL to know it.
fn first_of_each_stream(gathered: Vec<Append>, answers: &mut Answers) -> Vec<Append> {
    let mut streams = HashSet::with_capacity(gathered.len());
    let (mut first, mut losers) = (Vec::with_capacity(gathered.len()), Vec::new());
    for append in gathered {
        let stream = append.events.first().map(|event| (event.aggregate_type.clone(), event.aggregate_id.clone()));
        if streams.insert(stream) { first.push(append) } else { losers.push(append) }
    }
    drop(streams);
    for loser in losers {
        answers.one(loser, Err(AppendError::Conflict));
    }
    first
}

/// One attempt, and when the connection is lost on the way, as many as it takes to know what became of it.
async fn append_part<L: Lane>(lane: &mut L, part: &[Append], settle: Duration) -> Result<Inserted, LaneError> {
    let events: Vec<&Coded> = part.iter().flat_map(|append| &append.events).collect();
    let groups: Vec<usize> = part.iter().map(|append| append.events.len()).collect();
    let mut lost = match lane.insert(&events, &groups).await {
        Err(LaneError::Lost(reason)) => reason,
        known => return known,
    };
    let deadline = Instant::now() + settle;
    let mut pause = RECONNECT_PAUSE.0;
    loop {
        tracing::warn!(events = events.len(), reason = lost, "the connection was lost while appending; settling");
        match settle_once(lane, &events, &groups).await {
            // The first attempt is still unknown, so "not available" is not an answer yet.
            Err(LaneError::Lost(reason) | LaneError::Unavailable(reason)) => lost = reason,
            known => return known,
        }
        if Instant::now() + pause > deadline {
            return Err(LaneError::Unavailable(format!("the outcome is unknown: {lost}")));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_PAUSE.1);
    }
}

/// Inserts again, which waits for a transaction of the lost connection that may still be running; then whatever place
/// is taken is ours if our event's id stands there.
async fn settle_once<L: Lane>(lane: &mut L, events: &[&Coded], groups: &[usize]) -> Result<Inserted, LaneError> {
    let mut placed = match lane.insert(events, groups).await? {
        Inserted::Committed(placed) => placed,
        Inserted::Partial(losers) => return Ok(Inserted::Partial(losers)),
    };
    if placed.iter().any(Option::is_none) {
        for ((place, event), found) in placed.iter_mut().zip(events).zip(lane.read_back(events).await?) {
            if let Some((event_id, found)) = found
                && event_id == event.event_id
            {
                *place = Some(found);
            }
        }
    }
    Ok(Inserted::Committed(placed))
}

/// Answers those who wait, and counts for `/metrics`.
struct Answers {
    seconds: metrics::Histogram,
    appended: u64,
    conflicts: u64,
    failed: u64,
}

impl Answers {
    #[expect(clippy::cast_precision_loss, reason = "a batch has some hundred appends")]
    fn new(batch: usize) -> Self {
        metrics::histogram!("grantlog_append_batch_size").record(batch as f64);
        Self { seconds: metrics::histogram!("grantlog_append_seconds"), appended: 0, conflicts: 0, failed: 0 }
    }

    fn committed(&mut self, part: Vec<Append>, placed: &[Option<Placed>]) {
        let mut from = 0;
        for append in part {
            let places = &placed[from..from + append.events.len()];
            from += append.events.len();
            let places: Option<Vec<Placed>> = places.iter().copied().collect();
            self.one(append, places.ok_or(AppendError::Conflict));
        }
    }

    fn failed(&mut self, part: Vec<Append>, error: &AppendError) {
        for append in part {
            self.one(append, Err(error.clone()));
        }
    }

    fn one(&mut self, append: Append, outcome: Result<Vec<Placed>, AppendError>) {
        match &outcome {
            Ok(_) => self.appended += 1,
            Err(AppendError::Conflict) => self.conflicts += 1,
            Err(_) => self.failed += 1,
        }
        self.seconds.record(append.queued_at.elapsed().as_secs_f64());
        // Who went away meanwhile does not hear it; the events stand all the same.
        let _ = append.answer.send(outcome);
    }

    fn report(self) {
        for (outcome, count) in [("appended", self.appended), ("conflict", self.conflicts), ("failed", self.failed)] {
            if count > 0 {
                metrics::counter!("grantlog_appends_total", "outcome" => outcome).increment(count);
            }
        }
    }
}
