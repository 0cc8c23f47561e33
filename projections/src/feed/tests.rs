//! Both feeds beside real concurrent writers: no event is missed, and the ordered one keeps each aggregate's order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantlog_domain::Recorded;
use grantlog_domain::grant::GrantEvent;
use parking_lot::Mutex;
use sqlx::Executor as _;
use uuid::Uuid;

use super::eager::Eager;
use super::{Appended, Cursor, Stored, ordered};
use crate::db::Db;
use crate::log::Log;
use crate::testing::{Dice, NOW, append, append_all, append_in, hash, on_both, postgres, recorded, scenario, until};

const WRITERS: u64 = 12;
const EVENTS: i64 = 60;

fn token_revoked(grant: impl ToString, sequence: i64) -> Recorded {
    recorded(grant, sequence, GrantEvent::AccessTokenRevoked { token: hash(1), at: NOW })
}

/// The whole log in order, once it shows so many events: a transaction of any other test in the cluster may hold them back.
async fn shown(db: &Log, count: usize) -> Vec<Stored> {
    let log = async || ordered::read(db, Cursor::START, 1000).await.unwrap();
    until("all of it shows", async || log().await.len() == count).await;
    log().await
}

/// The events in memory are marked, so that they can be told from those in the log.
#[tokio::test]
async fn events_of_this_process_are_read_from_the_log_only_when_one_is_missing() {
    on_both(|fresh| async move {
        let db = &fresh.db;
        let events = scenario(3, 10);
        append_all(db, &events).await;
        let log = shown(db, events.len()).await;
        let marked = |stored: &Stored| {
            let mut event = stored.event.clone().unwrap();
            event.metadata.request_id = Some("from memory".to_owned());
            event
        };
        let in_memory: Vec<_> = log.iter().map(marked).collect();
        let appended = Appended::default();
        appended.want(true);
        appended.offer(&in_memory);
        let read = ordered::read_beside(db, Cursor::START, 1000, &appended).await.unwrap();
        assert_eq!(read, in_memory.iter().cloned().map(Stored::from).collect::<Vec<_>>());
        appended.offer(&in_memory[1..]);
        let read = ordered::read_beside(db, Cursor::START, 1000, &appended).await.unwrap();
        assert_eq!(read, log);
    })
    .await;
}

/// What a reader has seen: how often each event, in which order.
#[derive(Default)]
struct Seen {
    keys: HashSet<(String, i64)>,
    last: HashMap<String, i64>,
    out_of_order: usize,
    times: usize,
}

impl Seen {
    fn add(&mut self, stored: &Stored) {
        self.times += 1;
        self.keys.insert((stored.aggregate_id.clone(), stored.sequence));
        let last = self.last.entry(stored.aggregate_id.clone()).or_default();
        self.out_of_order += usize::from(stored.sequence < *last);
        *last = stored.sequence.max(*last);
    }
}

/// Events that the reader knows to be committed, as a node knows its own: place and key.
type Own = Mutex<Vec<(i64, (String, i64))>>;

async fn position(db: &Log, id: &str, sequence: i64) -> i64 {
    let sql = "SELECT position FROM events WHERE aggregate_type = 'grant' AND aggregate_id = $1 AND sequence = $2";
    db.fetch(sql, &[id.into(), sequence.into()]).await.unwrap()[0].int(0).unwrap()
}

/// Each writer appends to streams of its own, one transaction an event. What every other writer appends is `own`.
async fn write(db: &Log, writer: u64, own: &Own) {
    let mut dice = Dice(writer + 17);
    let mut sequences = [0; 3];
    for _ in 0..EVENTS {
        let stream = dice.below(3) as usize;
        sequences[stream] += 1;
        let id = Uuid::from_u128(u128::from(writer * 10 + stream as u64));
        let event = GrantEvent::AccessTokenRevoked { token: hash(1), at: NOW };
        append(db, &recorded(id, sequences[stream], event)).await;
        if writer.is_multiple_of(2) {
            let (id, sequence) = (id.to_string(), sequences[stream]);
            let position = position(db, &id, sequence).await;
            own.lock().push((position, (id, sequence)));
        }
    }
}

async fn start_eagerly(db: &Log, seen: &mut Seen) -> Eager {
    let read = Arc::new(Mutex::new(Vec::new()));
    let reading = Arc::clone(&read);
    let feed = Eager::start(db, Cursor::START, move |entries| {
        for entry in entries.iter() {
            reading.lock().push(entry?.stored());
        }
        Ok(())
    });
    let feed = feed.await.unwrap();
    read.lock().iter().for_each(|stored| seen.add(stored));
    feed
}

async fn read_eagerly(db: &Log, mut feed: Eager, seen: &mut Seen, done: &AtomicBool, own: Option<&Own>) {
    loop {
        let last_round = done.load(Ordering::Acquire);
        for (position, key) in own.map(|own| std::mem::take(&mut *own.lock())).unwrap_or_default() {
            seen.keys.insert(key);
            feed.leave_out([position]);
        }
        let poll = feed.poll(db).await.unwrap();
        poll.events.iter().for_each(|stored| seen.add(stored));
        if last_round && poll.events.is_empty() && feed.gaps() == 0 {
            return;
        }
    }
}

async fn read_in_order(db: &Log, seen: &mut Seen, done: &AtomicBool) {
    let mut cursor = Cursor::START;
    loop {
        let last_round = done.load(Ordering::Acquire);
        let events = ordered::read(db, cursor, 50).await.unwrap();
        assert!(events.iter().all(|stored| stored.cursor > cursor));
        events.iter().for_each(|stored| seen.add(stored));
        match events.last() {
            Some(last) => cursor = last.cursor,
            None if last_round && seen.keys.len() as i64 == WRITERS as i64 * EVENTS => return,
            None => {}
        }
    }
}

/// Writers, an ordered reader, an eager reader from the start and one that starts in the middle.
async fn race(db: &Log) {
    if let Db::Postgres(pool) = db.db() {
        // So that the streams are in several partitions.
        let [from, to] = [30, 60].map(Uuid::from_u128);
        let sql = format!(
            "CREATE TABLE events_grant_between PARTITION OF events_grant FOR VALUES FROM ('{from}') TO ('{to}')"
        );
        pool.execute(sql.as_str()).await.unwrap();
    }
    let (mut ordered_seen, mut eager_seen, mut late_seen) = (Seen::default(), Seen::default(), Seen::default());
    let (mut own_seen, own) = (Seen::default(), Arc::new(Own::default()));
    let done = AtomicBool::new(false);
    let writers = async {
        let tasks = (0..WRITERS).map(|writer| {
            let (db, own) = (db.clone(), Arc::clone(&own));
            tokio::spawn(async move { write(&db, writer, &own).await })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            task.await.unwrap();
        }
        done.store(true, Ordering::Release);
    };
    let eager = async {
        let feed = start_eagerly(db, &mut eager_seen).await;
        read_eagerly(db, feed, &mut eager_seen, &done, None).await;
    };
    let late = async {
        while ordered::end(db).await.unwrap() < WRITERS as i64 * EVENTS / 3 {
            tokio::task::yield_now().await;
        }
        let feed = start_eagerly(db, &mut late_seen).await;
        read_eagerly(db, feed, &mut late_seen, &done, None).await;
    };
    let knowing = async {
        let feed = start_eagerly(db, &mut own_seen).await;
        read_eagerly(db, feed, &mut own_seen, &done, Some(&own)).await;
    };
    tokio::join!(writers, read_in_order(db, &mut ordered_seen, &done), eager, late, knowing);
    let all = WRITERS as usize * EVENTS as usize;
    assert_eq!((ordered_seen.keys.len(), ordered_seen.times, ordered_seen.out_of_order), (all, all, 0), "ordered");
    assert_eq!(eager_seen.keys.len(), all, "eager");
    assert_eq!(late_seen.keys.len(), all, "eager, started late");
    assert_eq!(own_seen.keys.len(), all, "eager, without what it knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_missed_beside_concurrent_writers() {
    on_both(|fresh| async move { race(&fresh.db).await }).await;
}

/// Commits are held back by random times, so positions appear in another order than they were given.
async fn jitter(db: &Log) {
    let Db::Postgres(pool) = db.db() else { panic!("PostgreSQL") };
    let sql = "CREATE FUNCTION jitter() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NULL; END $$; \
               CREATE CONSTRAINT TRIGGER jitter AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED \
               FOR EACH ROW EXECUTE FUNCTION jitter()";
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_missed_when_commits_are_late() {
    let Some(fresh) = postgres().await else { return };
    jitter(&fresh.db).await;
    race(&fresh.db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_open_transaction_delays_only_the_ordered_feed() {
    let Some(fresh) = postgres().await else { return };
    let db = &fresh.db;
    let Db::Postgres(pool) = db.db() else { panic!("PostgreSQL") };
    let event = |sequence| token_revoked(Uuid::from_u128(1), sequence);
    let mut feed = Eager::start(db, Cursor::START, |_| Ok(())).await.unwrap();
    let mut foreign = pool.begin().await.unwrap();
    foreign.execute("SELECT pg_current_xact_id()").await.unwrap();
    append(db, &event(1)).await;
    // An event whose writer is still at work, and one after it.
    let mut writer = pool.begin().await.unwrap();
    let insert = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                  metadata, mac) SELECT aggregate_type, 'other', sequence, event_type, event_version, payload, metadata, \
                  mac FROM events WHERE sequence = 1";
    writer.execute(insert).await.unwrap();
    append(db, &event(2)).await;
    assert_eq!(feed.poll(db).await.unwrap().events.len(), 2);
    assert_eq!(feed.gaps(), 1);
    assert!(ordered::read(db, Cursor::START, 10).await.unwrap().is_empty(), "held back");
    assert!(feed.poll(db).await.unwrap().events.is_empty());
    writer.commit().await.unwrap();
    let late = feed.poll(db).await.unwrap().events;
    assert_eq!(late.iter().map(|stored| stored.aggregate_id.as_str()).collect::<Vec<_>>(), ["other"]);
    assert_eq!(feed.gaps(), 0);
    foreign.rollback().await.unwrap();
    shown(db, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_was_never_used_is_forgotten() {
    let Some(fresh) = postgres().await else { return };
    let db = &fresh.db;
    let Db::Postgres(pool) = db.db() else { panic!("PostgreSQL") };
    let mut feed = Eager::start(db, Cursor::START, |_| Ok(())).await.unwrap();
    let event = token_revoked(Uuid::from_u128(1), 1);
    append(db, &event).await;
    let mut lost = pool.begin().await.unwrap();
    lost.execute(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         mac) VALUES ('grant', 'lost', 1, 'x', '1.0', '{}', '{}', '')",
    )
    .await
    .unwrap();
    lost.rollback().await.unwrap();
    append(db, &recorded(Uuid::from_u128(2), 1, event.event.clone())).await;
    let first = feed.poll(db).await.unwrap();
    assert_eq!((first.events.len(), feed.gaps()), (2, 1));
    // Other tests have transactions in the same cluster, so it may take until those have ended.
    for _ in 0..3000 {
        if feed.gaps() == 0 {
            return;
        }
        assert!(feed.poll(db).await.unwrap().events.is_empty());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the gap is still open");
}

#[tokio::test]
async fn txid_is_declared_before_position() {
    let Some(fresh) = postgres().await else { return };
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'events'::regclass \
               AND attname IN ('txid', 'position') ORDER BY attnum";
    let rows = fresh.db.fetch(sql, &[]).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.text(0).unwrap()).collect();
    assert_eq!(names, ["txid", "position"], "defaults are evaluated in this order, and the eager feed relies on it");
}

#[tokio::test]
async fn an_own_append_is_seen_by_a_waiting_reader() {
    on_both(|fresh: Arc<crate::testing::Fresh>| async move {
        let wake = super::Wake::new(&fresh.db);
        let mut waking = wake.subscribe();
        wake.signal();
        waking.wait(std::time::Duration::from_secs(60)).await;
    })
    .await;
}

#[tokio::test]
async fn what_the_reader_knows_is_left_out_and_nothing_else() {
    on_both(|fresh: Arc<crate::testing::Fresh>| async move {
        let db = &fresh.db;
        let mut feed = Eager::start(db, Cursor::START, |_| Ok(())).await.unwrap();
        for sequence in 1..=6 {
            let event = GrantEvent::AccessTokenRevoked { token: hash(1), at: NOW };
            append(db, &recorded(Uuid::from_u128(1), sequence, event)).await;
        }
        feed.leave_out([2, 3, 6]);
        let events = feed.poll(db).await.unwrap().events;
        assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 4, 5]);
        assert_eq!((feed.position(), feed.gaps()), (6, 0));
        assert!(feed.poll(db).await.unwrap().events.is_empty());
    })
    .await;
}

/// Whoever was in flight at the start has positions that the start has passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_flight_at_the_start_is_seen_when_it_commits_and_nothing_else_again() {
    let Some(fresh) = postgres().await else { return };
    let db = &fresh.db;
    append(db, &token_revoked(Uuid::from_u128(1), 1)).await;
    // Two writers at work, one of which gives up, and somebody else's transaction.
    let (mut writer, mut lost, mut foreign) =
        (db.begin().await.unwrap(), db.begin().await.unwrap(), db.begin().await.unwrap());
    foreign.fetch("SELECT pg_current_xact_id()::text", &[]).await.unwrap();
    append_in(&mut writer, &token_revoked("late", 1)).await;
    append_in(&mut lost, &token_revoked("lost", 1)).await;
    for sequence in 2..=40 {
        append(db, &token_revoked(Uuid::from_u128(1), sequence)).await;
    }
    let counted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = Arc::clone(&counted);
    let mut feed = Eager::start(db, Cursor::START, move |entries| {
        counting.fetch_add(entries.iter().count(), Ordering::SeqCst);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(counted.load(Ordering::SeqCst), 40);
    assert!(feed.poll(db).await.unwrap().events.is_empty(), "all of it was seen by the start");
    // At work beside the feed: both of its events come, the second one at a position that was never passed.
    append_in(&mut writer, &token_revoked("late", 2)).await;
    lost.rollback().await.unwrap();
    assert!(feed.poll(db).await.unwrap().events.is_empty());
    writer.commit().await.unwrap();
    let mut late: Vec<i64> = Vec::new();
    for _ in 0..3 {
        late.extend(feed.poll(db).await.unwrap().events.iter().map(|stored| stored.sequence));
    }
    assert_eq!(late, [1, 2]);
    foreign.rollback().await.unwrap();
}

/// A snapshot lists nobody who is younger than all that have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_is_waited_for_whose_elder_has_committed_behind_it() {
    let Some(fresh) = postgres().await else { return };
    let (mut elder, mut younger) = (fresh.db.begin().await.unwrap(), fresh.db.begin().await.unwrap());
    elder.fetch("SELECT pg_current_xact_id()::text", &[]).await.unwrap();
    append_in(&mut younger, &token_revoked("younger", 1)).await;
    append_in(&mut elder, &token_revoked("elder", 1)).await;
    elder.commit().await.unwrap();
    let mut feed = Eager::start(&fresh.db, Cursor::START, |_| Ok(())).await.unwrap();
    assert!(feed.poll(&fresh.db).await.unwrap().events.is_empty());
    younger.commit().await.unwrap();
    let late = feed.poll(&fresh.db).await.unwrap().events;
    assert_eq!(late.iter().map(|stored| stored.aggregate_id.as_str()).collect::<Vec<_>>(), ["younger"]);
}
