//! A user: the resource owner (RFC 6749 1.1). Names, profiles and passwords are not here but in the vault; the log says
//! that they changed, never what they are.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use command::UserCommand;
pub use error::UserError;
pub use event::UserEvent;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct User {
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Absent,
    Enabled,
    Disabled,
    Erased,
}

impl User {
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    fn remember(&mut self, event: UserEvent) {
        match event {
            UserEvent::Registered { .. } | UserEvent::Enabled { .. } => self.stage = Stage::Enabled,
            UserEvent::Disabled { .. } => self.stage = Stage::Disabled,
            UserEvent::Erased { .. } => self.stage = Stage::Erased,
            UserEvent::ProfileChanged { .. } | UserEvent::CredentialChanged { .. } => {}
        }
    }
}

crate::drive_by_decide!(User, "user", UserCommand, UserEvent, UserError);
