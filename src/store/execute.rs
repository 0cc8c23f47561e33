//! Executing commands: load, decide, append, and again when somebody else was first.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{EventStoreAggregateContext, PersistedEventStore};
use cqrs_es::{Aggregate, AggregateContext as _, AggregateError, EventEnvelope, EventStore as _};
use grantlog_domain::{Actor, Event, EventMetadata, Recorded, upcasters};
use grantlog_projections::db::DbError;

use super::error::{AppendError, ExecuteError, StoreError};
use super::repository::{Appending, Receipt};
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
        A: Aggregate<Services = ()> + 'static,
        A::Command: Clone + Send + Sync + 'static,
        A::Event: Into<Event>,
        A::Error: Send + Sync + 'static,
    {
        let (store, id, by) = (Arc::clone(&self.0), id.to_owned(), by.clone());
        in_own_task(async move {
            let mut attempt = 0;
            loop {
                let events = store.events::<A>();
                let context = events.store.load_aggregate(&id).await.map_err(refused)?;
                match store.decide_and_append(events, context, command.clone(), &by).await {
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
        A: Aggregate<Services = ()> + 'static,
        A::Command: Send + Sync + 'static,
        A::Event: Into<Event>,
        A::Error: Send + Sync + 'static,
    {
        let (store, by) = (Arc::clone(&self.0), by.clone());
        let context = EventStoreAggregateContext {
            aggregate_id: id.to_owned(),
            aggregate: A::default(),
            current_sequence: 0,
            current_snapshot: None,
        };
        in_own_task(async move {
            let events = store.events::<A>();
            store.decide_and_append(events, context, command, &by).await
        })
        .await
    }

    /// The aggregate `id` as the log tells it now.
    ///
    /// # Errors
    /// [`StoreError::Database`] when it cannot be read; [`StoreError::Damaged`] when its events make no sense.
    pub async fn load<A>(&self, id: &str) -> Result<Loaded<A>, StoreError>
    where
        A: Aggregate<Services = ()> + 'static,
    {
        let context = self.0.events::<A>().store.load_aggregate(id).await;
        let mut context = context.map_err(|error| match error {
            AggregateError::DatabaseConnectionError(error) | AggregateError::UnexpectedError(error)
                if error.is::<DbError>() || error.is::<sqlx::Error>() =>
            {
                StoreError::Database(read_error(error))
            }
            other => {
                StoreError::Damaged { aggregate_type: A::TYPE, aggregate_id: id.to_owned(), reason: other.to_string() }
            }
        })?;
        let sequence = i64::try_from(context.current_sequence).unwrap_or(i64::MAX);
        Ok(Loaded { aggregate: std::mem::take(context.aggregate()), sequence })
    }
}

/// The events of one kind of aggregate, for one execution.
struct Events<A: Aggregate> {
    store: PersistedEventStore<Appending, A>,
    receipt: Receipt,
}

impl Inner {
    fn events<A: Aggregate>(&self) -> Events<A> {
        let receipt = Receipt::default();
        let appending = Appending {
            reads: self.reads.clone(),
            group_commit: self.group_commit.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            receipt: Arc::clone(&receipt),
        };
        Events { store: PersistedEventStore::new_event_store(appending).with_upcasters(upcasters()), receipt }
    }

    async fn decide_and_append<A>(
        &self,
        events: Events<A>,
        mut context: EventStoreAggregateContext<A>,
        command: A::Command,
        by: &CommandContext,
    ) -> Result<Executed<A>, ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Event: Into<Event>,
    {
        let sink = EventSink::default();
        context.aggregate().handle(command, &(), &sink).await.map_err(ExecuteError::Refused)?;
        let decided = sink.collect().await;
        // What is kept of the context is its id and sequence; the aggregate has seen the events already.
        let aggregate = std::mem::take(context.aggregate());
        if decided.is_empty() {
            return Ok(Executed { aggregate, events: Vec::new() });
        }
        let metadata = EventMetadata {
            event_id: self.entropy.uuid_v7(self.clock.now_millis()),
            actor: by.actor.clone(),
            request_id: by.request_id.clone(),
            correlation: by.correlation.clone(),
            source_address: by.source_address.clone(),
        };
        let committed = events.store.commit(decided, context, metadata.to_map()).await.map_err(refused)?;
        let recorded = recorded(committed, &events.receipt, &metadata);
        if let Some(observer) = self.observer.get() {
            observer(&recorded);
        }
        Ok(Executed { aggregate, events: recorded })
    }
}

fn recorded<A>(committed: Vec<EventEnvelope<A>>, receipt: &Receipt, metadata: &EventMetadata) -> Vec<Recorded>
where
    A: Aggregate,
    A::Event: Into<Event>,
{
    let places = std::mem::take(&mut *receipt.lock());
    committed
        .into_iter()
        .zip(places)
        .map(|(envelope, (event_id, place))| Recorded {
            aggregate_id: envelope.aggregate_id,
            sequence: i64::try_from(envelope.sequence).unwrap_or(i64::MAX),
            event: envelope.payload.into(),
            metadata: EventMetadata { event_id, ..metadata.clone() },
            txid: place.txid,
            position: place.position,
            recorded_at: place.recorded_at,
        })
        .collect()
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
        AggregateError::DeserializationError(error) => ExecuteError::Fault(format!("a damaged stream: {error}")),
        AggregateError::UnexpectedError(error) => match error.downcast::<AppendError>() {
            Ok(error) => match *error {
                AppendError::Conflict => ExecuteError::Conflict,
                AppendError::Busy => ExecuteError::Busy,
                AppendError::Unavailable(reason) => ExecuteError::Unavailable(reason),
                AppendError::Refused(reason) => ExecuteError::Fault(reason),
            },
            Err(error) => match read_error(error) {
                error if error.is_unavailable() => ExecuteError::Unavailable(error.to_string()),
                error => ExecuteError::Fault(error.to_string()),
            },
        },
    }
}

/// sqlite-es hands the driver's error on in a box, our own reads theirs.
fn read_error(error: Box<dyn std::error::Error + Send + Sync>) -> DbError {
    match error.downcast::<DbError>() {
        Ok(error) => *error,
        Err(error) => match error.downcast::<sqlx::Error>() {
            Ok(error) => DbError::from(*error),
            Err(error) => DbError::Malformed(error.to_string()),
        },
    }
}
