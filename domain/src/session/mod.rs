//! A session: one browser in which a user has signed in.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use command::SessionCommand;
pub use error::SessionError;
pub use event::{EndReason, SessionEvent};

use crate::ids::UserId;
use crate::{SecretHash, Timestamp};

/// The longest life of a session, in seconds, however often its user proves again who they are.
pub const LIFETIME_SECONDS_MAX: i64 = 30 * 86_400;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Session {
    stage: Stage,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Absent,
    Started(Started),
    Ended {
        reason: EndReason,
        at: Timestamp,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    pub user_id: UserId,
    pub started_at: Timestamp,
    /// Hash of the session cookie.
    pub cookie: SecretHash,
    /// When the user last proved who they are (OpenID Connect Core 2, `auth_time`).
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    pub expires_at: Timestamp,
}

impl Session {
    #[must_use]
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    fn remember(&mut self, event: SessionEvent) {
        match event {
            // The first one counts: a session is nobody else's later.
            SessionEvent::Started { user_id, cookie, amr, expires_at, at } => {
                if let Stage::Absent = self.stage {
                    self.stage =
                        Stage::Started(Started { user_id, started_at: at, cookie, auth_time: at, amr, expires_at });
                }
            }
            SessionEvent::Reauthenticated { cookie, amr, expires_at, at } => {
                if let Stage::Started(started) = &mut self.stage {
                    started.cookie = cookie;
                    started.amr = amr;
                    started.auth_time = at;
                    started.expires_at = expires_at.unwrap_or(started.expires_at);
                }
            }
            SessionEvent::Ended { reason, at } => self.stage = Stage::Ended { reason, at },
        }
    }
}

crate::drive_by_decide!(Session, "session", SessionCommand, SessionEvent, SessionError);
