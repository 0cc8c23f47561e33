//! What follows by itself: when a client or a user is disabled, what was allowed before ends, so that enabling them again
//! brings no old token back; the user's sessions end too, and their clients hear of it (`oidc::backchannel`). When they are
//! enabled, what was given before that ends too: a node that had not heard of the disabling yet may have given it meanwhile.
//! With `session.end_grants`, which is the default, what was allowed in a session for as long as the user is there ends with
//! it (OpenID Connect Back-Channel Logout 2.7). A session that only expires ends nothing: that is no event.
//!
//! Both are the same rule, and the order of the log decides: an event ends the grants and sessions that were begun before
//! it, and none that was begun after. Every node does this; what another has done already changes nothing. It looks at the
//! log only as far as the tables of grants and sessions have come, so that none from before the event is missing there.
//! A grant or session whose stream is damaged counts as ended already; it is reported, and the rest goes on.

use std::time::Duration;

use grantlog_domain::grant::RevocationReason;
use grantlog_domain::session::EndReason;
use grantlog_domain::{Actor, Timestamp};
use grantlog_projections::db::DbError;
use grantlog_projections::feed::Cursor;
use grantlog_projections::feed::ahead::{self, Found};
use grantlog_projections::tables::grants::{self, GrantsOf};
use grantlog_projections::tables::{participants, sessions};
use grantlog_projections::{checkpoint, status};
use metrics::counter;

use crate::http::metrics::CONSEQUENCES_DAMAGED;
use crate::store::{CommandContext, EndingError, Store};

/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// The longest pause after a failure; it starts at [`INTERVAL`] and doubles.
const PAUSE_MAX: Duration = Duration::from_secs(10);

const AGGREGATES: [&str; 3] = ["client", "user", "session"];

const SESSION_ENDED: &str = "session.ended";

/// The events that something follows from.
fn event_types(end_grants: bool) -> &'static [&'static str] {
    const ALL: [&str; 7] = [
        "client.disabled",
        "client.enabled",
        "client.deleted",
        "user.disabled",
        "user.enabled",
        "user.erased",
        SESSION_ENDED,
    ];
    if end_grants { &ALL } else { &ALL[..ALL.len() - 1] }
}

/// Runs for ever. `end_grants`: those that belong to a session end with it.
pub async fn run(store: Store, end_grants: bool) {
    let mut pause = INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        pause = match step(&store, end_grants).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "what follows from disabled clients and users is delayed");
                (pause * 2).min(PAUSE_MAX)
            }
        };
    }
}

/// Takes in the log from where the last step stopped to where the tables have come; after a failure again.
async fn step(store: &Store, end_grants: bool) -> Result<(), EndingError> {
    let Some(to) = tables_cursor(store).await? else { return Ok(()) };
    let mut from = reached(store).await?;
    let by = CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None };
    while from < to {
        let part = ahead::of_types(store.log(), from, to, &AGGREGATES, event_types(end_grants)).await?;
        for event in part.found {
            let Some(Cause { of, reason, at }) = cause(store, &event).await? else { continue };
            let mut damaged = store.end_grants_before(at, of, reason, &by).await?.damaged.len();
            if let GrantsOf::User(user_id) = of {
                damaged += store.end_sessions_before(at, user_id, EndReason::UserDisabled, &by).await?.damaged.len();
            }
            counter!(CONSEQUENCES_DAMAGED).increment(damaged as u64);
        }
        from = part.to;
        let sql = "UPDATE consequences_checkpoint SET txid = $1, position = $2 WHERE (txid, position) < ($1, $2)";
        store.db().execute(sql, &[from.txid.into(), from.position.into()]).await?;
    }
    Ok(())
}

/// Up to where everything that follows has been done.
async fn reached(store: &Store) -> Result<Cursor, DbError> {
    let rows = store.db().fetch("SELECT txid, position FROM consequences_checkpoint", &[]).await?;
    match rows.first() {
        Some(row) => Ok(Cursor { txid: row.int(0)?, position: row.int(1)? }),
        None => Ok(Cursor::START),
    }
}

/// How far this is.
pub struct Standing {
    pub position: i64,
    /// Seconds since the oldest event that was not looked at was recorded; 0 when there is none.
    pub lag_seconds: i64,
}

/// Where it stands at `now`.
pub async fn standing(store: &Store, now: Timestamp) -> Result<Standing, DbError> {
    let reached = reached(store).await?;
    let since = status::waiting_since(store.log(), reached).await?;
    let lag_seconds = since.map_or(0, |since| (now.0 - since / 1000).max(0));
    Ok(Standing { position: reached.position, lag_seconds })
}

async fn tables_cursor(store: &Store) -> Result<Option<Cursor>, DbError> {
    let all = checkpoint::all(store.db()).await?;
    let of = |name: &str| {
        let found = all.iter().find(|(found, answers)| *answers && found.name == name);
        found.map(|(found, _)| found.cursor)
    };
    let all: Option<Vec<Cursor>> = [grants::NAME, sessions::NAME, participants::NAME].into_iter().map(of).collect();
    Ok(all.and_then(|all| all.into_iter().min()))
}

/// An event after which no grant stands that was opened before it, and no session of a user.
struct Cause {
    of: GrantsOf,
    reason: RevocationReason,
    at: Cursor,
}

async fn cause(store: &Store, event: &Found) -> Result<Option<Cause>, DbError> {
    let (of, reason) = if event.event_type.starts_with("client.") {
        (GrantsOf::Client(event.id()?), RevocationReason::ClientDisabled)
    } else if event.event_type == SESSION_ENDED {
        let session_id = event.id()?;
        // One that has left its table is so old that its grants are found by nobody.
        let Some(user_id) = participants::user_of(store.db(), session_id).await? else { return Ok(None) };
        (GrantsOf::UserInSession(user_id, session_id), RevocationReason::SessionEnded)
    } else {
        (GrantsOf::User(event.id()?), RevocationReason::UserDisabled)
    };
    Ok(Some(Cause { of, reason, at: event.cursor }))
}

#[cfg(test)]
mod tests;
