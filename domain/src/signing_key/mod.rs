//! A signing key: its public half and its life. The private half is in the vault, encrypted.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use command::SigningKeyCommand;
pub use error::SigningKeyError;
pub use event::{Algorithm, SigningKeyEvent};

use crate::Timestamp;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct SigningKey {
    stage: Stage,
    made: Option<Made>,
}

/// What a key is, and since when it is where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub algorithm: Algorithm,
    pub created_at: Timestamp,
    /// When it came to its present stage.
    pub changed_at: Timestamp,
}

/// `Created` is published but does not sign yet; `Retired` no longer signs but is still published, so that what it
/// signed can be verified; `Revoked` is no longer published.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Absent,
    Created,
    Active,
    Retired,
    Revoked,
}

impl SigningKey {
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Absent for a key that was never created.
    #[must_use]
    pub const fn made(&self) -> Option<Made> {
        self.made
    }

    fn remember(&mut self, event: SigningKeyEvent) {
        let (stage, at) = match event {
            SigningKeyEvent::Created { alg, at, .. } => {
                self.made = Some(Made { algorithm: alg, created_at: at, changed_at: at });
                (Stage::Created, at)
            }
            SigningKeyEvent::Activated { at } => (Stage::Active, at),
            SigningKeyEvent::Retired { at } => (Stage::Retired, at),
            SigningKeyEvent::Revoked { at } => (Stage::Revoked, at),
        };
        self.stage = stage;
        if let Some(made) = &mut self.made {
            made.changed_at = at;
        }
    }
}

crate::drive_by_decide!(SigningKey, "signing_key", SigningKeyCommand, SigningKeyEvent, SigningKeyError);
