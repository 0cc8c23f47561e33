//! Which of the published keys are this server's: those whose private half is in the vault. Rows of the read models and of
//! the log are not asked for it.

use std::sync::Arc;

use grantlog_projections::live::LiveKey;
use parking_lot::RwLock;

use crate::store::vault::{Vault, VaultError};

/// The answer for the keys that were asked for last: they change rarely.
#[derive(Default)]
pub struct HeldKeys(RwLock<Option<Looked>>);

struct Looked {
    published: Arc<[LiveKey]>,
    held: Arc<[LiveKey]>,
}

impl HeldKeys {
    /// Those of `published` that the vault has.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn of(&self, vault: &Vault, published: Arc<[LiveKey]>) -> Result<Arc<[LiveKey]>, VaultError> {
        if let Some(looked) = self.0.read().as_ref().filter(|looked| Arc::ptr_eq(&looked.published, &published)) {
            return Ok(Arc::clone(&looked.held));
        }
        let known = self.0.read().as_ref().map(|looked| Arc::clone(&looked.held)).unwrap_or_default();
        let mut held = Vec::with_capacity(published.len());
        for key in &*published {
            let was_held = known.iter().any(|known| known.id == key.id && known.public_jwk == key.public_jwk);
            if was_held || vault.holds(&key.id, &key.public_jwk).await? {
                held.push(key.clone());
            } else {
                tracing::error!(kid = key.id.0, "a key that the vault does not have is not published");
            }
        }
        let held: Arc<[LiveKey]> = held.into();
        *self.0.write() = Some(Looked { published, held: Arc::clone(&held) });
        Ok(held)
    }
}
