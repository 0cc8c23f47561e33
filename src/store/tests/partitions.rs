//! The partitions of the grants' events on PostgreSQL.

use std::time::Duration;

use grantlog_domain::Timestamp;
use grantlog_domain::grant::Grant;
use grantlog_projections::db::Db;
use grantlog_projections::feed::{Cursor, ordered};

use super::{event, new_database, number, unlock};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::{AppendError, Ensured, Store, StoreOptions};

/// A store whose clock stands in the past, not migrated yet.
async fn store(at: i64) -> Option<(Store, Clock, String)> {
    let Some(url) = new_database().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return None;
    };
    let clock = Clock::manual(Timestamp(at));
    let parsed = url.parse().expect("a URL");
    let store = Store::open(&parsed, StoreOptions::default(), clock.clone(), Entropy::system()).await.expect("opened");
    unlock(&store);
    Some((store, clock, url))
}

const START: i64 = 1_753_920_000;
const DAYS: u64 = 86_400;

fn id(clock: &Clock) -> String {
    Entropy::system().uuid_v7(clock.now_millis()).to_string()
}

async fn names(store: &Store) -> Vec<String> {
    store.partitions().await.expect("partitions").into_iter().map(|partition| partition.name).collect()
}

/// Which partition the events of a grant are in.
async fn partition_of(db: &Db, id: &str) -> Vec<String> {
    let sql = "SELECT DISTINCT tableoid::regclass::text FROM events WHERE aggregate_id = $1";
    db.fetch(sql, &[id.into()]).await.expect("found").iter().map(|row| row.text(0).expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_hold_the_whole_stream_of_their_grants() {
    let Some((store, clock, _)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    let first = names(&store).await;
    assert_eq!(first.last().map(String::as_str), Some("events_grant_other"));
    assert!(first.len() >= 3, "{first:?}");
    assert_eq!(store.ensure_partitions().await.expect("looked"), Ensured::Made(Vec::new()), "nothing is missing");
    let mut grants = Vec::new();
    for _ in 0..6 {
        let id = id(&clock);
        store.group_commit().append(vec![event(&id, 1)]).await.expect("appended");
        grants.push(id);
        clock.advance(Duration::from_secs(7 * DAYS));
        store.ensure_partitions().await.expect("made");
    }
    let mut used = Vec::new();
    for id in &grants {
        store.group_commit().append(vec![event(id, 2), event(id, 3)]).await.expect("appended");
        let partitions = partition_of(store.db(), id).await;
        assert_eq!(partitions.len(), 1, "{partitions:?}");
        used.extend(partitions);
    }
    used.dedup();
    assert!(used.len() >= 5, "{used:?}");
    assert_eq!(number(store.db(), "SELECT count(*) FROM events_grant_other").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_log_and_the_lock_of_a_decision_reach_across_partitions() {
    let Some((store, clock, _)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(id(&clock));
        clock.advance(Duration::from_secs(9 * DAYS));
        store.ensure_partitions().await.expect("made");
    }
    // Backwards, so that the order of the log is not that of the partitions; one without any partition.
    ids.push("zzz".to_owned());
    let mut expected = Vec::new();
    for sequence in 1..=3 {
        for id in ids.iter().rev() {
            store.group_commit().append(vec![event(id, sequence)]).await.expect("appended");
            expected.push((id.clone(), sequence));
        }
    }
    // Other tests have transactions in the same cluster, which hold the ordered feed back.
    let mut in_order = Vec::new();
    while in_order.len() < expected.len() {
        in_order = ordered::read(store.log(), Cursor::START, 100).await.expect("read");
    }
    let keys = |events: &[grantlog_projections::feed::Stored]| {
        events.iter().map(|stored| (stored.aggregate_id.clone(), stored.sequence)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&in_order), expected);
    for id in &ids {
        let again = store.group_commit().append(vec![event(id, 3)]).await;
        assert_eq!(again.err(), Some(AppendError::Conflict), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_is_like_the_log() {
    let Some((store, clock, _)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    let db = store.db();
    store.group_commit().append(vec![event(&id(&clock), 1)]).await.expect("appended");
    for partition in names(&store).await {
        let columns = format!(
            "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{partition}'::regclass \
             AND attnum > 0 AND NOT attisdropped"
        );
        let columns = db.fetch(&columns, &[]).await.expect("columns");
        let expected = "aggregate_type aggregate_id sequence event_type event_version payload metadata txid position recorded_at mac";
        assert_eq!(columns[0].text(0).expect("names"), expected, "{partition}");
        let indexes = format!("SELECT count(*) FROM pg_index WHERE indrelid = '{partition}'::regclass");
        let of_log = number(db, "SELECT count(*) FROM pg_index WHERE indrelid = 'events'::regclass").await;
        assert_eq!(number(db, &indexes).await, of_log, "{partition}");
        let refused = db.execute(&format!("TRUNCATE {partition}"), &[]).await.expect_err("truncated").to_string();
        assert!(refused.contains("append-only"), "{partition}: {refused}");
        let guards = format!(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = '{partition}'::regclass AND tgname = 'events_append_only'"
        );
        assert_eq!(number(db, &guards).await, 1, "{partition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_partition_the_default_one_takes_the_events_and_is_adopted_later() {
    let Some((store, clock, _)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    let known = names(&store).await.len();
    // Nobody makes partitions for half a year.
    clock.advance(Duration::from_secs(180 * DAYS));
    let late = id(&clock);
    store.group_commit().append(vec![event(&late, 1)]).await.expect("appended");
    assert_eq!(partition_of(store.db(), &late).await, ["events_grant_other"]);
    let Ensured::Made(made) = store.ensure_partitions().await.expect("made") else { panic!("nothing was made") };
    assert_eq!(partition_of(store.db(), &late).await, made[..1]);
    assert_eq!(number(store.db(), "SELECT count(*) FROM events_grant_other").await, 0);
    assert!(names(&store).await.len() > known);
    store.group_commit().append(vec![event(&late, 2)]).await.expect("appended");
    assert_eq!(store.load::<Grant>("nobody").await.expect("loaded").sequence, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fit_nowhere_do_not_stop_appends_or_partitions() {
    let Some((store, clock, _)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    clock.advance(Duration::from_secs(100 * DAYS));
    let late = id(&clock);
    // Not an id of a moment: it sorts behind all of them.
    store.group_commit().append(vec![event("strange", 1)]).await.expect("appended");
    store.group_commit().append(vec![event(&late, 1)]).await.expect("appended");
    store.ensure_partitions().await.expect("looked");
    store.group_commit().append(vec![event(&late, 2)]).await.expect("appended");
    clock.advance(Duration::from_secs(400 * DAYS));
    let later = id(&clock);
    store.group_commit().append(vec![event(&later, 1)]).await.expect("appended");
    assert_eq!(number(store.db(), "SELECT count(*) FROM events").await, 4);
}

/// Whoever was killed while it made the default partition's rows a partition leaves a constraint on them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_does_not_refuse_appends_for_long() {
    let Some((store, _, _)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    let left = "ALTER TABLE events_grant_other ADD CONSTRAINT events_grant_adopted \
                CHECK (aggregate_type = 'grant' AND aggregate_id < '01') NOT VALID";
    store.db().execute(left, &[]).await.expect("left behind");
    let refused = store.group_commit().append(vec![event("zzz", 1)]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    store.ensure_partitions().await.expect("mended");
    store.group_commit().append(vec![event("zzz", 1)]).await.expect("appended");
}

/// A role that may only read and append cannot make partitions; it says so and serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_own_the_events_can_append_but_not_change_partitions() {
    let Some((store, clock, url)) = store(START).await else { return };
    store.migrate(&mut |_| ()).await.expect("migrated");
    let role = format!("app_{}", Entropy::system().uuid_v7(0).simple());
    let db = store.db();
    for sql in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT SELECT, INSERT ON events TO {role}"),
        format!("GRANT SELECT ON log_identity, _sqlx_migrations, archives, events_base, events_base_sums TO {role}"),
    ] {
        db.execute(&sql, &[]).await.expect(&sql);
    }
    let mut url = url::Url::parse(&url).expect("a URL");
    url.set_username(&role).expect("a name");
    let parsed = url.as_str().parse().expect("a URL");
    let options = StoreOptions::default();
    let Ok(app) = Store::open(&parsed, options, clock.clone(), Entropy::system()).await else {
        // A cluster that asks for passwords does not let the new role in.
        panic!("the role cannot connect");
    };
    unlock(&app);
    assert_eq!(app.ensure_partitions().await.expect("looked"), Ensured::NotAllowed);
    let id = id(&clock);
    app.group_commit().append(vec![event(&id, 1)]).await.expect("appended");
    assert_eq!(app.group_commit().append(vec![event(&id, 1)]).await.err(), Some(AppendError::Conflict));
    for attempt in ["DELETE FROM events", "UPDATE events SET txid = 0", "TRUNCATE events", "DROP TABLE events"] {
        let refused = app.db().execute(attempt, &[]).await.expect_err(attempt).to_string();
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{attempt}: {refused}");
    }
    app.close().await;
    db.execute(&format!("DROP OWNED BY {role}"), &[]).await.expect("dropped");
    db.execute(&format!("DROP ROLE {role}"), &[]).await.expect("dropped");
}
