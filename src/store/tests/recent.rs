//! What the store remembers of a grant may be old; it must never decide anything by itself.

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{Grant, GrantCommand, GrantError, NewAccessToken, OpenGrant, Refresh};
use grantlog_domain::{Actor, ClientId, Scope, SecretHash, Timestamp};
use uuid::Uuid;

use super::{Fresh, number, on_both, open};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::{CommandContext, ExecuteError, Store, StoreOptions};

const AT: Timestamp = Timestamp(1_000);

const fn hash(byte: u8) -> SecretHash {
    SecretHash { pepper: 1, digest: [byte; 32] }
}

fn by() -> CommandContext {
    CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None }
}

fn new_access_token(byte: u8) -> NewAccessToken {
    NewAccessToken { hash: hash(byte), expires_at: AT.plus_seconds(60) }
}

/// A grant whose first refresh token is `hash(1)`.
async fn opened(store: &Store) -> String {
    let id = Entropy::system().uuid_v7(Clock::system().now_millis()).to_string();
    let command = GrantCommand::Open(OpenGrant {
        grant_type: GrantType::Password,
        client_id: ClientId(Uuid::nil()),
        user_id: None,
        session_id: None,
        scope: Scope::default(),
        access_token: new_access_token(101),
        refresh_token: Some(hash(1)),
        expires_at: AT.plus_seconds(600),
        at: AT,
        authentication: None,
        consent: None,
    });
    store.create::<Grant>(&id, command, &by()).await.expect("opened");
    id
}

/// Rotates the refresh token `hash(from)` to the next one.
async fn refresh(store: &Store, id: &str, from: u8) -> Result<i64, ExecuteError<GrantError>> {
    let command = GrantCommand::Refresh(Refresh {
        client_id: ClientId(Uuid::nil()),
        presented: hash(from).into(),
        scope: None,
        allowed: Scope::default(),
        access_token: new_access_token(101 + from),
        refresh_token: hash(from + 1),
        grace_seconds: 0,
        replay_salt: None,
        at: AT,
    });
    let executed = store.execute::<Grant>(id, command, &by()).await?;
    Ok(executed.events[0].sequence)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_another_node_changed_is_decided_on_what_the_log_says() {
    on_both(StoreOptions::default(), async |here: &Fresh| {
        let there = open(here.url.expose(), StoreOptions::default()).await;
        let id = opened(&here.store).await;
        assert_eq!(refresh(&here.store, &id, 1).await.expect("rotated"), 2);
        assert_eq!(refresh(&there.store, &id, 2).await.expect("rotated there"), 3);
        // Here the token is not known yet.
        assert_eq!(refresh(&here.store, &id, 3).await.expect("rotated here again"), 4);
        // There it was, and has been rotated since.
        let reused = refresh(&there.store, &id, 3).await;
        assert!(matches!(reused, Err(ExecuteError::Refused(GrantError::RefreshTokenReused))), "{reused:?}");
        assert_eq!(number(here.store.db(), "SELECT count(*) FROM events").await, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_another_node_revoked_gives_nothing_more() {
    on_both(StoreOptions::default(), async |here: &Fresh| {
        let there = open(here.url.expose(), StoreOptions::default()).await;
        let id = opened(&here.store).await;
        let revoke = GrantCommand::Revoke { reason: grantlog_domain::grant::RevocationReason::Admin, at: AT };
        there.store.execute::<Grant>(&id, revoke, &by()).await.expect("revoked there");
        let refused = refresh(&here.store, &id, 1).await;
        assert!(matches!(refused, Err(ExecuteError::Refused(GrantError::Revoked))), "{refused:?}");
        assert_eq!(number(here.store.db(), "SELECT count(*) FROM events").await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refresh_token_is_rotated_once_whoever_remembers_its_grant() {
    on_both(StoreOptions::default(), async |here: &Fresh| {
        let there = open(here.url.expose(), StoreOptions::default()).await;
        let id = opened(&here.store).await;
        let stores = [&here.store, &there.store];
        let attempts = (0..16).map(|attempt| refresh(stores[attempt % 2], &id, 1));
        let outcomes = futures::future::join_all(attempts).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(number(here.store.db(), "SELECT count(*) FROM events").await, 2);
    })
    .await;
}
