//! `grantlog client list`: the newest clients, searched by name, status and owner.

use clap::Args;
use grantlog_domain::{ClientId, UserId};
use serde_json::{Map, Value};

use super::client_shown::{document, load, plain};
use super::names::{self, Names};
use super::opened::Opened;
use super::user;
use super::{CliError, event_log, output};
use crate::store::vault::Vault;

/// Clients looked at in one go.
const LOOKED_AT: u32 = 500;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only names with this in them; not case-sensitive
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only these: enabled or disabled
    #[arg(long, value_name = "STATUS", value_parser = ["enabled", "disabled"], hide_possible_values = true)]
    status: Option<String>,
    /// Only those that this user made
    #[arg(long, value_name = "USERNAME|ID")]
    user: Option<String>,
    /// Only those behind this one in the list: the last one of the list before
    #[arg(long, value_name = "CLIENT_ID")]
    after: Option<ClientId>,
    /// At most so many, newest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(super) async fn list_clients(opened: &Opened, vault: &Vault, list: &List, json: bool) -> Result<(), CliError> {
    let owner = match &list.user {
        Some(user) => Some(user::find(vault, user).await?),
        None => None,
    };
    let (clients, owners) = wanted(opened, list, owner).await?;
    if json {
        return output::json(&clients);
    }
    let names = Names::of(opened, vault, owners.iter().flatten().copied(), []).await?;
    let columns = ["client_id", "client_name", "token_endpoint_auth_method", "grant_types", "enabled"];
    let row = |(document, owner): (&Map<String, Value>, &Option<UserId>)| {
        let owner = owner.map(|owner| names.user(owner).unwrap_or_else(|| owner.to_string()));
        columns.iter().map(|name| plain(&document[*name])).chain([owner.unwrap_or_default()]).collect()
    };
    let head = columns.map(str::to_uppercase);
    let head: Vec<&str> = head.iter().map(String::as_str).chain(["OWNER"]).collect();
    output::table(&head, &clients.iter().zip(&owners).map(row).collect::<Vec<_>>())
}

/// The clients of the list, and whose each is.
async fn wanted(
    opened: &Opened,
    list: &List,
    owner: Option<UserId>,
) -> Result<(Vec<Map<String, Value>>, Vec<Option<UserId>>), CliError> {
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let (mut clients, mut owners) = (Vec::new(), Vec::new());
    let mut after = list.after;
    while clients.len() < limit {
        let from = after.map(|id| id.to_string());
        let ids: Vec<ClientId> = event_log::newest_ids(opened.db(), "client", from.as_deref(), LOOKED_AT).await?;
        let Some(last) = ids.last().copied() else { break };
        for client_id in ids {
            let registered = match load(opened, client_id).await {
                Ok(registered) => registered,
                // Deleted ones are not listed.
                Err(CliError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let status = if registered.disabled_by.is_none() { "enabled" } else { "disabled" };
            let registration = &registered.registration;
            if !names::has(&registration.metadata.client_name, list.name.as_deref())
                || list.status.as_deref().is_some_and(|wanted| wanted != status)
                || owner.is_some() && registration.owner != owner
            {
                continue;
            }
            owners.push(registration.owner);
            clients.push(document(&registered, None)?);
            if clients.len() >= limit {
                break;
            }
        }
        after = Some(last);
    }
    Ok((clients, owners))
}
