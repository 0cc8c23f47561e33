//! Personal data of users for the answers that carry it, read from the vault and remembered for a moment.
//!
//! The vault is a database, sealed; introspection and `/api/me` are asked thousands of times a second. So a profile is
//! remembered for as long as everything else may be stale (`store.max_staleness_ms`), and no longer.

use std::sync::Arc;

use grantlog_domain::UserId;
use moka::sync::Cache;

use crate::app::App;
use crate::config::Settings;
use crate::store::vault::{Profile, VaultError};

/// Most profiles in memory; the least used go first.
const PROFILES_MAX: u64 = 10_000;

/// Profiles that were read a moment ago.
#[derive(Clone)]
pub struct Profiles(Cache<UserId, Option<Arc<Profile>>>);

impl Profiles {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self(Cache::builder().max_capacity(PROFILES_MAX).time_to_live(settings.store.max_staleness).build())
    }

    /// The profile of a user; `None` when there is none, or no more.
    ///
    /// # Errors
    /// Those of the vault.
    pub async fn get(&self, app: &App, user_id: UserId) -> Result<Option<Arc<Profile>>, VaultError> {
        if let Some(profile) = self.0.get(&user_id) {
            return Ok(profile);
        }
        let profile = app.vault.profile(user_id).await?.map(Arc::new);
        self.0.insert(user_id, profile.clone());
        Ok(profile)
    }

    /// The user's name, where an answer is right without it too.
    pub async fn username(&self, app: &App, user_id: UserId) -> Option<String> {
        match self.get(app, user_id).await {
            Ok(profile) => profile.map(|profile| profile.username.clone()),
            Err(error) => {
                tracing::warn!(%error, "the vault was not asked for a name");
                None
            }
        }
    }
}
