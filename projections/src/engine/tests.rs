mod sweep;
mod versions;

use std::sync::Arc;

use grantlog_domain::grant::GrantEvent;
use grantlog_domain::{GrantId, Recorded, UserId};
use uuid::Uuid;

use super::projection::all;
use super::{Projector, ProjectorOptions, names, prepare};
use crate::check::check;
use crate::checkpoint::{self, Checkpoint};
use crate::db::Db;
use crate::feed::{Cursor, Wake, ordered};
use crate::live::Live;
use crate::log::Log;
use crate::rebuild::rebuild;
use crate::tables::{Page, activity, clients, grants, keys, sessions, tokens, users};
use crate::testing::{
    Fresh, NOW, append, append_all, append_raw, hash, now, on_both, opened, postgres, recorded, scenario, until,
};
use crate::{poison, status};

const CLIENT: u128 = 0x100;
const USER: UserId = UserId(Uuid::from_u128(0x200));

/// Runs the engine until every table has reached the end of the log.
async fn catch_up(db: &Log) {
    let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(now()));
    until("the tables are up to date", || async {
        let status = status::read(db, NOW).await.unwrap();
        status.tables.iter().filter(|table| table.active).all(|table| table.lag_events == 0)
    })
    .await;
    projector.stop().await;
}

fn folded(events: &[Recorded]) -> Vec<String> {
    let live = Live::new();
    events.iter().for_each(|event| live.apply(event));
    live.describe(NOW)
}

async fn loaded(db: &Log) -> Vec<String> {
    let live = Live::new();
    live.load(db, NOW).await.unwrap();
    live.describe(NOW)
}

#[tokio::test]
async fn tables_give_the_same_live_models_as_the_log() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(11, 60);
        let (first, second) = events.split_at(events.len() / 2);
        append_all(db, first).await;
        assert_eq!(loaded(db).await, folded(first), "from the log alone");
        catch_up(db).await;
        assert_eq!(loaded(db).await, folded(first), "from the tables");
        append_all(db, second).await;
        assert_eq!(loaded(db).await, folded(&events), "from both");
        catch_up(db).await;
        assert_eq!(loaded(db).await, folded(&events), "from the tables again");
    })
    .await;
}

#[tokio::test]
async fn a_replay_gives_the_same_bytes() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(5, 80);
        for part in events.chunks(events.len() / 3 + 1) {
            append_all(db, part).await;
            catch_up(db).await;
        }
        for name in names() {
            let checked = check(db, name, NOW, |_| ()).await.unwrap();
            assert!(checked.comparison.is_equal(), "{checked:?}");
            assert_eq!(checked.events, events.len() as u64);
        }
        // The scratch tables are gone.
        assert_eq!(checkpoint::all(db).await.unwrap().len(), names().len());
    })
    .await;
}

#[tokio::test]
async fn a_changed_row_is_found_and_a_rebuild_mends_it() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &scenario(6, 30)).await;
        catch_up(db).await;
        db.execute("UPDATE tokens_v1_b1 SET expires_at = expires_at + 1", &[]).await.unwrap();
        assert!(!check(db, "tokens", NOW, |_| ()).await.unwrap().comparison.is_equal());
        let mut reports = Vec::new();
        let rebuilt = rebuild(db, "tokens", NOW, |progress| reports.push(progress)).await.unwrap();
        assert_eq!(rebuilt.replaced.as_deref(), Some("tokens_v1_b1"));
        assert!(!rebuilt.comparison.unwrap().is_equal());
        let last = reports.last().unwrap();
        assert_eq!(last.done, last.total);
        assert!(check(db, "tokens", NOW, |_| ()).await.unwrap().comparison.is_equal());
        assert!(db.fetch("SELECT 1 FROM tokens_v1_b1", &[]).await.is_err(), "the old table is dropped");
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_beside_a_running_engine_switches_without_a_gap() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(7, 60);
        let (first, second) = events.split_at(events.len() / 2);
        append_all(db, first).await;
        let wake = Wake::new(db);
        let projector = Projector::start(db, &wake, ProjectorOptions::new(now()));
        let appending = async {
            for event in second {
                append(db, event).await;
                wake.signal();
                let rows = tokens::of_grant(db, GrantId(Uuid::from_u128(0x1000))).await;
                assert!(rows.is_ok(), "the view always answers: {rows:?}");
            }
        };
        let rebuilding = async {
            for name in names() {
                let rebuilt = rebuild(db, name, NOW, |_| ()).await.unwrap();
                assert!(rebuilt.comparison.is_some_and(|comparison| comparison.is_equal()), "{name}");
            }
        };
        tokio::join!(appending, rebuilding);
        projector.stop().await;
        catch_up(db).await;
        assert_eq!(loaded(db).await, folded(&events));
        for name in names() {
            assert!(check(db, name, NOW, |_| ()).await.unwrap().comparison.is_equal(), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_rebuild_goes_on_where_it_stopped() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &scenario(8, 40)).await;
        catch_up(db).await;
        append_raw(db, &recorded("x", 1, GrantEvent::Opened(opened_plain())), "grant.from_the_future", "{}").await;
        // The build takes in what it knows and then refuses to skip: as good as a power cut.
        let stopped = rebuild(db, "tokens", NOW, |_| ()).await;
        assert!(stopped.is_err(), "{stopped:?}");
        let half = checkpoint::all(db).await.unwrap();
        let half: Vec<_> = half.iter().filter(|(checkpoint, _)| checkpoint.name == "tokens").collect();
        assert_eq!(half.len(), 2);
        assert!(half.iter().all(|(checkpoint, _)| checkpoint.cursor == half[0].0.cursor), "{half:?}");
        forget_newest(db).await;
        let rebuilt = rebuild(db, "tokens", NOW, |_| ()).await.unwrap();
        assert!(rebuilt.resumed);
        assert_eq!(rebuilt.events, 0, "everything was taken in before");
        assert!(rebuilt.comparison.unwrap().is_equal());
        assert_eq!(checkpoint::all(db).await.unwrap().len(), names().len());
    })
    .await;
}

fn opened_plain() -> grantlog_domain::grant::GrantOpened {
    opened(grantlog_domain::ClientId(Uuid::from_u128(CLIENT)), None, 5)
}

/// Takes the last event out of the log, which only a test may do.
async fn forget_newest(db: &Log) {
    let delete = "DELETE FROM events WHERE event_type = 'grant.from_the_future'";
    if let Db::Postgres(pool) = db.db() {
        for table in ["events_grant_other"] {
            let sql =
                format!("ALTER TABLE {table} DISABLE TRIGGER ALL; {delete}; ALTER TABLE {table} ENABLE TRIGGER ALL");
            sqlx::raw_sql(&sql).execute(pool).await.unwrap();
        }
    } else {
        db.execute("DROP TRIGGER events_no_delete", &[]).await.unwrap();
        db.execute(delete, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_event_type_stops_the_tables_and_the_live_models() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(9, 10);
        append_all(db, &events).await;
        append_raw(db, &recorded("x", 1, GrantEvent::Opened(opened_plain())), "grant.from_the_future", "{}").await;
        append(db, &recorded(Uuid::from_u128(0x9999), 1, GrantEvent::Opened(opened_plain()))).await;
        let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(now()));
        until("it stops", || async { projector.status().stopped.is_some() }).await;
        projector.stop().await;
        let status = status::read(db, NOW).await.unwrap();
        assert!(status.tables.iter().all(|table| table.lag_events > 0 && table.stopped.is_some()), "{status:?}");
        assert!(Live::new().load(db, NOW).await.is_err());
        forget_newest(db).await;
        catch_up(db).await;
        assert_eq!(tokens::of_grant(db, GrantId(Uuid::from_u128(0x9999))).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_poison_event_quarantines_its_aggregate_and_the_rest_goes_on() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &registered()).await;
        let (bad, good) = (Uuid::from_u128(0x51), Uuid::from_u128(0x52));
        append(db, &recorded(bad, 1, GrantEvent::Opened(opened_plain()))).await;
        append_raw(db, &recorded(bad, 2, GrantEvent::Opened(opened_plain())), "grant.revoked", "{\"revoked\":7}").await;
        append(db, &recorded(bad, 3, GrantEvent::AccessTokenRevoked { token: hash(5), at: NOW })).await;
        append(db, &recorded(good, 1, GrantEvent::Opened(opened_plain()))).await;
        let live = Live::new();
        live.load(db, NOW).await.unwrap();
        assert!(live.introspect(GrantId(bad), &hash(5), NOW).is_none(), "through the feed");
        assert!(live.introspect(GrantId(good), &hash(5), NOW).is_some());
        assert_eq!(live.feed_status().poison, 1);
        catch_up(db).await;
        let poison = poison::list(db, 100).await.unwrap();
        let tokens: Vec<_> = poison.iter().filter(|poison| poison.table_name == "tokens_v1_b1").collect();
        assert_eq!(tokens.iter().map(|poison| poison.sequence).collect::<Vec<_>>(), [2, 3]);
        assert!(tokens[1].error.starts_with("held back"));
        let live = Live::new();
        live.load(db, NOW).await.unwrap();
        assert!(live.introspect(GrantId(bad), &hash(5), NOW).is_none(), "through the tables");
        assert!(live.introspect(GrantId(good), &hash(5), NOW).is_some());
        assert!(check(db, "tokens", NOW, |_| ()).await.unwrap().comparison.is_equal());
    })
    .await;
}

/// A client and a user, both enabled.
fn registered() -> Vec<Recorded> {
    use grantlog_domain::client::ClientEvent;
    use grantlog_domain::user::UserEvent;
    let metadata = crate::testing::metadata("app");
    let client = ClientEvent::Registered {
        metadata,
        secret: None,
        owner: Some(USER),
        registration_access_token: None,
        by: None,
        at: NOW,
    };
    vec![recorded(Uuid::from_u128(CLIENT), 1, client), recorded(USER, 1, UserEvent::Registered { at: NOW })]
}

#[tokio::test]
async fn an_event_that_the_database_refuses_is_found_and_held_back() {
    // PostgreSQL has no text with NUL in it; SQLite has.
    let Some(fresh) = postgres().await else { return };
    let db = &fresh.db;
    append_all(db, &registered()).await;
    let mut session = scenario(3, 0).into_iter().find(|event| event.event.event_type() == "session.started").unwrap();
    session.metadata.source_address = Some("192.0.2.0\0".to_owned());
    append(db, &session).await;
    append_all(db, &scenario(3, 5).into_iter().filter(|event| event.aggregate_id.len() < 10).collect::<Vec<_>>()).await;
    catch_up(db).await;
    let poison = poison::list(db, 100).await.unwrap();
    assert!(poison.iter().any(|poison| poison.table_name == "sessions_v2_b1"), "{poison:?}");
    assert!(keys::list(db).await.unwrap().len() == 2);
}

#[tokio::test]
async fn events_seen_again_change_nothing() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &scenario(10, 40)).await;
        catch_up(db).await;
        let before = dump(db).await;
        // As if all checkpoints had been lost; the rows stay.
        db.execute("UPDATE projection_checkpoint SET txid = 0, position = 0", &[]).await.unwrap();
        catch_up(db).await;
        assert_eq!(dump(db).await, before);
    })
    .await;
}

async fn dump(db: &Log) -> Vec<String> {
    let mut all = Vec::new();
    let page = Page { limit: 500, offset: 0 };
    all.extend(clients::list(db, None, page).await.unwrap().iter().map(|row| format!("{row:?}")));
    all.extend(users::list(db, page).await.unwrap().iter().map(|row| format!("{row:?}")));
    let filter = grants::GrantFilter::default();
    for grant in grants::list(db, filter, page).await.unwrap() {
        all.push(format!("{grant:?}"));
        all.extend(tokens::of_grant(db, grant.grant_id).await.unwrap().iter().map(|row| format!("{row:?}")));
    }
    for user in users::list(db, page).await.unwrap() {
        all.extend(activity::of_user(db, user.user_id).await.unwrap().iter().map(|row| format!("{row:?}")));
        let sessions = sessions::of_user(db, user.user_id, NOW, page).await.unwrap();
        all.extend(sessions.iter().map(|row| format!("{row:?}")));
    }
    all.extend(keys::list(db).await.unwrap().iter().map(|row| format!("{row:?}")));
    all
}

#[tokio::test]
async fn one_process_keeps_a_table_and_another_takes_over() {
    let Some(fresh) = postgres().await else { return };
    let db = &fresh.db;
    append_all(db, &scenario(12, 10)).await;
    let start = || Projector::start(db, &Wake::new(db), ProjectorOptions::new(now()));
    let (first, second) = (start(), start());
    let keeps = |projector: &Projector| projector.status().keeps.len();
    until("somebody keeps each table", || async { keeps(&first) + keeps(&second) == names().len() }).await;
    first.stop().await;
    until("the other one keeps all", || async { keeps(&second) == names().len() }).await;
    second.stop().await;
    catch_up(db).await;
}

#[tokio::test]
async fn rows_leave_some_time_after_they_have_expired() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &registered()).await;
        let grant = Uuid::from_u128(0x61);
        append(db, &recorded(grant, 1, GrantEvent::Opened(opened_plain()))).await;
        // The log is younger than the token, which expired long ago.
        let later = crate::live::Now::new(|| grantlog_domain::Timestamp(i64::MAX / 2));
        let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(later));
        until("the tables are up to date", || async {
            status::read(db, NOW).await.unwrap().tables.iter().all(|table| table.lag_events == 0)
        })
        .await;
        until("the row is gone", || async { tokens::of_grant(db, GrantId(grant)).await.unwrap().is_empty() }).await;
        projector.stop().await;
        // A replay has the expired row again; it does not count.
        assert!(check(db, "tokens", NOW.plus_seconds(1_000_000), |_| ()).await.unwrap().comparison.is_equal());
    })
    .await;
}

#[tokio::test]
async fn questions_of_pages_are_answered() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &registered()).await;
        let client = grantlog_domain::ClientId(Uuid::from_u128(CLIENT));
        append(db, &recorded(Uuid::from_u128(0x71), 1, GrantEvent::Opened(opened(client, Some(USER), 3)))).await;
        append(db, &recorded(Uuid::from_u128(0x72), 1, GrantEvent::Opened(opened(client, Some(USER), 4)))).await;
        catch_up(db).await;
        assert_eq!(clients::list(db, Some(USER), Page::default()).await.unwrap().len(), 1);
        assert_eq!(clients::find(db, client).await.unwrap().unwrap().metadata.client_name, "app");
        let allowed = grants::allowed_by(db, USER, NOW, Page::default()).await.unwrap();
        assert_eq!((allowed.len(), allowed[0].grants), (1, 2));
        assert_eq!(allowed[0].client_name.as_deref(), Some("app"));
        assert!(grants::allowed_by(db, USER, NOW.plus_seconds(7200), Page::default()).await.unwrap().is_empty());
        let second = Page { limit: 1, offset: 1 };
        assert!(grants::allowed_by(db, USER, NOW, second).await.unwrap().is_empty());
        let activity = activity::of_user(db, USER).await.unwrap();
        let types: Vec<_> = activity.iter().map(|row| row.event_type.as_str()).collect();
        assert_eq!(types, ["grant.opened", "grant.opened", "user.registered", "client.registered"]);
        let filter =
            grants::GrantFilter { user: Some(USER), client: Some(client), living_at: Some(NOW), ..Default::default() };
        assert_eq!(grants::list(db, filter, Page { limit: 1, offset: 1 }).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_version_is_built_before_it_answers_and_the_earlier_one_goes() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(13, 30);
        append_all(db, &events).await;
        catch_up(db).await;
        // As a program of an earlier version would have left it.
        for sql in [
            "DROP VIEW tokens_v1",
            "INSERT INTO projection_checkpoint SELECT 'tokens_v0_b1', name, 0, txid, position, recorded_at \
             FROM projection_checkpoint WHERE name = 'tokens'",
            "CREATE TABLE tokens_v0_b1 (old TEXT)",
            "CREATE VIEW tokens_v0 AS SELECT old FROM tokens_v0_b1",
            "UPDATE active_projection SET version = 0, table_name = 'tokens_v0_b1' WHERE name = 'tokens'",
            "DELETE FROM projection_checkpoint WHERE table_name = 'tokens_v1_b1'",
            "DROP TABLE tokens_v1_b1",
        ] {
            db.execute(sql, &[]).await.unwrap();
        }
        prepare(db).await.unwrap();
        assert_eq!(loaded(db).await, folded(&events));
        let tables = checkpoint::all(db).await.unwrap();
        assert_eq!(tables.len(), names().len());
        let is_current = |table: &Checkpoint| {
            all().iter().any(|now| (now.name(), now.version()) == (table.name.as_str(), table.version))
        };
        let as_they_are = tables.iter().all(|(table, active)| *active && is_current(table));
        assert!(as_they_are, "{tables:?}");
        assert!(check(db, "tokens", NOW, |_| ()).await.unwrap().comparison.is_equal());
    })
    .await;
}

#[tokio::test]
async fn a_table_at_fault_does_not_stop_the_others() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let clients = format!("{}_v{}", clients::NAME, clients::VERSION);
        db.execute(&format!("DROP VIEW {clients}"), &[]).await.unwrap();
        db.execute(&format!("DROP TABLE {clients}_b1"), &[]).await.unwrap();
        append_all(db, &scenario(14, 10)).await;
        let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(now()));
        until("the others are up to date", || async {
            let status = status::read(db, NOW).await.unwrap();
            status.tables.iter().all(|table| (table.lag_events == 0) == (table.name != "clients"))
        })
        .await;
        until("the fault shows", || async {
            projector.status().error.is_some_and(|error| error.starts_with("clients: "))
        })
        .await;
        projector.stop().await;
    })
    .await;
}

/// A backup without the read models, in the middle of a rebuild.
#[tokio::test]
async fn tables_that_are_not_there_any_more_are_built_from_the_log_at_the_next_start() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        append_all(db, &scenario(15, 10)).await;
        db.execute(
            "INSERT INTO projection_checkpoint (table_name, name, version, txid, position, recorded_at) \
             SELECT 'tokens_v1_b2', name, version, 0, 0, 0 FROM projection_checkpoint WHERE name = 'tokens'",
            &[],
        )
        .await
        .unwrap();
        db.execute("DROP VIEW tokens_v1", &[]).await.unwrap();
        db.execute("DROP TABLE tokens_v1_b1", &[]).await.unwrap();
        prepare(db).await.unwrap();
        let tables = status::read(db, NOW).await.unwrap().tables;
        let tokens = tables.iter().find(|table| table.name == "tokens").unwrap();
        assert!(tokens.active && tokens.lag_events == 0, "{tokens:?}");
        assert!(check(db, "tokens", NOW, |_| ()).await.unwrap().comparison.is_equal());
    })
    .await;
}

#[tokio::test]
async fn preparing_twice_changes_nothing() {
    on_both(|fresh: Arc<Fresh>| async move {
        let before = checkpoint::all(&fresh.db).await.unwrap();
        prepare(&fresh.db).await.unwrap();
        assert_eq!(checkpoint::all(&fresh.db).await.unwrap(), before);
        assert!(ordered::read(&fresh.db, Cursor::START, 1).await.unwrap().is_empty());
    })
    .await;
}

/// A full batch behind, and one table that cannot be written to.
#[tokio::test]
async fn a_table_that_fails_rests_and_shows_it_while_the_others_go_on() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(13, 30);
        let (first, last) = events.split_at(events.len() - 3);
        append_all(db, first).await;
        db.execute("DROP VIEW tokens_v1", &[]).await.unwrap();
        db.execute("ALTER TABLE tokens_v1_b1 RENAME TO tokens_elsewhere", &[]).await.unwrap();
        let options = ProjectorOptions { batch: 4, ..ProjectorOptions::new(now()) };
        let projector = Projector::start(db, &Wake::new(db), options);
        until("the other tables are up to date", || async {
            let status = status::read(db, NOW).await.unwrap();
            status.tables.iter().filter(|table| table.name != "tokens").all(|table| table.lag_events == 0)
        })
        .await;
        let watch = projector.watch();
        until("the failure shows", || async { watch.status().failing == 1 }).await;
        assert!(watch.status().error.is_some_and(|error| error.starts_with("tokens: ")), "{:?}", watch.status());
        db.execute("ALTER TABLE tokens_elsewhere RENAME TO tokens_v1_b1", &[]).await.unwrap();
        until("it goes on when it can", || async {
            let status = status::read(db, NOW).await.unwrap();
            watch.status().error.is_none() && status.tables.iter().all(|table| table.lag_events == 0)
        })
        .await;
        // Gone for good: nobody keeps it, and that shows as well.
        db.execute("DELETE FROM active_projection WHERE name = 'users'", &[]).await.unwrap();
        db.execute("DELETE FROM projection_checkpoint WHERE name = 'users'", &[]).await.unwrap();
        append_all(db, last).await;
        until("the missing table shows", || async {
            watch.status().error.is_some_and(|error| error.starts_with("users: its table is not there"))
        })
        .await;
        projector.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_engine_is_noticed() {
    let fresh = crate::testing::sqlite().await;
    let projector = Projector::start(&fresh.db, &Wake::new(&fresh.db), ProjectorOptions::new(now()));
    let ended = projector.ended();
    projector.stop().await;
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it has ended");
}

/// Nobody keeps it here at all: it is compared where it stands, and nobody waits for it.
#[tokio::test]
async fn a_table_that_is_behind_is_compared_where_it_stands() {
    on_both(|fresh: Arc<Fresh>| async move {
        let db = &fresh.db;
        let events = scenario(15, 30);
        let (first, second) = events.split_at(events.len() / 2);
        append_all(db, first).await;
        catch_up(db).await;
        append_all(db, second).await;
        let rebuilt = rebuild(db, "grants", NOW, |_| ()).await.unwrap();
        assert!(rebuilt.comparison.is_some_and(|comparison| comparison.is_equal()));
        let status = status::read(db, NOW).await.unwrap();
        assert!(status.tables.iter().filter(|table| table.name == "grants").all(|table| table.lag_events == 0));
    })
    .await;
}
