//! Facts about a client. Published events never change; new fields are optional with a default.

use serde::{Deserialize, Serialize};

use super::{Author, ClientMetadata};
use crate::ids::UserId;
use crate::{SecretHash, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientEvent {
    Registered {
        metadata: ClientMetadata,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<SecretHash>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<UserId>,
        /// Of a client that registered itself (RFC 7592 3).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registration_access_token: Option<SecretHash>,
        /// Absent in what was stored before authors were kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
        at: Timestamp,
    },
    Updated {
        metadata: ClientMetadata,
        /// An operator answers for what the client is now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        vouched: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
        at: Timestamp,
    },
    SecretRotated {
        secret: SecretHash,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
        at: Timestamp,
    },
    Disabled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
        at: Timestamp,
    },
    Enabled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
        at: Timestamp,
    },
    Deleted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
        at: Timestamp,
    },
}

impl ClientEvent {
    /// Every type that was ever stored.
    pub const TYPES: &[&str] = &[
        "client.registered",
        "client.updated",
        "client.secret_rotated",
        "client.disabled",
        "client.enabled",
        "client.deleted",
    ];

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "client.registered",
            Self::Updated { .. } => "client.updated",
            Self::SecretRotated { .. } => "client.secret_rotated",
            Self::Disabled { .. } => "client.disabled",
            Self::Enabled { .. } => "client.enabled",
            Self::Deleted { .. } => "client.deleted",
        }
    }
}
