//! Ending more than one page of somebody's sessions and grants, also those that the tables have not seen, and around
//! damaged ones.

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{Grant, GrantCommand, NewAccessToken, OpenGrant, RevocationReason};
use grantlog_domain::session::{EndReason, Session, SessionCommand};
use grantlog_domain::{Actor, ClientId, GrantId, Scope, SecretHash, SessionId, Timestamp, UserId};
use grantlog_projections::feed::Wake;
use grantlog_projections::live::Now;
use grantlog_projections::tables::{PAGE_MAX, grants::GrantsOf};
use grantlog_projections::{Projector, ProjectorOptions, status};
use uuid::Uuid;

use super::{Fresh, on_both};
use crate::clock::Clock;
use crate::store::{CommandContext, StoreOptions};

const USER: UserId = UserId(Uuid::from_u128(1));
const OTHER: UserId = UserId(Uuid::from_u128(2));
const CLIENT: ClientId = ClientId(Uuid::from_u128(3));

fn by() -> CommandContext {
    CommandContext { actor: Actor::User(USER), request_id: None, correlation: None, source_address: None }
}

fn hash(number: u128) -> SecretHash {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(&number.to_be_bytes());
    SecretHash { pepper: 1, digest }
}

fn session(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(1000 + number))
}

async fn start_session(fresh: &Fresh, number: u128, user_id: UserId, at: Timestamp) {
    let (cookie, expires_at) = (hash(number), at.plus_seconds(3600));
    let command = SessionCommand::Start { user_id, cookie, amr: Vec::new(), expires_at, at };
    fresh.store.create::<Session>(&session(number).to_string(), command, &by()).await.expect("started");
}

fn grant(number: u128) -> GrantId {
    GrantId(Uuid::from_u128(10_000 + number))
}

async fn open_grant(fresh: &Fresh, number: u128, user_id: UserId, at: Timestamp) {
    open_grant_for(fresh, number, user_id, "", at).await;
}

async fn open_grant_for(fresh: &Fresh, number: u128, user_id: UserId, scope: &str, at: Timestamp) {
    let expires_at = at.plus_seconds(3600);
    let command = GrantCommand::Open(OpenGrant {
        grant_type: GrantType::Password,
        client_id: CLIENT,
        user_id: Some(user_id),
        session_id: None,
        scope: Scope::parse(scope).expect("a scope"),
        access_token: NewAccessToken { hash: hash(number), expires_at },
        refresh_token: None,
        expires_at,
        at,
        authentication: None,
        consent: None,
    });
    fresh.store.create::<Grant>(&grant(number).to_string(), command, &by()).await.expect("opened");
}

/// Brings the tables to the end of the log.
async fn catch_up(fresh: &Fresh) {
    let (db, clock) = (fresh.store.log(), Clock::system());
    let now = clock.clone();
    let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(Now::new(move || now.now())));
    loop {
        let status = status::read(db, clock.now()).await.expect("a status");
        if status.tables.iter().all(|table| table.lag_events == 0) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    projector.stop().await;
}

#[tokio::test]
async fn all_sessions_of_a_user_end_but_the_one_that_stays() {
    on_both(StoreOptions::default(), async |fresh| {
        let (at, count) = (Clock::system().now(), PAGE_MAX as u128 + 20);
        let all = (0..count).map(|number| start_session(fresh, number, USER, at));
        futures::future::join_all(all).await;
        start_session(fresh, count, OTHER, at).await;
        catch_up(fresh).await;
        let kept = session(count / 2);
        let ended = fresh.store.end_sessions(USER, Some(kept), EndReason::SignedOut, &by()).await.expect("ended");
        assert_eq!(ended.count as u128, count - 1);
        for (number, stands) in [(0, false), (count - 1, false), (count / 2, true), (count, true)] {
            let loaded = fresh.store.load::<Session>(&session(number).to_string()).await.expect("loaded");
            let started = matches!(loaded.aggregate.stage(), grantlog_domain::session::Stage::Started(_));
            assert_eq!(started, stands, "session {number}");
        }
    })
    .await;
}

#[tokio::test]
async fn all_grants_of_a_user_end() {
    on_both(StoreOptions::default(), async |fresh| {
        let (at, count) = (Clock::system().now(), PAGE_MAX as u128 + 20);
        let all = (0..count).map(|number| open_grant(fresh, number, USER, at));
        futures::future::join_all(all).await;
        open_grant(fresh, count, OTHER, at).await;
        catch_up(fresh).await;
        let of = GrantsOf::UserAtClient(USER, CLIENT);
        let ended = fresh.store.end_grants(of, RevocationReason::User, &by()).await.expect("ended");
        assert_eq!(ended.count as u128, count);
        catch_up(fresh).await;
        assert_eq!(fresh.store.end_grants(of, RevocationReason::User, &by()).await.expect("none left").count, 0);
        let others = fresh.store.end_grants(GrantsOf::Client(CLIENT), RevocationReason::Admin, &by()).await;
        assert_eq!(others.expect("the other user's").count, 1);
    })
    .await;
}

async fn stands(fresh: &Fresh, number: u128) -> bool {
    let loaded = fresh.store.load::<Grant>(&grant(number).to_string()).await.expect("loaded");
    matches!(loaded.aggregate.stage(), grantlog_domain::grant::Stage::Open(_))
}

async fn is_signed_in(fresh: &Fresh, number: u128) -> bool {
    let loaded = fresh.store.load::<Session>(&session(number).to_string()).await.expect("loaded");
    matches!(loaded.aggregate.stage(), grantlog_domain::session::Stage::Started(_))
}

/// Nobody has told the tables yet, as while a foreign transaction is open.
#[tokio::test]
async fn what_the_tables_have_not_seen_ends_as_well() {
    on_both(StoreOptions::default(), async |fresh| {
        let at = Clock::system().now();
        open_grant(fresh, 1, USER, at).await;
        start_session(fresh, 1, USER, at).await;
        catch_up(fresh).await;
        open_grant(fresh, 2, USER, at).await;
        // Somebody else's, whose first event holds the user's id as well.
        open_grant_for(fresh, 3, OTHER, &USER.to_string(), at).await;
        for (number, user) in [(2, USER), (3, USER), (4, OTHER)] {
            start_session(fresh, number, user, at).await;
        }
        let (of, by) = (GrantsOf::User(USER), by());
        assert_eq!(fresh.store.end_grants(of, RevocationReason::User, &by).await.expect("ended").count, 2);
        assert_eq!([stands(fresh, 1).await, stands(fresh, 2).await, stands(fresh, 3).await], [false, false, true]);
        let ended = fresh.store.end_sessions(USER, Some(session(3)), EndReason::SignedOut, &by).await.expect("ended");
        assert_eq!(ended.count, 2);
        let mut signed_in = Vec::new();
        for number in 1..=4 {
            signed_in.push(is_signed_in(fresh, number).await);
        }
        assert_eq!(signed_in, [false, false, true, true]);
        assert_eq!(fresh.store.end_grants(of, RevocationReason::User, &by).await.expect("none left").count, 0);
    })
    .await;
}

/// The next event of a stream, as no Grantlog writes it.
async fn append(fresh: &Fresh, aggregate_type: &str, id: &str, event_type: &str) {
    let mut event = super::event(id, 2);
    (event.aggregate_type, event.event_type) = (aggregate_type.to_owned(), event_type.to_owned());
    event.payload = "7".to_owned();
    fresh.store.group_commit().append(vec![event]).await.expect("appended");
}

#[tokio::test]
async fn a_damaged_stream_keeps_no_other_from_ending() {
    on_both(StoreOptions::default(), async |fresh| {
        let at = Clock::system().now();
        // Half of them in the tables, half only in the log.
        for number in 1..=6 {
            open_grant(fresh, number, USER, at).await;
            start_session(fresh, number, USER, at).await;
            if number == 3 {
                catch_up(fresh).await;
            }
        }
        for number in [2, 5] {
            append(fresh, "grant", &grant(number).to_string(), "grant.refreshed").await;
            append(fresh, "session", &session(number).to_string(), "session.ended").await;
        }
        let by = by();
        let grants = fresh.store.end_grants(GrantsOf::Client(CLIENT), RevocationReason::Admin, &by).await;
        let sessions = fresh.store.end_sessions(USER, None, EndReason::Admin, &by).await;
        for (ended, kind) in [(grants.expect("ended"), "grant"), (sessions.expect("ended"), "session")] {
            let damaged: Vec<String> = ended.damaged.iter().map(ToString::to_string).collect();
            let id =
                |number: u128| if kind == "grant" { grant(number).to_string() } else { session(number).to_string() };
            assert_eq!((ended.count, damaged), (4, vec![format!("{kind} {}", id(2)), format!("{kind} {}", id(5))]));
        }
        for number in [1, 3, 4, 6] {
            assert!(!stands(fresh, number).await && !is_signed_in(fresh, number).await, "{number}");
        }
    })
    .await;
}

/// Its newer writer may take the grant for living, so nobody may be told that it has ended.
#[tokio::test]
async fn a_stream_of_a_newer_version_is_not_said_to_have_ended() {
    on_both(StoreOptions::default(), async |fresh| {
        open_grant(fresh, 1, USER, Clock::system().now()).await;
        append(fresh, "grant", &grant(1).to_string(), "grant.teleported").await;
        let ended = fresh.store.end_grants(GrantsOf::User(USER), RevocationReason::User, &by()).await;
        assert!(matches!(ended, Err(crate::store::EndingError::Newer { .. })), "{ended:?}");
    })
    .await;
}
