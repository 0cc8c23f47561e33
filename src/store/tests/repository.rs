//! cqrs-es over the log: its framework and its replays, through the repository that commands are loaded with.

use std::collections::HashMap;

use cqrs_es::persist::{
    PersistedEventRepository as _, PersistedEventStore, PersistenceError, ReplayStream, SerializedEvent,
};
use cqrs_es::{AggregateError, CqrsFramework};
use grantlog_domain::user::{User, UserCommand, UserError};
use grantlog_domain::{Actor, EventMetadata, Timestamp, upcasters};
use grantlog_projections::db::Db;
use serde_json::json;

use super::{Fresh, on_both};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::StoreOptions;
use crate::store::repository::Repository;

const AT: Timestamp = Timestamp(1);

fn repository(fresh: &Fresh) -> Repository {
    fresh.store.0.repository.clone()
}

fn framework(fresh: &Fresh) -> CqrsFramework<User, PersistedEventStore<Repository, User>> {
    let store = PersistedEventStore::new_event_store(repository(fresh)).with_upcasters(upcasters());
    CqrsFramework::new(store, Vec::new(), ())
}

/// Each event names itself in its metadata, so each command has its own.
fn metadata() -> HashMap<String, String> {
    let event_id = Entropy::system().uuid_v7(Clock::system().now_millis());
    let actor = Actor::System;
    EventMetadata { event_id, actor, request_id: None, correlation: None, source_address: None }.to_map()
}

/// Two users with two and one events.
async fn fill(fresh: &Fresh) {
    let framework = framework(fresh);
    for (id, command) in [
        ("one", UserCommand::Register { at: AT }),
        ("two", UserCommand::Register { at: AT }),
        ("one", UserCommand::Disable { at: AT }),
    ] {
        framework.execute_with_metadata(id, command, metadata()).await.expect("executed");
    }
}

async fn types(mut stream: ReplayStream) -> Vec<Result<String, PersistenceError>> {
    let mut found = Vec::new();
    while let Some(event) = stream.next::<User>(&upcasters()).await {
        found.push(event.map(|event| format!("{} {}", event.aggregate_id, event.sequence)));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_framework_executes_commands_over_the_group_commit() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        fill(fresh).await;
        let loaded = fresh.store.load::<User>("one").await.expect("loaded");
        assert_eq!(loaded.sequence, 2);
        let refused = framework(fresh).execute_with_metadata("one", UserCommand::Register { at: AT }, metadata()).await;
        assert!(matches!(refused, Err(AggregateError::UserError(UserError::AlreadyExists))), "{refused:?}");
        // Who read before somebody else appended loses.
        let taken = SerializedEvent {
            aggregate_id: "one".to_owned(),
            sequence: 2,
            aggregate_type: "user".to_owned(),
            event_type: "user.enabled".to_owned(),
            event_version: "1.0".to_owned(),
            payload: json!({ "enabled": { "at": 1 } }),
            metadata: json!(metadata()),
        };
        let late = repository(fresh).persist::<User>(std::slice::from_ref(&taken), None).await;
        assert!(matches!(late, Err(PersistenceError::OptimisticLockError)), "{late:?}");
        let snapshot = Some(("one".to_owned(), json!({}), 1));
        assert!(repository(fresh).persist::<User>(&[taken], snapshot).await.is_err());
        assert!(repository(fresh).get_snapshot::<User>("one").await.expect("answered").is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_read_from_any_place_and_replayed_whole() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        fill(fresh).await;
        let repository = repository(fresh);
        let last = repository.get_last_events::<User>("one", 1).await.expect("read");
        assert_eq!(
            last.iter().map(|event| (event.sequence, event.event_type.as_str())).collect::<Vec<_>>(),
            [(2, "user.disabled")]
        );
        let one = types(repository.stream_events::<User>("one").await.expect("a stream")).await;
        assert_eq!(one.into_iter().collect::<Result<Vec<_>, _>>().expect("whole"), ["one 1", "one 2"]);
        let all = types(repository.stream_all_events::<User>().await.expect("a stream")).await;
        assert_eq!(all.into_iter().collect::<Result<Vec<_>, _>>().expect("whole"), ["one 1", "one 2", "two 1"]);
    })
    .await;
}

/// A replay that ends early says so: postgres-es and sqlite-es end theirs without a word.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_decided_is_refused_on_every_way() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        fill(fresh).await;
        let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                   metadata, mac) SELECT aggregate_type, aggregate_id, 2, 'user.disabled', event_version, payload, \
                   metadata, mac FROM events WHERE aggregate_id = 'two'";
        fresh.store.db().execute(sql, &[]).await.expect("whoever may insert may insert this");
        let repository = repository(fresh);
        assert!(matches!(repository.get_events::<User>("two").await, Err(PersistenceError::DeserializationError(_))));
        assert!(repository.get_last_events::<User>("two", 1).await.is_err());
        assert!(repository.stream_events::<User>("two").await.is_err());
        let all = types(repository.stream_all_events::<User>().await.expect("a stream")).await;
        assert!(all.last().is_some_and(Result::is_err) && all.len() == 3, "{all:?}");
    })
    .await;
}

/// SQLite takes bytes where text belongs; sqlite-es panics at them.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_another_shape_is_damage_and_no_panic() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let Db::Sqlite { .. } = fresh.store.db() else { return };
        let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                   metadata, mac) VALUES ('user', 'odd', 1, CAST(X'ff' AS text), '1.0', '{}', '{}', 'x')";
        fresh.store.db().execute(sql, &[]).await.expect("SQLite takes it");
        let read = repository(fresh).get_events::<User>("odd").await;
        assert!(matches!(read, Err(PersistenceError::DeserializationError(_))), "{read:?}");
    })
    .await;
}
