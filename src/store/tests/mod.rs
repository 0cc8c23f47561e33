//! The store on both databases. PostgreSQL's cases need `GRANTLOG_TEST_POSTGRES`, the URL of a cluster, which
//! `tests/run` provides; each makes a database of its own.

mod ending;
mod group_commit;
mod log;
#[cfg(unix)]
mod outage;
mod partitions;
mod peppers;
mod recent;
mod repository;
mod restore;

use grantlog_projections::db::Db;
use grantlog_projections::mac::{KEY_BYTES, MacKeys};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use super::group_commit::NewEvent;
use super::{Store, StoreOptions};
use crate::clock::Clock;
use crate::config::DatabaseUrl;
use crate::entropy::Entropy;

/// A store with a fresh database, and what must live as long.
pub(super) struct Fresh {
    pub store: Store,
    pub url: DatabaseUrl,
    _folder: Option<TempDir>,
}

/// Runs `case` on a fresh database of each kind.
pub(super) async fn on_both(options: StoreOptions, case: impl AsyncFn(&Fresh)) {
    case(&sqlite(options).await).await;
    match postgres(options).await {
        Some(fresh) => case(&fresh).await,
        None => eprintln!("SKIPPED on PostgreSQL: GRANTLOG_TEST_POSTGRES is not set"),
    }
}

pub(super) async fn sqlite(options: StoreOptions) -> Fresh {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let mut fresh = open(&url, options).await;
    fresh._folder = Some(folder);
    fresh
}

pub(super) async fn postgres(options: StoreOptions) -> Option<Fresh> {
    let url = new_database().await?;
    Some(open(&url, options).await)
}

/// The URL of a new, empty database of the test cluster.
pub(in crate::store) async fn new_database() -> Option<String> {
    let cluster = std::env::var("GRANTLOG_TEST_POSTGRES").ok()?;
    let name = format!("store_{}", Entropy::system().uuid_v7(Clock::system().now_millis()).simple());
    let mut connection = PgConnection::connect(&cluster).await.expect("the test cluster is there");
    connection.execute(format!("CREATE DATABASE {name}").as_str()).await.expect("a new database");
    let mut url = url::Url::parse(&cluster).expect("a URL");
    url.set_path(&name);
    Some(url.to_string())
}

pub(super) async fn open(url: &str, options: StoreOptions) -> Fresh {
    let url: DatabaseUrl = url.parse().expect("a database URL");
    let store = Store::open(&url, options, Clock::system(), Entropy::system()).await.expect("opened");
    unlock(&store);
    store.migrate(&mut |_| ()).await.expect("migrated");
    Fresh { store, url, _folder: None }
}

/// Gives the store the keys that the tests' logs have, for where no pepper is at hand.
pub(crate) fn unlock(store: &Store) {
    store.log().open(MacKeys::new([(1, [1; KEY_BYTES])]));
}

/// The code of such an event, for tests that write a row by themselves.
pub(crate) fn code(store: &Store, event: &NewEvent) -> String {
    store.log().keys().expect("keys").decided(&event.content()).as_str().to_owned()
}

/// An event as only these tests append it: the log does not look into the payload.
pub(in crate::store) fn event(aggregate_id: &str, sequence: i64) -> NewEvent {
    let event_id = Entropy::system().uuid_v7(Clock::system().now_millis());
    NewEvent {
        aggregate_type: "grant".to_owned(),
        aggregate_id: aggregate_id.to_owned(),
        sequence,
        event_type: "grant.opened".to_owned(),
        event_version: "1.0".to_owned(),
        payload: r#"{"opened":{"note":"with \u0000 inside"}}"#.to_owned(),
        metadata: format!(r#"{{"event_id":"{event_id}","actor":"system"}}"#),
        event_id,
    }
}

/// One number from one statement.
pub(in crate::store) async fn number(db: &Db, sql: &str) -> i64 {
    db.fetch(sql, &[]).await.expect("answered").first().expect("a row").int(0).expect("a number")
}
