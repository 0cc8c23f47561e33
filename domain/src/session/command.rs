//! What can be asked of a session.

use super::EndReason;
use crate::ids::UserId;
use crate::{SecretHash, Timestamp};

#[derive(Clone, Debug)]
pub enum SessionCommand {
    Start {
        user_id: UserId,
        cookie: SecretHash,
        amr: Vec<String>,
        expires_at: Timestamp,
        at: Timestamp,
    },
    /// `expires_at`: when it shall end now; never sooner than before, nor later than [`super::LIFETIME_SECONDS_MAX`] allows.
    Reauthenticate {
        user_id: UserId,
        cookie: SecretHash,
        amr: Vec<String>,
        expires_at: Timestamp,
        at: Timestamp,
    },
    End {
        reason: EndReason,
        at: Timestamp,
    },
}
