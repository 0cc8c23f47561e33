//! Races for the log: whoever was told yes stands in it, all of it, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{Fresh, event, number, on_both, postgres, sqlite};
use crate::store::{AppendError, StoreOptions};

/// Tasks fight for few streams with appends of one to three events; every acknowledged event is a row, and no stream
/// has a hole.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_are_exactly_the_rows_and_no_stream_has_a_hole() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let acknowledged = Arc::new(AtomicI64::new(0));
        let conflicts = Arc::new(AtomicI64::new(0));
        let tasks = (0..24_usize).map(|task| {
            let (store, acknowledged, conflicts) = (fresh.store.clone(), acknowledged.clone(), conflicts.clone());
            tokio::spawn(async move {
                for round in 0..20_usize {
                    let id = format!("stream{}", (task * 7 + round * 3) % 10);
                    let sql = format!("SELECT coalesce(max(sequence), 0) FROM events WHERE aggregate_id = '{id}'");
                    let last = number(store.db(), &sql).await;
                    let count = 1 + i64::try_from((task + round) % 3).expect("small");
                    let events: Vec<_> = (1..=count).map(|next| event(&id, last + next)).collect();
                    match store.group_commit().append(events).await {
                        Ok(places) => {
                            assert!(places.is_sorted_by_key(|place| place.position));
                            acknowledged.fetch_add(i64::try_from(places.len()).expect("small"), SeqCst);
                        }
                        Err(AppendError::Conflict) => {
                            conflicts.fetch_add(1, SeqCst);
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        let db = fresh.store.db();
        assert_eq!(number(db, "SELECT count(*) FROM events").await, acknowledged.load(SeqCst));
        assert!(conflicts.load(SeqCst) > 0, "nobody fought");
        let holes = "SELECT count(*) FROM (SELECT aggregate_id FROM events GROUP BY aggregate_id \
                     HAVING max(sequence) <> count(*)) AS holes";
        assert_eq!(number(db, holes).await, 0);
        assert_eq!(number(db, "SELECT count(*) - count(DISTINCT position) FROM events").await, 0);
        fresh.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_appends_to_the_same_place_one_wins() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let store = fresh.store.clone();
                tokio::spawn(async move { store.group_commit().append(vec![event("one", 1)]).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error, AppendError::Conflict),
            }
        }
        assert_eq!(won, 1);
        assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, 1);
    })
    .await;
}

/// All of them begin a stream, and half of those are there already.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_of_beginnings_those_of_new_streams_win() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        for there in (0..40_usize).step_by(2) {
            fresh.store.group_commit().append(vec![event(&format!("stream{there}"), 1)]).await.expect("appended");
        }
        let begin = |task: usize| {
            let store = fresh.store.clone();
            async move { store.group_commit().append(vec![event(&format!("stream{task}"), 1)]).await }
        };
        let outcomes = futures::future::join_all((0..40).map(begin)).await;
        for (task, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(places) => assert!(task % 2 == 1 && places.len() == 1, "stream{task} was there"),
                Err(error) => assert_eq!((task % 2, error), (0, AppendError::Conflict)),
            }
        }
        assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, 40);
        fresh.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_in_a_batch_fails_alone() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let tasks: Vec<_> = (0..40_usize)
            .map(|task| {
                let store = fresh.store.clone();
                tokio::spawn(async move {
                    let mut event = event(&format!("stream{task}"), 1);
                    if task % 13 == 5 {
                        event.payload = "{no JSON".to_owned();
                    }
                    (task, store.group_commit().append(vec![event]).await)
                })
            })
            .collect();
        for task in tasks {
            let (task, outcome) = task.await.expect("no panic");
            match outcome {
                Ok(_) => assert_ne!(task % 13, 5),
                Err(AppendError::Refused(_)) => assert_eq!(task % 13, 5),
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, 37);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_events_are_appended_whole_or_not_at_all() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let append = |events| fresh.store.group_commit().append(events);
        append(vec![event("one", 1)]).await.expect("appended");
        append(vec![event("one", 2)]).await.expect("appended");
        // Its first place is taken, its second is free.
        let outcome = append(vec![event("one", 2), event("one", 3)]).await;
        assert_eq!(outcome, Err(AppendError::Conflict));
        assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, 2);
        let places = append(vec![event("one", 3), event("one", 4)]).await.expect("appended");
        assert_eq!(places.len(), 2);
        // Beyond what may be stored.
        let mut large = event("one", 5);
        large.payload = format!("\"{}\"", "x".repeat(crate::store::EVENT_BYTES_MAX));
        assert!(matches!(append(vec![large]).await, Err(AppendError::Refused(_))));
    })
    .await;
}

/// Holds the log, so that the queue fills: what does not fit is busy at once, what waits is appended afterwards, and a
/// closed store finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_busy_and_closing_finishes_what_waits() {
    let fresh = sqlite(StoreOptions { append_queue: 4, append_batch: 1, ..StoreOptions::default() }).await;
    let held = fresh.store.db().begin().await.expect("the writer");
    let start = |at: usize| {
        let store = fresh.store.clone();
        tokio::spawn(async move { store.group_commit().append(vec![event(&format!("stream{at}"), 1)]).await })
    };
    let mut waiting: Vec<_> = (0..40).map(start).collect();
    // At most one is with the writer and four wait; the others are refused while nothing moves.
    let mut busy = 0;
    while busy < 35 {
        waiting.retain(|task| {
            // Asked once: it may finish between two questions.
            let finished = task.is_finished();
            busy += usize::from(finished);
            !finished
        });
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn({
        let store = fresh.store.clone();
        async move { store.close().await }
    });
    held.rollback().await.expect("released");
    closing.await.expect("no panic");
    let mut appended = 0;
    for task in waiting {
        match task.await.expect("no panic") {
            Ok(_) => appended += 1,
            Err(error) => assert_eq!(error, AppendError::Busy),
        }
    }
    assert!((4..=5).contains(&appended), "{appended}");
    assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, appended);
    let late = fresh.store.group_commit().append(vec![event("late", 1)]).await;
    assert!(matches!(late, Err(AppendError::Unavailable(_))), "{late:?}");
}

/// Kills the lanes' connections again and again while they append. Whatever was acknowledged stands; whatever was
/// refused as a conflict does not; each append is there once.
#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_while_appending_are_settled_by_event_id() {
    let Some(fresh) = postgres(StoreOptions::default()).await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = fresh.store.clone();
            tokio::spawn(async move {
                let mut told = Vec::new();
                for round in 0..60 {
                    let id = format!("stream{task}-{round}");
                    let events: Vec<_> = (1..=1 + i64::from(round % 2)).map(|next| event(&id, next)).collect();
                    told.push((id, events.len(), store.group_commit().append(events).await));
                }
                told
            })
        })
        .collect();
    let mut killer = PgConnection::connect(fresh.url.expose()).await.expect("connected");
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'INSERT INTO events%'";
    let mut killed = 0_i64;
    while killed < 40 && !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        killed += sqlx::query_scalar::<_, i64>(kill).fetch_one(&mut killer).await.expect("killed");
        tokio::task::yield_now().await;
    }
    let mut acknowledged = 0;
    for task in tasks {
        for (id, count, outcome) in task.await.expect("no panic") {
            let sql = format!("SELECT count(*) FROM events WHERE aggregate_id = '{id}'");
            let rows = number(fresh.store.db(), &sql).await;
            match outcome {
                Ok(places) => {
                    acknowledged += 1;
                    assert_eq!((places.len(), rows), (count, i64::try_from(count).expect("small")), "{id}");
                }
                // Nobody else wants these streams, so a conflict could only be with oneself.
                Err(AppendError::Unavailable(_)) => {}
                Err(other) => panic!("{id}: {other}"),
            }
        }
    }
    assert!(killed > 0, "nothing was killed");
    assert!(acknowledged > 0);
    eprintln!("{killed} connections killed, {acknowledged} of 960 appends acknowledged");
}

/// PostgreSQL goes on hanging in a statement: the append is not available, and the lane recovers.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_takes_too_long_is_not_available() {
    let options = StoreOptions {
        statement_timeout: Duration::from_millis(200),
        settle_timeout: Duration::from_millis(500),
        ..StoreOptions::default()
    };
    let Some(fresh) = postgres(options).await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    let mut other = PgConnection::connect(fresh.url.expose()).await.expect("connected");
    let mut tx = other.begin().await.expect("begun");
    sqlx::query("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await.expect("locked");
    let outcome = fresh.store.group_commit().append(vec![event("one", 1)]).await;
    assert!(matches!(outcome, Err(AppendError::Unavailable(_))), "{outcome:?}");
    tx.rollback().await.expect("released");
    fresh.store.group_commit().append(vec![event("one", 1)]).await.expect("appended");
}

/// Two processes on one file, as when the command line works beside a server: their positions go on without a repeat.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_file_share_the_log() {
    let fresh = sqlite(StoreOptions::default()).await;
    let other = super::open(fresh.url.expose(), StoreOptions::default()).await;
    let tasks: Vec<_> = (0..40_i64)
        .map(|task| {
            let store = if task % 2 == 0 { fresh.store.clone() } else { other.store.clone() };
            tokio::spawn(
                async move { store.group_commit().append(vec![event(&format!("stream{}", task / 2), 1)]).await },
            )
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, AppendError::Conflict),
        }
    }
    assert_eq!(won, 20);
    let db = fresh.store.db();
    assert_eq!(number(db, "SELECT count(DISTINCT position) FROM events").await, 20);
    let last = number(db, "SELECT last FROM log_position").await;
    assert_eq!(number(db, "SELECT max(position) FROM events").await, last);
}
