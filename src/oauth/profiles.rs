//! Personal data of users for the answers that carry it, read from the vault and remembered.
//!
//! The vault is a database, sealed; introspection and `/api/me` are asked thousands of times a second. What is remembered
//! is used only as long as the live models are fresh and have seen no change of the profile since. The name of a user
//! never changes.

use std::sync::Arc;
use std::time::Duration;

use grantlog_domain::UserId;
use moka::sync::Cache;

use super::error::OAuthError;
use crate::app::App;
use crate::http::request_id::RequestContext;
use crate::standing::is_fresh;
use crate::store::vault::{Profile, VaultError};

/// Most profiles in memory; the least used go first.
const PROFILES_MAX: u64 = 20_000;
/// Personal data does not stay in memory longer than this, whatever is asked.
const LIFE: Duration = Duration::from_secs(60);

/// Profiles that were read.
#[derive(Clone)]
pub struct Profiles(Cache<UserId, Read>);

#[derive(Clone)]
struct Read {
    /// `Live::profile_version` from before it was read.
    version: i64,
    profile: Arc<Profile>,
}

impl Profiles {
    #[must_use]
    pub fn new() -> Self {
        Self(Cache::builder().max_capacity(PROFILES_MAX).time_to_live(LIFE).build())
    }

    /// The profile of a user; `None` when there is none, or no more.
    ///
    /// # Errors
    /// Those of the vault.
    pub async fn get(&self, app: &App, user_id: UserId) -> Result<Option<Arc<Profile>>, VaultError> {
        let version = app.live.profile_version(user_id);
        if let Some(read) = self.0.get(&user_id).filter(|read| read.version == version && is_fresh(app)) {
            return Ok(Some(read.profile));
        }
        // Boxed, because it is rare and large.
        let profile = Box::pin(app.vault.profile(user_id)).await?.map(Arc::new);
        match &profile {
            Some(profile) => self.0.insert(user_id, Read { version, profile: Arc::clone(profile) }),
            None => self.0.invalidate(&user_id),
        }
        Ok(profile)
    }

    /// The same, where an answer is right without it too.
    pub async fn get_if_possible(&self, app: &App, user_id: UserId) -> Option<Arc<Profile>> {
        self.get(app, user_id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the vault was not asked for a name");
            None
        })
    }
}

/// What is heard when personal data cannot be read: try again, or that the server failed.
pub fn not_told(error: &VaultError, context: &RequestContext) -> OAuthError {
    match error {
        VaultError::Database(_) => {
            tracing::warn!(request_id = context.id.as_str(), %error, "the vault is not available");
            OAuthError::unavailable()
        }
        other => OAuthError::fault(Some(context.id.as_str()), other),
    }
}

impl Default for Profiles {
    fn default() -> Self {
        Self::new()
    }
}
