//! JSON Web Tokens signed with the keys of this server: RFC 7515 7.1, RFC 7519 7.1.
//!
//! The keys are opened once (reading an RSA key takes longer than an ES256 signature), so this is done with the signer of
//! the vault itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::KeyId;
use grantlog_domain::signing_key::{Algorithm, Stage};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::standing;
use crate::store::StoreError;
use crate::store::vault::{Signer, VaultError};

/// RSA signatures computed at the same time; further ones wait. More than there are processors would only slow down
/// everything else.
const SLOW_AT_ONCE: usize = 4;

/// Why a token was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("there is no active {0} key")]
    NoKey(Algorithm),
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// This node is not up to date, and the log does not say which keys stand.
    #[error(transparent)]
    Log(#[from] StoreError),
    #[error("the claims cannot be written: {0}")]
    Claims(#[from] serde_json::Error),
    /// The client is registered for ID tokens without a signature, which the settings do not allow.
    #[error("ID tokens without a signature are not allowed")]
    Unsigned,
    #[error("signing was interrupted")]
    Interrupted,
}

/// The private keys that were used so far.
pub struct Signing {
    opened: RwLock<HashMap<KeyId, Arc<Signer>>>,
    slow: Semaphore,
}

impl Signing {
    #[must_use]
    pub fn new() -> Self {
        Self { opened: RwLock::default(), slow: Semaphore::new(SLOW_AT_ONCE) }
    }

    /// `claims` as a signed JWT in the compact serialization, with `kid`. `typ`: its media type (RFC 7515 4.1.9).
    ///
    /// # Errors
    /// See [`SigningError`].
    pub async fn sign<C: Serialize + Sync>(
        &self,
        app: &App,
        alg: Algorithm,
        typ: &str,
        claims: &C,
    ) -> Result<String, SigningError> {
        let (kid, signer) = self.signer(app, alg).await?;
        let header = format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"}}"#);
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = match alg {
            Algorithm::ES256 | Algorithm::EdDSA => signer.sign(token.as_bytes())?,
            Algorithm::RS256 | Algorithm::PS256 => {
                let _turn = self.slow.acquire().await.map_err(|_| SigningError::Interrupted)?;
                let message = token.clone();
                let signed = tokio::task::spawn_blocking(move || signer.sign(message.as_bytes())).await;
                signed.map_err(|_| SigningError::Interrupted)??
            }
        };
        let _ = write!(token, ".{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// The newest active key of that algorithm.
    async fn signer(&self, app: &App, alg: Algorithm) -> Result<(KeyId, Arc<Signer>), SigningError> {
        let published = standing::keys(app).await?;
        let active = published.iter().find(|key| key.algorithm == alg && key.stage == Stage::Active);
        let id = &active.ok_or(SigningError::NoKey(alg))?.id;
        if let Some(signer) = self.opened.read().get(id) {
            return Ok((id.clone(), Arc::clone(signer)));
        }
        let signer = Arc::new(app.vault.signer(id).await?.ok_or(SigningError::NoKey(alg))?);
        let mut opened = self.opened.write();
        opened.retain(|held, _| published.iter().any(|key| key.id == *held));
        opened.insert(id.clone(), Arc::clone(&signer));
        Ok((id.clone(), signer))
    }
}

impl Default for Signing {
    fn default() -> Self {
        Self::new()
    }
}
