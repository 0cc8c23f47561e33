//! Facts about a session. Published events never change; new fields are optional with a default.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::{SecretHash, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEvent {
    Started {
        user_id: UserId,
        cookie: SecretHash,
        /// Authentication methods (RFC 8176), for example `pwd`.
        amr: Vec<String>,
        expires_at: Timestamp,
        at: Timestamp,
    },
    /// The user proved again who they are; the cookie changed with it.
    Reauthenticated {
        cookie: SecretHash,
        amr: Vec<String>,
        /// When it ends now, if that changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        at: Timestamp,
    },
    Ended {
        reason: EndReason,
        at: Timestamp,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The user signed out.
    SignedOut,
    /// Another sign-in in the same browser took its place.
    Replaced,
    Admin,
    /// The user was disabled or erased.
    UserDisabled,
}

impl SessionEvent {
    /// Every type that was ever stored.
    pub const TYPES: &[&str] = &["session.started", "session.reauthenticated", "session.ended"];

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "session.started",
            Self::Reauthenticated { .. } => "session.reauthenticated",
            Self::Ended { .. } => "session.ended",
        }
    }
}
