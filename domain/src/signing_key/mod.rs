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

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct SigningKey {
    stage: Stage,
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

    fn remember(&mut self, event: SigningKeyEvent) {
        self.stage = match event {
            SigningKeyEvent::Created { .. } => Stage::Created,
            SigningKeyEvent::Activated { .. } => Stage::Active,
            SigningKeyEvent::Retired { .. } => Stage::Retired,
            SigningKeyEvent::Revoked { .. } => Stage::Revoked,
        };
    }
}

crate::drive_by_decide!(SigningKey, "signing_key", SigningKeyCommand, SigningKeyEvent, SigningKeyError);
