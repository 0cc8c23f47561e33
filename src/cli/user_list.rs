//! `grantlog user list`: the newest users, searched by name and status. Names are sealed in the vault, so a search opens those of
//! all users, some hundred at a time.

use clap::Args;
use grantlog_domain::UserId;
use serde_json::Map;

use super::opened::Opened;
use super::user::{Shown, status};
use super::{CliError, event_log, names, output};
use crate::store::vault::Vault;

/// Users looked at in one go.
const LOOKED_AT: u32 = 500;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only names with this in them; not case-sensitive
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only these: enabled, disabled or erased
    #[arg(long, value_name = "STATUS", value_parser = ["enabled", "disabled", "erased"], hide_possible_values = true)]
    status: Option<String>,
    /// Only those behind this one in the list (an id): the last one of the list before
    #[arg(long, value_name = "ID")]
    after: Option<UserId>,
    /// At most so many, newest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(super) async fn list_users(opened: &Opened, vault: &Vault, list: &List, json: bool) -> Result<(), CliError> {
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let mut users = Vec::new();
    let mut after = list.after;
    while users.len() < limit {
        let from = after.map(|id| id.to_string());
        let ids: Vec<UserId> = event_log::newest_ids(opened.db(), "user", from.as_deref(), LOOKED_AT).await?;
        let Some(last) = ids.last().copied() else { break };
        let mut names = vault.usernames(&ids).await?;
        for user_id in ids {
            let username = names.remove(&user_id);
            if !names::has(username.as_deref().unwrap_or_default(), list.name.as_deref()) {
                continue;
            }
            let Some(status) = status(opened, user_id).await? else { continue };
            if list.status.as_deref().is_none_or(|wanted| wanted == status) && users.len() < limit {
                users.push(Shown { user_id, username, status, claims: Map::new() });
            }
            if users.len() >= limit {
                break;
            }
        }
        after = Some(last);
    }
    if json {
        return output::json(&users);
    }
    let row = |user: &Shown| {
        vec![user.user_id.to_string(), user.username.clone().unwrap_or_default(), user.status.to_owned()]
    };
    output::table(&["USER_ID", "USERNAME", "STATUS"], &users.iter().map(row).collect::<Vec<_>>())
}
