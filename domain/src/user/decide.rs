//! Every rule about a user.

use super::{Stage, User, UserCommand, UserError, UserEvent};

impl User {
    /// What follows from a command, or why nothing does. An empty answer means that it holds already.
    pub fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
        match (command, self.stage) {
            (UserCommand::Register { at }, Stage::Absent) => Ok(vec![UserEvent::Registered { at }]),
            (UserCommand::Register { .. }, _) => Err(UserError::AlreadyExists),
            (_, Stage::Absent) => Err(UserError::NotFound),
            (UserCommand::Erase { .. }, Stage::Erased) => Ok(Vec::new()),
            (_, Stage::Erased) => Err(UserError::Erased),
            (UserCommand::ChangeProfile { fields, .. }, _) if fields.is_empty() => Ok(Vec::new()),
            (UserCommand::ChangeProfile { fields, at }, _) => Ok(vec![UserEvent::ProfileChanged { fields, at }]),
            (UserCommand::ChangeCredential { at }, _) => Ok(vec![UserEvent::CredentialChanged { at }]),
            (UserCommand::Disable { .. }, Stage::Disabled) | (UserCommand::Enable { .. }, Stage::Enabled) => {
                Ok(Vec::new())
            }
            (UserCommand::Disable { at }, Stage::Enabled) => Ok(vec![UserEvent::Disabled { at }]),
            (UserCommand::Enable { at }, Stage::Disabled) => Ok(vec![UserEvent::Enabled { at }]),
            (UserCommand::Erase { at }, Stage::Enabled | Stage::Disabled) => Ok(vec![UserEvent::Erased { at }]),
        }
    }
}
