//! One batch: who won, who lost, who was at fault. No SQL here.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Append, NewEvent, Placed};
use crate::store::error::AppendError;

/// The first and the longest pause between two attempts to reach a database that went away while committing.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// A connection that inserts batches.
pub(super) trait Lane: Send + 'static {
    /// Inserts every event whose place is free, durably, in one transaction. `groups` holds the number of events of each
    /// append, in order; when one of them could be inserted only in part, nothing is kept.
    fn insert(
        &mut self,
        events: &[&NewEvent],
        groups: &[usize],
    ) -> impl Future<Output = Result<Inserted, LaneError>> + Send;

    /// What stands at the places of `events` now: the event's id and where it stands.
    fn read_back(
        &mut self,
        events: &[&NewEvent],
    ) -> impl Future<Output = Result<Vec<Option<(Uuid, Placed)>>, LaneError>> + Send;

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
    let started = Instant::now();
    let mut parts = vec![first_of_each_stream(gathered)];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match append_part(lane, &part, settle).await {
            Ok(Inserted::Committed(placed)) => answer_committed(part, &placed),
            Ok(Inserted::Partial(losers)) => {
                for index in losers.into_iter().rev() {
                    answer(part.remove(index), Err(AppendError::Conflict));
                }
                parts.push(part);
            }
            // One of them is at fault: look for it by halves, so that the others do not suffer.
            Err(LaneError::Data(_)) if part.len() > 1 => {
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
            }
            Err(LaneError::Data(reason)) => answer_failed(part, &AppendError::Refused(reason)),
            Err(LaneError::Unavailable(reason) | LaneError::Lost(reason)) => {
                tracing::warn!(appends = part.len(), reason, "an append failed: the event log is not available");
                answer_failed(part, &AppendError::Unavailable(reason));
            }
        }
    }
    metrics::histogram!("grantlog_append_batch_seconds").record(started.elapsed().as_secs_f64());
}

/// Of appends to the same stream the first stays; the others have lost, and need no SQL to know it.
fn first_of_each_stream(gathered: Vec<Append>) -> Vec<Append> {
    let mut streams = HashSet::with_capacity(gathered.len());
    let (mut first, mut losers) = (Vec::with_capacity(gathered.len()), Vec::new());
    for append in gathered {
        let stream = append.events.first().map(|event| (event.aggregate_type.clone(), event.aggregate_id.clone()));
        if streams.insert(stream) { first.push(append) } else { losers.push(append) }
    }
    for loser in losers {
        answer(loser, Err(AppendError::Conflict));
    }
    first
}

/// One attempt, and when the connection is lost on the way, as many as it takes to know what became of it.
async fn append_part<L: Lane>(lane: &mut L, part: &[Append], settle: Duration) -> Result<Inserted, LaneError> {
    let events: Vec<&NewEvent> = part.iter().flat_map(|append| &append.events).collect();
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
async fn settle_once<L: Lane>(lane: &mut L, events: &[&NewEvent], groups: &[usize]) -> Result<Inserted, LaneError> {
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

fn answer_committed(part: Vec<Append>, placed: &[Option<Placed>]) {
    let mut from = 0;
    let (mut events, mut conflicts) = (0, 0);
    for append in part {
        let places = &placed[from..from + append.events.len()];
        from += append.events.len();
        match places.iter().copied().collect::<Option<Vec<Placed>>>() {
            Some(places) => {
                events += places.len() as u64;
                answer(append, Ok(places));
            }
            None => {
                conflicts += 1;
                answer(append, Err(AppendError::Conflict));
            }
        }
    }
    metrics::counter!("grantlog_append_events_total").increment(events);
    metrics::counter!("grantlog_append_conflicts_total").increment(conflicts);
    #[expect(clippy::cast_precision_loss, reason = "a batch has some hundred events")]
    metrics::histogram!("grantlog_append_batch_events").record(events as f64);
}

fn answer_failed(part: Vec<Append>, error: &AppendError) {
    for append in part {
        answer(append, Err(error.clone()));
    }
}

/// Who went away meanwhile does not hear it; the events stand all the same.
fn answer(append: Append, outcome: Result<Vec<Placed>, AppendError>) {
    let _ = append.answer.send(outcome);
}
