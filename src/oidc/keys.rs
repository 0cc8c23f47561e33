//! The life of signing keys: the next one is published before it signs, the old one for as long as what it signed may be
//! verified (OpenID Connect Core 10.1.1).
//!
//! Every node does this, and the command line too; what another has done already changes nothing: each key has one
//! successor (`store::vault`), and its stream takes each step once.

use std::time::Duration;

use grantlog_domain::signing_key::{Algorithm, SigningKey, SigningKeyCommand, SigningKeyError, Stage};
use grantlog_domain::{Actor, KeyId, Timestamp};
use grantlog_projections::db::DbError;

use crate::clock::Clock;
use crate::config::KeySettings;
use crate::store::vault::{Vault, VaultError};
use crate::store::{CommandContext, ExecuteError, Store, StoreError};

/// The longest pause between two looks at the keys, and after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The shortest one.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// Why a step was not taken; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Refused(#[from] ExecuteError<SigningKeyError>),
}

/// A key as the log tells of it.
#[derive(Clone, Debug)]
pub struct HeldKey {
    pub id: KeyId,
    pub algorithm: Algorithm,
    pub stage: Stage,
    pub created_at: Timestamp,
    /// Since when it is in this stage.
    pub changed_at: Timestamp,
}

impl HeldKey {
    /// When a key that waits will sign.
    #[must_use]
    pub fn due(&self, settings: &KeySettings) -> Timestamp {
        self.created_at.plus_seconds(whole_seconds(settings.publish))
    }
}

/// The keys of one database.
#[derive(Clone)]
pub struct Keys {
    pub store: Store,
    pub vault: Vault,
    pub clock: Clock,
    /// Who changes them.
    pub actor: Actor,
}

impl Keys {
    /// Every key that was ever made, in the order of the log; those whose streams are damaged are left out.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn all(&self) -> Result<Vec<HeldKey>, KeyError> {
        let sql = "SELECT aggregate_id FROM events WHERE aggregate_type = 'signing_key' AND sequence = 1 \
                   ORDER BY position";
        let mut keys = Vec::new();
        for row in self.store.db().fetch(sql, &[]).await? {
            let id = KeyId(row.text(0)?);
            let key = match self.store.load::<SigningKey>(&id.0).await {
                Ok(loaded) => loaded.aggregate,
                // It is published nowhere; the others go on.
                Err(StoreError::Damaged { reason, .. }) => {
                    tracing::error!(kid = id.0, reason, "a signing key's stream is damaged: it counts as revoked");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(made) = key.made() {
                let (stage, created_at, changed_at) = (key.stage(), made.created_at, made.changed_at);
                keys.push(HeldKey { id, algorithm: made.algorithm, stage, created_at, changed_at });
            }
        }
        Ok(keys)
    }

    /// The next key of that algorithm, if it was made already: it is published and does not sign yet.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn waiting(&self, alg: Algorithm) -> Result<Option<HeldKey>, KeyError> {
        Ok(self.newest(alg).await?.filter(|key| key.stage == Stage::Created))
    }

    async fn newest(&self, alg: Algorithm) -> Result<Option<HeldKey>, KeyError> {
        Ok(self.all().await?.into_iter().rev().find(|key| key.algorithm == alg))
    }

    /// Makes the next key of that algorithm, or finds the one that waits already. It is published and does not sign yet.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn make_next(&self, alg: Algorithm) -> Result<KeyId, KeyError> {
        match self.newest(alg).await? {
            Some(key) if key.stage == Stage::Created => Ok(key.id),
            newest => self.make(alg, newest.as_ref().map(|key| &key.id)).await,
        }
    }

    async fn make(&self, alg: Algorithm, predecessor: Option<&KeyId>) -> Result<KeyId, KeyError> {
        let made = self.vault.create_signing_key(alg, predecessor).await?;
        let create = SigningKeyCommand::Create { alg, public_jwk: made.public_jwk, at: self.clock.now() };
        match self.store.create::<SigningKey>(&made.key_id.0, create, &self.by()).await {
            // Another node says the same of the same key.
            Ok(_) | Err(ExecuteError::Conflict | ExecuteError::Refused(SigningKeyError::AlreadyExists)) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::info!(kid = made.key_id.0, %alg, "a signing key was made");
        Ok(made.key_id)
    }

    /// Signs with this key from now on, and no longer with the others of its algorithm.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn activate(&self, id: &KeyId) -> Result<(), KeyError> {
        self.change(id, SigningKeyCommand::Activate { at: self.clock.now() }).await?;
        let keys = self.all().await?;
        let Some(alg) = keys.iter().find(|key| key.id == *id).map(|key| key.algorithm) else { return Ok(()) };
        // Only after the new one signs, so that there is always one that does.
        for old in keys.iter().filter(|key| key.algorithm == alg && key.id != *id && key.stage == Stage::Active) {
            self.change(&old.id, SigningKeyCommand::Retire { at: self.clock.now() }).await?;
        }
        Ok(())
    }

    /// Signs with this key no longer. Where it is the one that signs, the next one does at once, so that there is always
    /// one.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn retire(&self, id: &KeyId) -> Result<(), KeyError> {
        let keys = self.all().await?;
        if let Some(active) = keys.iter().find(|key| key.id == *id && key.stage == Stage::Active) {
            let next = self.make_next(active.algorithm).await?;
            self.activate(&next).await?;
        }
        self.change(id, SigningKeyCommand::Retire { at: self.clock.now() }).await
    }

    async fn change(&self, id: &KeyId, command: SigningKeyCommand) -> Result<(), KeyError> {
        self.store.execute::<SigningKey>(&id.0, command, &self.by()).await?;
        Ok(())
    }

    /// Does what is due: makes a first key of each algorithm, makes the next one when the present one is old, activates
    /// it when everybody may know it, and withdraws what nobody needs any more.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn tend(&self, settings: &KeySettings) -> Result<(), KeyError> {
        let keys = self.all().await?;
        let missing = Algorithm::ALL.iter().filter(|alg| !keys.iter().any(|key| key.algorithm == **alg));
        // RSA keys take a while; the first start needs several.
        futures::future::try_join_all(missing.map(|alg| async move {
            let id = self.make(*alg, None).await?;
            self.activate(&id).await
        }))
        .await?;
        for alg in Algorithm::ALL {
            self.tend_one(settings, &keys.iter().filter(|key| key.algorithm == *alg).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// The keys of one algorithm, in the order of the log.
    async fn tend_one(&self, settings: &KeySettings, keys: &[&HeldKey]) -> Result<(), KeyError> {
        let Some(newest) = keys.last() else { return Ok(()) };
        let now = self.clock.now();
        let is_past = |since: Timestamp, span: Duration| now.seconds_since(since) >= whole_seconds(span);
        let active = keys.iter().rev().find(|key| key.stage == Stage::Active);
        match (active, newest.stage) {
            (Some(active), Stage::Active) => {
                if !settings.rotation.is_zero() && is_past(active.changed_at, settings.rotation) {
                    self.make(active.algorithm, Some(&active.id)).await?;
                }
                // Somebody stopped between activating the one and retiring the other.
                if keys.iter().filter(|key| key.stage == Stage::Active).count() > 1 {
                    self.activate(&active.id).await?;
                }
            }
            (Some(_), Stage::Created) => {
                if is_past(newest.created_at, settings.publish) {
                    self.activate(&newest.id).await?;
                }
            }
            // Nobody signs: nothing to wait for.
            (None, Stage::Created) => self.activate(&newest.id).await?,
            // The newest one was retired or revoked by hand.
            (_, Stage::Absent | Stage::Active | Stage::Retired | Stage::Revoked) => {
                let next = self.make(newest.algorithm, Some(&newest.id)).await?;
                if active.is_none() {
                    self.activate(&next).await?;
                }
            }
        }
        for old in keys.iter().filter(|key| key.stage == Stage::Retired && is_past(key.changed_at, settings.retired)) {
            self.change(&old.id, SigningKeyCommand::Revoke { at: now }).await?;
            self.vault.destroy_signing_key(&old.id).await?;
            tracing::info!(kid = old.id.0, "a signing key was withdrawn");
        }
        Ok(())
    }

    fn by(&self) -> CommandContext {
        CommandContext { actor: self.actor.clone(), request_id: None, correlation: None, source_address: None }
    }

    /// Tends the keys for ever.
    pub async fn run(self, settings: KeySettings) {
        let pause = (settings.publish / 4).clamp(PAUSE_MIN, PAUSE_MAX);
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.tend(&settings).await {
                tracing::warn!(%error, "signing keys were not looked after");
            }
        }
    }
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
