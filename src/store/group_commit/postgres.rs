//! The lane into PostgreSQL: one connection, one statement a batch.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use grantlog_projections::db::open::prepare_session;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use super::batch::{Inserted, Lane, LaneError, partial};
use super::{Coded, NewEvent, Placed};
use crate::store::options::StoreOptions;

const INTO: &str = "\
    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac) \
    SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[]::json[], $7::text[]::json[], \
                         $8::text[])";
const UNLESS_TAKEN: &str = "ON CONFLICT (aggregate_type, aggregate_id, sequence) DO NOTHING";
const RETURNING: &str = "RETURNING aggregate_id, sequence, txid, position, recorded_at, aggregate_type";

/// Wakes the readers of every node; the payload is empty, because it is only a wake-up.
const ANNOUNCE: &str = "NOTIFY grantlog_events";

/// The same as a column of an insert. Within one transaction equal notifications are one.
const AND_ANNOUNCE: &str = ", pg_notify('grantlog_events', '')::text";

/// Statements that insert a batch: every event whose place is free, or all of them, which looks at no place first and fails
/// when one is taken.
struct Insert {
    free: String,
    all: String,
}

impl Insert {
    fn new(announce: &str) -> Self {
        Self {
            free: format!("{INTO} {UNLESS_TAKEN} {RETURNING}{announce}"),
            all: format!("{INTO} {RETURNING}{announce}"),
        }
    }
}

static QUIETLY: LazyLock<Insert> = LazyLock::new(|| Insert::new(""));
static ANNOUNCING: LazyLock<Insert> = LazyLock::new(|| Insert::new(AND_ANNOUNCE));

/// Least time between two announcements of one lane. Each makes its commit wait for a lock that the whole cluster shares
/// and wakes every node; so a flood is announced now and then, and its last batch a moment later.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(5);

const READ_BACK: &str = "\
    SELECT e.aggregate_id, e.sequence, e.txid, e.position, e.recorded_at, e.aggregate_type, \
           e.metadata ->> 'event_id' \
    FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS wanted (aggregate_type, aggregate_id, sequence) \
    JOIN events e USING (aggregate_type, aggregate_id, sequence)";

pub(super) struct PostgresLane {
    connect: PgConnectOptions,
    connection: Option<PgConnection>,
    connect_timeout: Duration,
    statement_timeout: Duration,
    announced_at: Option<Instant>,
    /// Something was appended since.
    to_announce: bool,
}

impl PostgresLane {
    pub(super) fn new(connect: PgConnectOptions, options: &StoreOptions) -> Self {
        Self {
            connect,
            connection: None,
            connect_timeout: options.connect_timeout,
            statement_timeout: options.statement_timeout,
            announced_at: None,
            to_announce: false,
        }
    }

    /// Takes the connection out, made anew when there is none. It is put back only when it is known to be well.
    async fn take(&mut self) -> Result<PgConnection, LaneError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connected = tokio::time::timeout(self.connect_timeout, async {
            let mut connection = self.connect.connect().await?;
            prepare_session(&mut connection, self.statement_timeout).await?;
            Ok::<_, sqlx::Error>(connection)
        });
        match connected.await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(LaneError::Unavailable(error.to_string())),
            Err(_) => Err(LaneError::Unavailable("the database cannot be reached in time".to_owned())),
        }
    }

    /// The server bounds its statements; this bounds a server that does not answer at all.
    fn patience(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }
}

impl Lane for PostgresLane {
    async fn insert(&mut self, events: &[&Coded], groups: &[usize]) -> Result<Inserted, LaneError> {
        let mut connection = self.take().await?;
        let began = Instant::now();
        let announce = self.announced_at.is_none_or(|at| began >= at + ANNOUNCE_EVERY);
        let work = async {
            // A lone statement is a transaction of its own: one round trip.
            if groups.iter().all(|length| *length == 1) {
                return insert_alone(&mut connection, events, announce).await.map(Inserted::Committed);
            }
            connection.execute("BEGIN").await?;
            let rows = execute(&mut connection, &statements(announce).free, events).await?;
            let placed = places(&rows, events)?;
            let losers = partial(groups, &placed);
            if losers.is_empty() {
                connection.execute("COMMIT").await?;
                return Ok(Inserted::Committed(placed));
            }
            connection.execute("ROLLBACK").await?;
            Ok(Inserted::Partial(losers))
        };
        let outcome = tokio::time::timeout(self.patience(), work).await;
        match outcome {
            Ok(Ok(inserted)) => {
                self.connection = Some(connection);
                if announce {
                    self.announced_at = Some(began);
                }
                self.to_announce = !announce;
                Ok(inserted)
            }
            Ok(Err(error)) => {
                let error = kind(error);
                // Ends a transaction that failed. After anything worse than bad data the next batch connects anew: after a
                // failover this connection may lead to a server that can only be read.
                if matches!(error, LaneError::Data(_)) && connection.execute("ROLLBACK").await.is_ok() {
                    self.connection = Some(connection);
                }
                Err(error)
            }
            Err(_) => Err(LaneError::Lost("the database does not answer".to_owned())),
        }
    }

    async fn read_back(&mut self, events: &[&Coded]) -> Result<Vec<Option<(Uuid, Placed)>>, LaneError> {
        let mut connection = self.take().await?;
        let query = sqlx::query(READ_BACK)
            .bind(column(events, |event| event.aggregate_type.as_str()))
            .bind(column(events, |event| event.aggregate_id.as_str()))
            .bind(column(events, |event| event.sequence))
            .fetch_all(&mut connection);
        let rows = match tokio::time::timeout(self.patience(), query).await {
            Ok(rows) => rows.map_err(kind)?,
            Err(_) => return Err(LaneError::Lost("the database does not answer".to_owned())),
        };
        let mut found = by_place(&rows, |row| {
            let event_id: Option<String> = row.try_get(6)?;
            // An id that is none is not ours.
            let event_id = event_id.and_then(|id| Uuid::try_parse(&id).ok()).unwrap_or_default();
            Ok((event_id, placed(row)?))
        })
        .map_err(kind)?;
        self.connection = Some(connection);
        Ok(events.iter().map(|event| found.remove(&place(event))).collect())
    }

    fn announce_at(&self) -> Option<Instant> {
        self.announced_at.filter(|_| self.to_announce).map(|at| at + ANNOUNCE_EVERY)
    }

    async fn announce(&mut self) {
        self.to_announce = false;
        self.announced_at = Some(Instant::now());
        // Not worth a new connection: without it readers look by themselves.
        let Some(mut connection) = self.connection.take() else { return };
        if let Ok(Ok(_)) = tokio::time::timeout(self.patience(), connection.execute(ANNOUNCE)).await {
            self.connection = Some(connection);
        }
    }

    async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = connection.close().await;
        }
    }
}

fn statements(announce: bool) -> &'static Insert {
    if announce { &ANNOUNCING } else { &QUIETLY }
}

/// Inserts in a transaction of its own, so that nothing has to be undone when it fails.
async fn insert_alone(
    connection: &mut PgConnection,
    events: &[&Coded],
    announce: bool,
) -> Result<Vec<Option<Placed>>, sqlx::Error> {
    let insert = statements(announce);
    // Streams that begin have new ids, so their places are free; but after an answer that was lost, and where nodes race to
    // make the one of its name, as the next signing key.
    if events.iter().all(|event| event.sequence == 1) {
        match execute(connection, &insert.all, events).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
            outcome => return places(&outcome?, events),
        }
    }
    places(&execute(connection, &insert.free, events).await?, events)
}

/// Where each event came to stand.
fn places(rows: &[PgRow], events: &[&Coded]) -> Result<Vec<Option<Placed>>, sqlx::Error> {
    // Rows come back as they were sent, so when none is missing nothing has to be looked up.
    if rows.len() == events.len() {
        let mut all = Vec::with_capacity(events.len());
        for (row, event) in rows.iter().zip(events) {
            if row.try_get::<&str, _>(0)? != event.aggregate_id || row.try_get::<i64, _>(1)? != event.sequence {
                break;
            }
            all.push(Some(placed(row)?));
        }
        if all.len() == events.len() {
            return Ok(all);
        }
    }
    let mut inserted = by_place(rows, placed)?;
    Ok(events.iter().map(|event| inserted.remove(&place(event))).collect())
}

async fn execute(connection: &mut PgConnection, sql: &str, events: &[&Coded]) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(sql)
        .bind(column(events, |event| event.aggregate_type.as_str()))
        .bind(column(events, |event| event.aggregate_id.as_str()))
        .bind(column(events, |event| event.sequence))
        .bind(column(events, |event| event.event_type.as_str()))
        .bind(column(events, |event| event.event_version.as_str()))
        .bind(column(events, |event| event.payload.as_str()))
        .bind(column(events, |event| event.metadata.as_str()))
        .bind(column(events, |event| event.mac.as_str()))
        .fetch_all(connection)
        .await
}

fn column<'e, T>(events: &[&'e Coded], of: impl Fn(&'e Coded) -> T) -> Vec<T> {
    events.iter().map(|event| of(event)).collect()
}

type Place<'a> = (&'a str, &'a str, i64);

fn place(event: &NewEvent) -> Place<'_> {
    (&event.aggregate_type, &event.aggregate_id, event.sequence)
}

fn by_place<'r, T>(
    rows: &'r [PgRow],
    of: impl Fn(&'r PgRow) -> Result<T, sqlx::Error>,
) -> Result<HashMap<Place<'r>, T>, sqlx::Error> {
    rows.iter().map(|row| Ok(((row.try_get(5)?, row.try_get(0)?, row.try_get(1)?), of(row)?))).collect()
}

fn placed(row: &PgRow) -> Result<Placed, sqlx::Error> {
    // As it is sent: microseconds since 2000.
    let recorded_at: i64 = row.try_get_unchecked(4)?;
    Ok(Placed { txid: row.try_get(2)?, position: row.try_get(3)?, recorded_at: unix_millis(recorded_at) })
}

/// 2000-01-01T00:00:00Z in Unix milliseconds.
const POSTGRES_EPOCH: i64 = 946_684_800_000;

/// Rounded as `(extract(epoch FROM …) * 1000)::bigint` does, with which the feeds read the same column.
const fn unix_millis(microseconds: i64) -> i64 {
    POSTGRES_EPOCH + (microseconds + 500).div_euclid(1000)
}

fn kind(error: sqlx::Error) -> LaneError {
    let text = error.to_string();
    let sqlx::Error::Database(database) = error else {
        // Input and output, TLS, a garbled protocol: the answer did not arrive.
        return LaneError::Lost(text);
    };
    let code = database.code().unwrap_or_default();
    match (code.as_ref(), code.get(..2).unwrap_or_default()) {
        // A statement that the server cancelled was rolled back.
        ("57014", _) => LaneError::Unavailable(text),
        // The session was ended, perhaps while its commit was on the way.
        (_, "57" | "08") | ("25P03", _) => LaneError::Lost(text),
        // Rolled back: deadlock, no resources, read-only, lock not available, broken disk.
        (_, "40" | "53" | "58" | "XX") | ("25006" | "55P03", _) => LaneError::Unavailable(text),
        _ => LaneError::Data(text),
    }
}
