//! Clients that registered themselves and never got a grant are deleted after a while (`registration.unused_days`), so that who
//! registers without end fills neither the memory nor the room for others (`registration.clients_max`).
//!
//! Looks every [`INTERVAL`] at those that are not known to have been used, in parts. That one was used is remembered in a table
//! of its own, because grants leave their table an hour after they have expired, which is many rounds. Every node does this; what another
//! has done already changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use grantlog_domain::client::{Author, Client, ClientCommand, ClientEvent};
use grantlog_domain::{Actor, ClientId, Event};
use grantlog_projections::db::{DbError, Value};
use grantlog_projections::feed::stream;
use grantlog_projections::tables::clients;

use crate::app::App;
use crate::consequences;
use crate::store::CommandContext;

const INTERVAL: Duration = Duration::from_secs(600);
/// Clients that one question is about.
const PART: usize = 200;
/// Most that are deleted in one round.
const DELETED_MAX: usize = 1000;
/// With tables further behind than this nobody is called unused.
const LAG_MAX_SECONDS: i64 = 60;
const DAY: i64 = 86_400;

/// Runs for ever.
pub async fn run(app: App) {
    let mut used = HashSet::new();
    loop {
        if let Err(error) = round(&app, &mut used).await {
            tracing::warn!(%error, "unused clients were not looked after");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// One look at all of them. `used` are those that need no look any more.
async fn round(app: &App, used: &mut HashSet<ClientId>) -> Result<(), DbError> {
    let days = i64::from(app.settings.registration.unused_days);
    let now = app.now();
    let lag = consequences::standing(&app.store, now).await.map_err(|error| DbError::Malformed(error.to_string()))?;
    let living: Vec<_> = app.live.clients().into_iter().filter(|client| client.registered_itself()).collect();
    let ids: HashSet<ClientId> = living.iter().map(|client| client.id).collect();
    used.retain(|id| ids.contains(id));
    let mut deleted = 0;
    let unknown: Vec<_> = living.into_iter().filter(|client| !used.contains(&client.id)).collect();
    for part in unknown.chunks(PART) {
        let ids: Vec<ClientId> = part.iter().map(|client| client.id).collect();
        used.extend(remembered(app, &ids).await?);
        // The table keeps what has expired for longer, memory has what the table has not heard of yet.
        let mut granted = clients::with_grants(app.store.db(), &ids).await?;
        granted.extend(ids.iter().copied().filter(|id| app.live.has_grants(*id)));
        remember(app, &granted, used).await?;
        let is_old = |created_at| days > 0 && now.seconds_since(created_at) > days * DAY;
        for client in part.iter().filter(|client| is_old(client.created_at)) {
            if used.contains(&client.id) || lag.lag_seconds > LAG_MAX_SECONDS || deleted == DELETED_MAX {
                continue;
            }
            if is_from_before(app, client.id).await? {
                remember(app, &[client.id], used).await?;
            } else {
                delete(app, client.id).await;
                deleted += 1;
            }
        }
    }
    Ok(())
}

/// Of those, the ones that were used before.
async fn remembered(app: &App, ids: &[ClientId]) -> Result<Vec<ClientId>, DbError> {
    let places: Vec<String> = (1..=ids.len()).map(|at| format!("${at}")).collect();
    let sql = format!("SELECT client_id FROM used_clients WHERE client_id IN ({})", places.join(", "));
    let values: Vec<Value> = ids.iter().map(|id| id.to_string().into()).collect();
    app.store.db().fetch(&sql, &values).await?.iter().map(|row| row.parse(0)).collect()
}

async fn remember(app: &App, ids: &[ClientId], used: &mut HashSet<ClientId>) -> Result<(), DbError> {
    let sql = "INSERT INTO used_clients (client_id) VALUES ($1) ON CONFLICT DO NOTHING";
    for id in ids.iter().filter(|id| !used.contains(id)).copied().collect::<Vec<_>>() {
        app.store.db().execute(sql, &[id.to_string().into()]).await?;
        used.insert(id);
    }
    Ok(())
}

/// Whether it registered before authors were kept: nobody knows whether it was used.
async fn is_from_before(app: &App, id: ClientId) -> Result<bool, DbError> {
    let stored = stream::whole(app.store.log(), "client", &id.to_string()).await?;
    let first = stored.into_iter().next().and_then(|stored| stored.event.ok());
    Ok(!matches!(first.map(|first| first.event), Some(Event::Client(ClientEvent::Registered { by: Some(_), .. }))))
}

async fn delete(app: &App, id: ClientId) {
    let by = CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None };
    let command = ClientCommand::Delete { by: Author::Operator, at: app.now() };
    match app.store.execute::<Client>(&id.to_string(), command, &by).await {
        Ok(_) => tracing::info!(client_id = %id, "a client that registered itself and was never used is deleted"),
        Err(error) => tracing::warn!(client_id = %id, %error, "an unused client was not deleted"),
    }
}

#[cfg(test)]
mod tests;
