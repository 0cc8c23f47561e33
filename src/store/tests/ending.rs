//! Ending more than one page of somebody's sessions and grants.

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

async fn open_grant(fresh: &Fresh, number: u128, user_id: UserId, at: Timestamp) {
    let expires_at = at.plus_seconds(3600);
    let command = GrantCommand::Open(OpenGrant {
        grant_type: GrantType::Password,
        client_id: CLIENT,
        user_id: Some(user_id),
        session_id: None,
        scope: Scope::default(),
        access_token: NewAccessToken { hash: hash(number), expires_at },
        refresh_token: None,
        expires_at,
        at,
        authentication: None,
    });
    let id = GrantId(Uuid::from_u128(10_000 + number)).to_string();
    fresh.store.create::<Grant>(&id, command, &by()).await.expect("opened");
}

/// Brings the tables to the end of the log.
async fn catch_up(fresh: &Fresh) {
    let (db, clock) = (fresh.store.db(), Clock::system());
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
        assert_eq!(ended as u128, count - 1);
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
        assert_eq!(ended as u128, count);
        catch_up(fresh).await;
        assert_eq!(fresh.store.end_grants(of, RevocationReason::User, &by()).await.expect("none left"), 0);
        let others = fresh.store.end_grants(GrantsOf::Client(CLIENT), RevocationReason::Admin, &by()).await;
        assert_eq!(others.expect("the other user's"), 1);
    })
    .await;
}
