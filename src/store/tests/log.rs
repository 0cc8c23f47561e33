//! The log itself: its columns, its triggers, its positions, and commands on it.

use cqrs_es::persist::{PersistedEventRepository as _, SerializedEvent};
use grantlog_domain::grant::Grant;
use grantlog_domain::user::{User, UserCommand, UserError};
use grantlog_domain::{Actor, Event, Timestamp, UserId};
use grantlog_projections::db::Db;
use parking_lot::Mutex;
use postgres_es::PostgresEventRepository;
use serde_json::json;
use sqlite_es::SqliteEventRepository;
use std::sync::Arc;

use super::{Fresh, event, number, on_both, sqlite};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::{CommandContext, ExecuteError, Store, StoreError, StoreOptions};

fn by() -> CommandContext {
    CommandContext {
        actor: Actor::System,
        request_id: Some("request".to_owned()),
        correlation: None,
        source_address: None,
    }
}

fn new_user() -> UserId {
    UserId(Entropy::system().uuid_v7(Clock::system().now_millis()))
}

/// Defaults are evaluated in the order of the columns; with the position first, the eager feed loses events.
#[tokio::test]
async fn the_columns_stand_in_the_order_that_the_feeds_rely_on() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let sql = match fresh.store.db() {
            Db::Postgres(_) => {
                "SELECT column_name::text FROM information_schema.columns \
                                WHERE table_name = 'events' ORDER BY ordinal_position"
            }
            Db::Sqlite { .. } => "SELECT name FROM pragma_table_info('events') ORDER BY cid",
        };
        let rows = fresh.store.db().fetch(sql, &[]).await.expect("answered");
        let columns: Vec<_> = rows.iter().map(|row| row.text(0).expect("a name")).collect();
        let expected = "aggregate_type aggregate_id sequence event_type event_version payload metadata txid position \
                        recorded_at mac";
        assert_eq!(columns.join(" "), expected);
    })
    .await;
}

#[tokio::test]
async fn no_event_can_be_changed_or_deleted() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let db = fresh.store.db();
        fresh.store.group_commit().append(vec![event("one", 1)]).await.expect("appended");
        let mut attempts = vec!["UPDATE events SET event_type = 'other'", "DELETE FROM events"];
        if db.is_postgres() {
            attempts.extend([
                "TRUNCATE events",
                "TRUNCATE events_grant",
                "TRUNCATE events_grant_other",
                "DELETE FROM events_grant_other",
                "UPDATE events_grant SET txid = 0",
            ]);
        }
        for attempt in attempts {
            let error = db.execute(attempt, &[]).await.expect_err(attempt).to_string();
            assert!(error.contains("append-only"), "{attempt}: {error}");
        }
        assert_eq!(number(db, "SELECT count(*) FROM events WHERE event_type = 'grant.opened'").await, 1);
    })
    .await;
}

/// They append nothing: they would give no event its code, and the log takes none without.
#[tokio::test]
async fn the_crates_own_repositories_read_the_same_log() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        fresh.store.group_commit().append(vec![event("one", 1), event("one", 2)]).await.expect("appended");
        let stored = SerializedEvent::new(
            "one".to_owned(),
            3,
            "grant".to_owned(),
            "grant.opened".to_owned(),
            "1.0".to_owned(),
            json!({}),
            json!({}),
        );
        let (read, persisted) = match fresh.store.db() {
            Db::Postgres(pool) => {
                let repository = PostgresEventRepository::new(pool.clone());
                (repository.get_events::<Grant>("one").await, repository.persist::<Grant>(&[stored], None).await)
            }
            Db::Sqlite { write, .. } => {
                let repository = SqliteEventRepository::new(write.clone());
                (repository.get_events::<Grant>("one").await, repository.persist::<Grant>(&[stored], None).await)
            }
        };
        assert_eq!(read.expect("read").iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
        assert!(persisted.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_executed_observed_and_told_where_they_stand() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let store = &fresh.store;
        let seen = Arc::new(Mutex::new(Vec::new()));
        store.observe({
            let seen = Arc::clone(&seen);
            move |events| seen.lock().extend_from_slice(events)
        });
        let id = new_user().to_string();
        let at = Timestamp(1);
        let made = store.create::<User>(&id, UserCommand::Register { at }, &by()).await.expect("created");
        assert_eq!((made.events.len(), made.events[0].sequence), (1, 1));
        assert_eq!(*seen.lock(), made.events);
        assert!(matches!(made.events[0].event, Event::User(_)));
        let again = store.create::<User>(&id, UserCommand::Register { at }, &by()).await;
        assert!(matches!(again, Err(ExecuteError::Conflict)), "{again:?}");
        let done = store.execute::<User>(&id, UserCommand::Disable { at }, &by()).await.expect("executed");
        assert_eq!(done.events[0].sequence, 2);
        assert!(done.events[0].position > made.events[0].position);
        assert_ne!(done.events[0].metadata.event_id, made.events[0].metadata.event_id);
        let refused = store.execute::<User>(&new_user().to_string(), UserCommand::Disable { at }, &by()).await;
        assert!(matches!(refused, Err(ExecuteError::Refused(UserError::NotFound))), "{refused:?}");
        let loaded = store.load::<User>(&id).await.expect("loaded");
        assert_eq!((loaded.sequence, loaded.aggregate.stage()), (2, done.aggregate.stage()));
        assert_eq!(store.load::<User>("nobody").await.expect("loaded").sequence, 0);
    })
    .await;
}

/// Everybody changes the same stream; each is retried until it gets its turn or gives up, and none is half done.
#[tokio::test(flavor = "multi_thread")]
async fn commands_that_collide_are_decided_anew() {
    let options = StoreOptions { conflict_retries: 20, ..StoreOptions::default() };
    on_both(options, async |fresh: &Fresh| {
        let id = new_user().to_string();
        let at = Timestamp(1);
        fresh.store.create::<User>(&id, UserCommand::Register { at }, &by()).await.expect("created");
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (store, id) = (fresh.store.clone(), id.clone());
                tokio::spawn(
                    async move { store.execute::<User>(&id, UserCommand::ChangeCredential { at }, &by()).await },
                )
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(_) => done += 1,
                Err(error) => assert!(matches!(error, ExecuteError::Conflict), "{error}"),
            }
        }
        assert!(done > 0);
        assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, done + 1);
        assert_eq!(fresh.store.load::<User>(&id).await.expect("loaded").sequence, done + 1);
    })
    .await;
}

/// A row that cannot be decoded and a stream with a hole are errors that name the stream, never a panic or a guess.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stream_is_reported() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let store = &fresh.store;
        let mut strange = event("strange", 1);
        strange.aggregate_type = "user".to_owned();
        store.group_commit().append(vec![strange]).await.expect("appended");
        let mut hole = event("hole", 2);
        hole.aggregate_type = "user".to_owned();
        hole.payload = r#"{"registered":{"at":1}}"#.to_owned();
        store.group_commit().append(vec![hole]).await.expect("appended");
        for id in ["strange", "hole"] {
            let loaded = store.load::<User>(id).await;
            assert!(
                matches!(&loaded, Err(StoreError::Damaged { aggregate_id, .. }) if aggregate_id == id),
                "{loaded:?}"
            );
            let executed = store.execute::<User>(id, UserCommand::Disable { at: Timestamp(1) }, &by()).await;
            assert!(matches!(executed, Err(ExecuteError::Damaged(_))), "{executed:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_newer_or_changed_schema_is_refused_and_an_older_one_named() {
    let fresh = sqlite(StoreOptions::default()).await;
    assert_eq!(fresh.store.migrate(&mut |_| ()).await.expect("nothing to do"), 0);
    fresh.store.check().await.expect("up to date");
    let db = fresh.store.db();
    db.execute("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1", &[]).await.expect("changed");
    assert!(matches!(fresh.store.check().await, Err(StoreError::ChangedMigration { version: 1 })));
    db.execute("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1", &[]).await.expect("changed");
    let refused = fresh.store.migrate(&mut |_| ()).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 9999, .. })), "{refused:?}");
    db.execute("DELETE FROM _sqlx_migrations", &[]).await.expect("changed");
    let refused = fresh.store.check().await;
    assert!(matches!(refused, Err(StoreError::OlderSchema { missing, of }) if missing == of), "{refused:?}");
    db.execute("DROP TABLE _sqlx_migrations", &[]).await.expect("dropped");
    let refused = fresh.store.check().await;
    assert!(matches!(refused, Err(StoreError::OlderSchema { missing, of }) if missing == of), "{refused:?}");
    assert_eq!(number(db, "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'").await, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_companions_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = sqlite(StoreOptions::default()).await;
    fresh.store.group_commit().append(vec![event("one", 1)]).await.expect("appended");
    let crate::config::DatabaseKind::Sqlite(file) = fresh.url.kind() else { unreachable!("SQLite") };
    let folder = std::fs::read_dir(file.parent().expect("a folder")).expect("read");
    for entry in folder.map(|entry| entry.expect("an entry")) {
        let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "x".repeat(4096)).expect("written");
    let missing = folder.path().join("no/such/folder/test.db");
    let cases = [
        (format!("sqlite:{}", file.display()), "is not an SQLite database"),
        (format!("sqlite:{}", missing.display()), "cannot be made"),
        ("postgres://localhost:1/none".to_owned(), "cannot be reached"),
    ];
    for (url, expected) in cases {
        let url = url.parse().expect("a database URL");
        let Err(error) = Store::open(&url, StoreOptions::default(), Clock::system(), Entropy::system()).await else {
            panic!("{url:?} was opened");
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A server that answers a commit before it is on disk would let acknowledged revocations vanish.
#[tokio::test]
async fn a_commit_is_durable_whatever_the_servers_default_is() {
    let Some(url) = super::new_database().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    let fresh = super::open(&url, StoreOptions::default()).await;
    let name = fresh.store.db().fetch("SELECT current_database()::text", &[]).await.expect("a name");
    let relax = format!("ALTER DATABASE {} SET synchronous_commit = off", name[0].text(0).expect("a name"));
    fresh.store.db().execute(&relax, &[]).await.expect("relaxed");
    let again = super::open(&url, StoreOptions::default()).await;
    let shown = again.store.db().fetch("SELECT current_setting('synchronous_commit')", &[]).await.expect("shown");
    assert_eq!(shown[0].text(0).expect("a word"), "on");
}
