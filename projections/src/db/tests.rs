use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::testing::{postgres, until};

async fn file() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    open::create_sqlite_file(&file).unwrap();
    let db = Db::open_sqlite(&file, &OpenOptions::default()).await.unwrap();
    db.execute("CREATE TABLE things (id TEXT PRIMARY KEY, size INTEGER) STRICT", &[]).await.unwrap();
    (folder, db)
}

async fn synchronous(db: &Db) -> i64 {
    let Db::Sqlite { write, .. } = db else { panic!("sqlite") };
    let row = write.fetch_one("PRAGMA synchronous").await.unwrap();
    Row::Sqlite(row).int(0).unwrap()
}

const FULL: i64 = 2;
const INSERT: &str = "INSERT INTO things (id, size) VALUES ($1, $2)";

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    let (_folder, db) = file().await;
    db.execute(INSERT, &["a".into(), 7.into()]).await.unwrap();
    db.execute(INSERT, &["b".into(), Value::Null]).await.unwrap();
    let rows = db.fetch("SELECT id, size FROM things ORDER BY id", &[]).await.unwrap();
    assert_eq!((rows[0].text(0).unwrap(), rows[0].int(1).unwrap()), ("a".to_owned(), 7));
    assert_eq!(rows[1].opt_int(1).unwrap(), None);
    assert!(matches!(rows[1].int(1), Err(DbError::Malformed(_))));
}

/// Before 3.51.3 a checkpoint beside a commit of another connection could lose pages of the WAL (docs/dependencies.md).
#[tokio::test]
async fn the_sqlite_that_is_linked_is_one_and_not_an_old_one() {
    let (_folder, db) = file().await;
    let version = db.fetch("SELECT sqlite_version()", &[]).await.unwrap()[0].text(0).unwrap();
    assert_eq!(version, rusqlite::version());
    assert!(rusqlite::version_number() >= 3_051_003, "{version}");
}

#[tokio::test]
async fn a_second_row_with_the_same_key_is_a_conflict() {
    let (_folder, db) = file().await;
    db.execute(INSERT, &["a".into(), 7.into()]).await.unwrap();
    assert!(db.execute(INSERT, &["a".into(), 8.into()]).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn a_rebuildable_transaction_leaves_the_connection_durable() {
    let (_folder, db) = file().await;
    let mut tx = db.begin_rebuildable().await.unwrap();
    assert_eq!(tx.fetch("PRAGMA synchronous", &[]).await.unwrap()[0].int(0).unwrap(), 1);
    tx.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(synchronous(&db).await, FULL);

    let mut dropped = db.begin_rebuildable().await.unwrap();
    dropped.execute(INSERT, &["b".into(), 1.into()]).await.unwrap();
    drop(dropped);
    assert_eq!(synchronous(&db).await, FULL);
    assert_eq!(db.fetch("SELECT id FROM things", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let (_folder, db) = file().await;
    let mut tx = db.begin().await.unwrap();
    tx.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    drop(tx);
    assert!(db.begin().await.unwrap().fetch("SELECT id FROM things", &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_read_transaction_sees_one_snapshot() {
    let (_folder, db) = file().await;
    let mut tx = db.begin_read().await.unwrap();
    assert!(tx.fetch("SELECT id FROM things", &[]).await.unwrap().is_empty());
    db.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    assert!(tx.fetch("SELECT id FROM things", &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_that_was_made_while_the_database_was_read_only_is_given_up_for_one_that_can_write() {
    let Some(fresh) = postgres().await else { return };
    let Db::Postgres(pool) = fresh.db.db() else { panic!("postgres") };
    let mut operator = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
    let row = operator.fetch_one("SELECT current_database()").await.unwrap();
    let name = Row::Postgres(row).text(0).unwrap();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    operator.execute(read_only.as_str()).await.unwrap();
    let db = fresh.db.apart(1);
    let refused = db.execute("CREATE TABLE things (id TEXT PRIMARY KEY)", &[]).await;
    assert!(refused.unwrap_err().is_unavailable());
    assert_eq!(db.fetch("SELECT 'read'", &[]).await.unwrap().len(), 1);

    let writable = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    operator.execute(writable.as_str()).await.unwrap();
    until("the only session of the pool can write", || async {
        db.execute("CREATE TABLE IF NOT EXISTS things (id TEXT PRIMARY KEY)", &[]).await.is_ok()
    })
    .await;
}
