//! What still has to be told to whom: rows that are written in the transaction that moves the checkpoint, so that each
//! session's end counts once, and taken by one node at a time.

use grantlog_domain::session::SessionEvent;
use grantlog_domain::{ClientId, Event, SessionId, Timestamp, UserId};
use grantlog_projections::checkpoint;
use grantlog_projections::db::{Db, DbError, Tx, Value};
use grantlog_projections::feed::{Cursor, ahead};
use grantlog_projections::log::Log;
use grantlog_projections::tables::participants;

/// How long a delivery that was given up is kept, to be looked at, in seconds.
const GIVEN_UP_KEPT_SECONDS: i64 = 7 * 86_400;

/// A session that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub session_id: SessionId,
    pub at: Timestamp,
    place: Cursor,
}

/// A client that has to hear of it.
#[derive(Clone, Copy, Debug)]
pub struct Addressee {
    pub client_id: ClientId,
    pub user_id: UserId,
}

/// A delivery that this process has taken upon itself.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub session_id: SessionId,
    pub client_id: ClientId,
    pub user_id: UserId,
    pub ended_at: Timestamp,
    /// From 1.
    pub attempt: i64,
}

/// A delivery that waits, or was given up.
#[derive(Clone, Debug)]
pub struct Pending {
    pub session_id: SessionId,
    pub client_id: ClientId,
    pub ended_at: Timestamp,
    pub attempts: i64,
    /// `None` when it was given up.
    pub next_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// How far the log may be looked at: as far as it is known who took part in sessions.
pub async fn known_to(db: &Db) -> Result<Option<Cursor>, DbError> {
    let all = checkpoint::all(db).await?;
    let found = all.into_iter().find(|(found, answers)| *answers && found.name == participants::NAME);
    Ok(found.map(|(found, _)| found.cursor))
}

/// How far the log has been looked at.
pub async fn looked_to(db: &Db) -> Result<Cursor, DbError> {
    let rows = db.fetch("SELECT txid, position FROM logout_checkpoint", &[]).await?;
    rows.first().map_or(Ok(Cursor::START), |row| Ok(Cursor { txid: row.int(0)?, position: row.int(1)? }))
}

/// The sessions that ended there, in the order of the log, and how far this is: no further than one part of it. An event that
/// cannot be read says nothing here: its session is quarantined elsewhere.
pub async fn ended(log: &Log, from: Cursor, to: Cursor) -> Result<(Vec<Ended>, Cursor), DbError> {
    let part = ahead::of_types(log, from, to, &["session"], &["session.ended"]).await?;
    let mut all = Vec::new();
    for found in part.found {
        let event = Event::decode("session", &found.event_type, &found.event_version, &found.payload);
        if let Ok(Event::Session(SessionEvent::Ended { at, .. })) = event {
            all.push(Ended { session_id: found.id()?, at, place: found.cursor });
        }
    }
    Ok((all, part.to))
}

/// Writes down who has to be told of what, and that the log was looked at up to `to`. What another node has written down
/// already counts once.
pub async fn enqueue(db: &Db, told: &[(Ended, Addressee)], to: Cursor, now: Timestamp) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    let from = lock(&mut tx).await?;
    for (ended, addressee) in told.iter().filter(|(ended, _)| ended.place > from) {
        let sql = "INSERT INTO logout_deliveries (session_id, client_id, user_id, ended_at, attempts, next_at) \
                   VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT DO NOTHING";
        let values = [
            ended.session_id.to_string().into(),
            addressee.client_id.to_string().into(),
            addressee.user_id.to_string().into(),
            ended.at.0.into(),
            now.0.into(),
        ];
        tx.execute(sql, &values).await?;
    }
    if from < to {
        let sql = "UPDATE logout_checkpoint SET txid = $1, position = $2";
        tx.execute(sql, &[to.txid.into(), to.position.into()]).await?;
    }
    let old = now.plus_seconds(-GIVEN_UP_KEPT_SECONDS);
    tx.execute("DELETE FROM logout_deliveries WHERE next_at IS NULL AND ended_at < $1", &[old.0.into()]).await?;
    tx.commit().await
}

async fn lock(tx: &mut Tx) -> Result<Cursor, DbError> {
    // On SQLite the transaction is the only writer already.
    let lock = if tx.is_postgres() { " FOR UPDATE" } else { "" };
    let rows = tx.fetch(&format!("SELECT txid, position FROM logout_checkpoint{lock}"), &[]).await?;
    rows.first().map_or(Ok(Cursor::START), |row| Ok(Cursor { txid: row.int(0)?, position: row.int(1)? }))
}

/// Takes at most `limit` deliveries that are due. Whoever does not come back with their outcome until `until` (a crash) has
/// lost them to the next one that asks.
pub async fn take(db: &Db, now: Timestamp, until: Timestamp, limit: i64) -> Result<Vec<Delivery>, DbError> {
    let due = db.fetch("SELECT 1 FROM logout_deliveries WHERE next_at <= $1 LIMIT 1", &[now.0.into()]).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await?;
    let skip = if tx.is_postgres() { " FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "UPDATE logout_deliveries SET attempts = attempts + 1, next_at = $1 WHERE (session_id, client_id) IN \
         (SELECT session_id, client_id FROM logout_deliveries WHERE next_at <= $2 ORDER BY next_at LIMIT $3{skip}) \
         RETURNING session_id, client_id, user_id, ended_at, attempts"
    );
    let rows = tx.fetch(&sql, &[until.0.into(), now.0.into(), limit.into()]).await?;
    tx.commit().await?;
    let read = |row: &grantlog_projections::db::Row| {
        Ok(Delivery {
            session_id: row.parse(0)?,
            client_id: row.parse(1)?,
            user_id: row.parse(2)?,
            ended_at: Timestamp(row.int(3)?),
            attempt: row.int(4)?,
        })
    };
    rows.iter().map(read).collect()
}

impl Delivery {
    /// Nothing is left to do.
    pub async fn done(&self, db: &Db) -> Result<(), DbError> {
        let sql = "DELETE FROM logout_deliveries WHERE session_id = $1 AND client_id = $2";
        db.execute(sql, &self.key()).await.map(drop)
    }

    /// It failed: again at `next_at`, or never. Says nothing when somebody else has taken it meanwhile.
    pub async fn failed(&self, db: &Db, error: &str, next_at: Option<Timestamp>) -> Result<(), DbError> {
        let sql = "UPDATE logout_deliveries SET next_at = $3, last_error = $4 \
                   WHERE session_id = $1 AND client_id = $2 AND attempts = $5";
        let [session_id, client_id] = self.key();
        let next_at = next_at.map(|at| at.0).into();
        db.execute(sql, &[session_id, client_id, next_at, error.into(), self.attempt.into()]).await.map(drop)
    }

    fn key(&self) -> [Value; 2] {
        [self.session_id.to_string().into(), self.client_id.to_string().into()]
    }
}

/// How many deliveries wait, and how many were given up.
pub async fn counts(db: &Db) -> Result<(i64, i64), DbError> {
    let rows = db.fetch("SELECT COUNT(next_at), COUNT(*) - COUNT(next_at) FROM logout_deliveries", &[]).await?;
    rows.first().map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?)))
}

/// Deliveries that wait or were given up, the oldest first; at most `limit`.
pub async fn list(db: &Db, limit: i64) -> Result<Vec<Pending>, DbError> {
    let sql = "SELECT session_id, client_id, ended_at, attempts, next_at, last_error FROM logout_deliveries \
               ORDER BY ended_at, session_id, client_id LIMIT $1";
    let read = |row: &grantlog_projections::db::Row| {
        Ok(Pending {
            session_id: row.parse(0)?,
            client_id: row.parse(1)?,
            ended_at: Timestamp(row.int(2)?),
            attempts: row.int(3)?,
            next_at: row.opt_int(4)?.map(Timestamp),
            last_error: row.opt_text(5)?,
        })
    };
    db.fetch(sql, &[limit.into()]).await?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Settings;
    use crate::entropy::Entropy;
    use crate::store::{Store, StoreOptions};

    const NOW: Timestamp = Timestamp(1_000_000);

    async fn store() -> (Store, TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = format!("sqlite:{}", folder.path().join("test.db").display());
        let settings = Settings::with(&[("database", &database)]).expect("settings");
        let (options, clock) = (StoreOptions::default(), Clock::system());
        let store = Store::open(&settings.database, options, clock, Entropy::system()).await.expect("opened");
        store.migrate(&mut |_| ()).await.expect("migrated");
        (store, folder)
    }

    fn place(position: i64) -> Cursor {
        Cursor { txid: 0, position }
    }

    fn told(position: i64, client: u128) -> (Ended, Addressee) {
        let session_id = SessionId(Uuid::from_u128(u128::try_from(position).expect("a position")));
        let ended = Ended { session_id, at: NOW, place: place(position) };
        (ended, Addressee { client_id: ClientId(Uuid::from_u128(client)), user_id: UserId(Uuid::from_u128(9)) })
    }

    #[tokio::test]
    async fn the_end_of_a_session_counts_once_however_many_nodes_see_it() {
        let (store, _folder) = store().await;
        let db = store.db();
        let all = [told(1, 1), told(1, 2), told(2, 1)];
        enqueue(db, &all, place(2), NOW).await.expect("written");
        let taken = take(db, NOW, NOW.plus_seconds(5), 10).await.expect("taken");
        assert_eq!(taken.len(), 3);
        for delivery in &taken {
            delivery.done(db).await.expect("done");
        }
        // Another node looks later, and from further back.
        enqueue(db, &all, place(2), NOW).await.expect("written");
        enqueue(db, &all[..1], place(1), NOW).await.expect("written");
        assert_eq!(counts(db).await.expect("counts"), (0, 0));
        assert_eq!(looked_to(db).await.expect("a place"), place(2));
    }

    #[tokio::test]
    async fn a_delivery_is_taken_by_one_until_nobody_comes_back_with_it() {
        let (store, _folder) = store().await;
        let db = store.db();
        enqueue(db, &[told(1, 1)], place(1), NOW).await.expect("written");
        let until = NOW.plus_seconds(5);
        let first = take(db, NOW, until, 10).await.expect("taken").remove(0);
        assert!(take(db, NOW, until, 10).await.expect("taken").is_empty(), "taken twice");
        let second = take(db, until, until.plus_seconds(5), 10).await.expect("taken").remove(0);
        assert_eq!((first.attempt, second.attempt), (1, 2));
        // The first one comes back after all: the second one's outcome counts.
        first.failed(db, "late", None).await.expect("said");
        assert_eq!(counts(db).await.expect("counts"), (1, 0));
        second.failed(db, "no", None).await.expect("said");
        assert_eq!(counts(db).await.expect("counts"), (0, 1));
        let shown = list(db, 10).await.expect("a list").remove(0);
        assert_eq!((shown.attempts, shown.next_at, shown.last_error.as_deref()), (2, None, Some("no")));
        // It is kept for some days.
        let later = NOW.plus_seconds(GIVEN_UP_KEPT_SECONDS + 1);
        enqueue(db, &[], place(2), later).await.expect("written");
        assert_eq!(counts(db).await.expect("counts"), (0, 0));
    }
}
