//! The names of users and clients, beside their ids in lists. Those of users are in the vault.

use std::collections::HashMap;

use grantlog_domain::{ClientId, UserId};
use grantlog_projections::tables::clients;

use super::CliError;
use super::opened::Opened;
use crate::store::vault::Vault;

/// Names by id; who has none any more is not there.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<UserId, String>,
    clients: HashMap<ClientId, String>,
}

impl Names {
    pub(super) async fn of(
        opened: &Opened,
        vault: &Vault,
        users: impl IntoIterator<Item = UserId>,
        clients: impl IntoIterator<Item = ClientId>,
    ) -> Result<Self, CliError> {
        let (users, clients) = (distinct(users), distinct(clients));
        Ok(Self { users: vault.usernames(&users).await?, clients: clients::names(opened.db(), &clients).await? })
    }

    pub(super) fn user(&self, id: UserId) -> Option<String> {
        self.users.get(&id).cloned()
    }

    pub(super) fn client(&self, id: ClientId) -> Option<String> {
        self.clients.get(&id).cloned()
    }
}

fn distinct<T: Ord>(ids: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether a list that is searched for `part` shows that name.
pub(super) fn has(name: &str, part: Option<&str>) -> bool {
    part.is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
}
