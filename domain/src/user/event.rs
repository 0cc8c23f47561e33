//! Facts about a user, without personal data. Published events never change.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserEvent {
    Registered {
        at: Timestamp,
    },
    /// `fields`: the names of the claims that changed (OpenID Connect Core 5.1), never their values.
    ProfileChanged {
        fields: Vec<String>,
        at: Timestamp,
    },
    CredentialChanged {
        at: Timestamp,
    },
    Disabled {
        at: Timestamp,
    },
    Enabled {
        at: Timestamp,
    },
    /// The key to the personal data was destroyed; the log stays whole.
    Erased {
        at: Timestamp,
    },
}

impl UserEvent {
    /// Every type that was ever stored.
    pub const TYPES: &[&str] = &[
        "user.registered",
        "user.profile_changed",
        "user.credential_changed",
        "user.disabled",
        "user.enabled",
        "user.erased",
    ];

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "user.registered",
            Self::ProfileChanged { .. } => "user.profile_changed",
            Self::CredentialChanged { .. } => "user.credential_changed",
            Self::Disabled { .. } => "user.disabled",
            Self::Enabled { .. } => "user.enabled",
            Self::Erased { .. } => "user.erased",
        }
    }
}
