//! What can be asked of a session.

use super::EndReason;
use crate::ids::UserId;
use crate::{SecretHash, Timestamp};

#[derive(Clone, Debug)]
pub enum SessionCommand {
    Start { user_id: UserId, cookie: SecretHash, amr: Vec<String>, expires_at: Timestamp, at: Timestamp },
    Reauthenticate { user_id: UserId, cookie: SecretHash, amr: Vec<String>, at: Timestamp },
    End { reason: EndReason, at: Timestamp },
}
