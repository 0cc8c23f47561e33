//! What follows by itself: when a client or a user is disabled for good or for now, their living grants end, so that
//! enabling them again brings no old token back.
//!
//! Every node does this; what another has done already changes nothing. It looks at the log only as far as the table
//! of grants has come, so that no grant from before the event is missing there.

use std::time::Duration;

use grantlog_domain::grant::{Grant, GrantCommand, GrantError, RevocationReason};
use grantlog_domain::{Actor, GrantId};
use grantlog_projections::checkpoint;
use grantlog_projections::db::DbError;
use grantlog_projections::feed::Cursor;
use grantlog_projections::tables::grants::{self, GrantsOf};

use crate::clock::Clock;
use crate::store::{CommandContext, ExecuteError, Store};

/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// The longest pause after a failure; it starts at [`INTERVAL`] and doubles.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why a step failed; it is taken again later.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("cannot end grant {0}: {1}")]
    Grant(GrantId, ExecuteError<GrantError>),
}

/// Runs for ever.
pub async fn run(store: Store, clock: Clock) {
    let mut pause = INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        pause = match step(&store, &clock).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "what follows from disabled clients and users is delayed");
                (pause * 2).min(PAUSE_MAX)
            }
        };
    }
}

/// Takes in the log from where the last step stopped to where the table of grants has come.
async fn step(store: &Store, clock: &Clock) -> Result<(), StepError> {
    let Some(to) = grants_cursor(store).await? else { return Ok(()) };
    let from = store.db().fetch("SELECT txid, position FROM consequences_checkpoint", &[]).await?;
    let from = match from.first() {
        Some(row) => Cursor { txid: row.int(0)?, position: row.int(1)? },
        None => Cursor::START,
    };
    if from >= to {
        return Ok(());
    }
    for (of, reason) in causes(store, from, to).await? {
        end_grants(store, clock, of, reason).await?;
    }
    let sql = "UPDATE consequences_checkpoint SET txid = $1, position = $2 WHERE (txid, position) < ($1, $2)";
    store.db().execute(sql, &[to.txid.into(), to.position.into()]).await?;
    Ok(())
}

async fn grants_cursor(store: &Store) -> Result<Option<Cursor>, DbError> {
    let all = checkpoint::all(store.db()).await?;
    Ok(all.into_iter().find(|(found, answers)| *answers && found.name == grants::NAME).map(|(found, _)| found.cursor))
}

/// Whose grants end, and why, in the order of the log.
async fn causes(store: &Store, from: Cursor, to: Cursor) -> Result<Vec<(GrantsOf, RevocationReason)>, DbError> {
    let sql = "SELECT event_type, aggregate_id FROM events \
               WHERE event_type IN ('client.disabled', 'client.deleted', 'user.disabled', 'user.erased') \
               AND (txid, position) > ($1, $2) AND (txid, position) <= ($3, $4) ORDER BY txid, position";
    let bounds = [from.txid.into(), from.position.into(), to.txid.into(), to.position.into()];
    let mut causes = Vec::new();
    for row in store.db().fetch(sql, &bounds).await? {
        causes.push(match row.str(0)? {
            "client.disabled" | "client.deleted" => (GrantsOf::Client(row.parse(1)?), RevocationReason::ClientDisabled),
            _ => (GrantsOf::User(row.parse(1)?), RevocationReason::UserDisabled),
        });
    }
    Ok(causes)
}

async fn end_grants(store: &Store, clock: &Clock, of: GrantsOf, reason: RevocationReason) -> Result<(), StepError> {
    let mut after = None;
    loop {
        let page = grants::living_after(store.db(), of, clock.now(), after).await?;
        for id in &page {
            end_grant(store, clock, *id, reason).await?;
        }
        after = match page.last() {
            Some(last) => Some(*last),
            None => return Ok(()),
        };
    }
}

async fn end_grant(store: &Store, clock: &Clock, id: GrantId, reason: RevocationReason) -> Result<(), StepError> {
    let by = CommandContext {
        actor: Actor::System,
        request_id: None,
        correlation: Some(id.to_string()),
        source_address: None,
    };
    let command = GrantCommand::Revoke { reason, at: clock.now() };
    match store.execute::<Grant>(&id.to_string(), command, &by).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(StepError::Grant(id, error)),
    }
}
