//! Executing commands: load, decide, append, and again when somebody else was first.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, AggregateContext as _, AggregateError, DomainEvent as _, EventStore as _};
use grantlog_domain::{Actor, Event, EventMetadata, Recorded, upcasters};
use grantlog_projections::db::DbError;

use super::error::{AppendError, ExecuteError, StoreError};
use super::group_commit::NewEvent;
use super::{Inner, Store};

/// Longest pause before the first new attempt; it doubles with each further one.
const CONFLICT_PAUSE: Duration = Duration::from_millis(4);

/// Who gives a command, in which request.
#[derive(Clone, Debug)]
pub struct CommandContext {
    pub actor: Actor,
    pub request_id: Option<String>,
    /// The grant or session that it belongs to.
    pub correlation: Option<String>,
    /// Already whole, truncated or absent, as the setting says.
    pub source_address: Option<String>,
}

/// A command that was executed.
#[derive(Debug)]
pub struct Executed<A> {
    /// As it is after the events.
    pub aggregate: A,
    /// What was appended; empty when there was nothing to do.
    pub events: Vec<Recorded>,
}

/// An aggregate as the log tells it.
#[derive(Debug)]
pub struct Loaded<A> {
    pub aggregate: A,
    /// Sequence of its last event; 0 when it does not exist.
    pub sequence: i64,
}

impl Store {
    /// Executes `command` on the aggregate `id`. Runs to its end also when the caller goes away. When somebody else
    /// appends first, it is decided anew, a bounded number of times. The observer has seen the events when this returns.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub async fn execute<A>(
        &self,
        id: &str,
        command: A::Command,
        by: &CommandContext,
    ) -> Result<Executed<A>, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
        A::Command: Clone + Send + Sync + 'static,
        A::Event: Into<Event>,
        A::Error: Send + Sync + 'static,
    {
        let (store, id, by) = (Arc::clone(&self.0), id.to_owned(), by.clone());
        in_own_task(async move {
            if let Some(executed) = store.execute_on_recent(&id, command.clone(), &by).await {
                return executed;
            }
            let mut attempt = 0;
            loop {
                let known = store.known::<A>(&id).await.map_err(refused)?;
                match store.decide_and_append(&id, known, command.clone(), &by).await {
                    Err(ExecuteError::Conflict) if attempt < store.options.conflict_retries => {
                        let longest = CONFLICT_PAUSE * 2_u32.saturating_pow(attempt.min(6));
                        attempt += 1;
                        tokio::time::sleep(store.entropy.jitter(longest)).await;
                    }
                    outcome => return outcome,
                }
            }
        })
        .await
    }

    /// Executes `command` on an aggregate that does not exist yet: like [`Store::execute`], but nothing is read first.
    ///
    /// # Errors
    /// See [`ExecuteError`]; [`ExecuteError::Conflict`] when the aggregate exists.
    pub async fn create<A>(
        &self,
        id: &str,
        command: A::Command,
        by: &CommandContext,
    ) -> Result<Executed<A>, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
        A::Command: Send + Sync + 'static,
        A::Event: Into<Event>,
        A::Error: Send + Sync + 'static,
    {
        let (store, id, by) = (Arc::clone(&self.0), id.to_owned(), by.clone());
        let absent = Known { aggregate: A::default(), sequence: 0 };
        in_own_task(async move { store.decide_and_append(&id, absent, command, &by).await }).await
    }

    /// The aggregate `id` as the log tells it now.
    ///
    /// # Errors
    /// [`StoreError::Database`] when it cannot be read; [`StoreError::Damaged`] when its events make no sense.
    pub async fn load<A>(&self, id: &str) -> Result<Loaded<A>, StoreError>
    where
        A: Aggregate<Services = ()> + 'static,
    {
        let Known { aggregate, sequence } = self.0.known::<A>(id).await.map_err(|error| match error {
            AggregateError::DatabaseConnectionError(error) | AggregateError::UnexpectedError(error)
                if error.is::<DbError>() || error.is::<sqlx::Error>() =>
            {
                StoreError::Database(read_error(error))
            }
            other => {
                StoreError::Damaged { aggregate_type: A::TYPE, aggregate_id: id.to_owned(), reason: other.to_string() }
            }
        })?;
        Ok(Loaded { aggregate, sequence })
    }
}

/// An aggregate to decide on, and the sequence of its last event.
#[derive(Clone)]
pub(super) struct Known<A> {
    pub(super) aggregate: A,
    pub(super) sequence: i64,
}

impl Inner {
    /// The aggregate as the log tells it.
    async fn known<A: Aggregate>(&self, id: &str) -> Result<Known<A>, AggregateError<A::Error>> {
        let store = PersistedEventStore::<_, A>::new_event_store(self.repository.clone()).with_upcasters(upcasters());
        let mut context = store.load_aggregate(id).await?;
        let sequence = i64::try_from(context.current_sequence).unwrap_or(i64::MAX);
        Ok(Known { aggregate: std::mem::take(context.aggregate()), sequence })
    }

    /// Decides on the aggregate as it was a moment ago, without reading. `None` when it is not remembered, or when that
    /// decision does not count: it appended nothing, or somebody else has appended since.
    async fn execute_on_recent<A>(
        &self,
        id: &str,
        command: A::Command,
        by: &CommandContext,
    ) -> Option<Result<Executed<A>, ExecuteError<A::Error>>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
        A::Event: Into<Event>,
    {
        let recent = self.recent.take::<A>(id)?;
        match self.decide_and_append(id, recent, command, by).await {
            Ok(executed) if executed.events.is_empty() => None,
            Err(ExecuteError::Refused(_) | ExecuteError::Conflict) => None,
            outcome => Some(outcome),
        }
    }

    async fn decide_and_append<A>(
        &self,
        id: &str,
        known: Known<A>,
        command: A::Command,
        by: &CommandContext,
    ) -> Result<Executed<A>, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
        A::Event: Into<Event>,
    {
        let Known { mut aggregate, sequence } = known;
        let sink = EventSink::default();
        aggregate.handle(command, &(), &sink).await.map_err(ExecuteError::Refused)?;
        let decided = sink.collect().await;
        if decided.is_empty() {
            return Ok(Executed { aggregate, events: Vec::new() });
        }
        let mut events = Vec::with_capacity(decided.len());
        let mut rows = Vec::with_capacity(decided.len());
        for (event, sequence) in decided.into_iter().zip(sequence + 1..) {
            let metadata = self.metadata(by);
            rows.push(new_event::<A>(id, sequence, &event, &metadata)?);
            let (event, aggregate_id) = (event.into(), id.to_owned());
            events.push(Recorded { aggregate_id, sequence, event, metadata, txid: 0, position: 0, recorded_at: 0 });
        }
        let places = self.group_commit.append(rows).await.map_err(not_appended)?;
        for (event, place) in events.iter_mut().zip(places) {
            (event.txid, event.position, event.recorded_at) = (place.txid, place.position, place.recorded_at);
        }
        if let Some(observer) = self.observer.get() {
            observer(&events);
        }
        self.recent.keep(id, &aggregate, &events);
        Ok(Executed { aggregate, events })
    }

    fn metadata(&self, by: &CommandContext) -> EventMetadata {
        EventMetadata {
            event_id: self.entropy.uuid_v7(self.clock.now_millis()),
            actor: by.actor.clone(),
            request_id: by.request_id.clone(),
            correlation: by.correlation.clone(),
            source_address: by.source_address.clone(),
        }
    }
}

/// The row of an event. Written straight to text: cqrs-es would build the JSON as values first.
fn new_event<A: Aggregate>(
    id: &str,
    sequence: i64,
    event: &A::Event,
    metadata: &EventMetadata,
) -> Result<NewEvent, ExecuteError<A::Error>> {
    let payload = serde_json::to_string(event);
    Ok(NewEvent {
        aggregate_type: A::TYPE.to_owned(),
        aggregate_id: id.to_owned(),
        sequence,
        event_type: event.event_type(),
        event_version: event.event_version(),
        payload: payload.map_err(|error| ExecuteError::Fault(format!("an event cannot be written: {error}")))?,
        metadata: metadata.to_json(),
        event_id: metadata.event_id,
    })
}

/// warp drops a handler when its client goes away; a half-done execution would commit and tell nobody.
async fn in_own_task<T, E>(
    work: impl Future<Output = Result<T, ExecuteError<E>>> + Send + 'static,
) -> Result<T, ExecuteError<E>>
where
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => Err(ExecuteError::Fault("executing a command panicked".to_owned())),
        Err(_) => Err(ExecuteError::Unavailable("this process is stopping".to_owned())),
    }
}

/// What cqrs-es says, in our terms.
fn refused<E: std::error::Error>(error: AggregateError<E>) -> ExecuteError<E> {
    match error {
        AggregateError::UserError(refusal) => ExecuteError::Refused(refusal),
        AggregateError::AggregateConflict => ExecuteError::Conflict,
        AggregateError::DatabaseConnectionError(error) => ExecuteError::Unavailable(error.to_string()),
        AggregateError::DeserializationError(error) => ExecuteError::Damaged(error.to_string()),
        AggregateError::UnexpectedError(error) => match read_error(error) {
            error if error.is_unavailable() => ExecuteError::Unavailable(error.to_string()),
            error => ExecuteError::Fault(error.to_string()),
        },
    }
}

fn not_appended<E: std::error::Error>(error: AppendError) -> ExecuteError<E> {
    match error {
        AppendError::Conflict => ExecuteError::Conflict,
        AppendError::Busy => ExecuteError::Busy,
        AppendError::Unavailable(reason) => ExecuteError::Unavailable(reason),
        AppendError::Refused(reason) => ExecuteError::Fault(reason),
    }
}

/// What could not be read, out of its box.
fn read_error(error: Box<dyn std::error::Error + Send + Sync>) -> DbError {
    match error.downcast::<DbError>() {
        Ok(error) => *error,
        Err(error) => match error.downcast::<sqlx::Error>() {
            Ok(error) => DbError::from(*error),
            Err(error) => DbError::Malformed(error.to_string()),
        },
    }
}
