//! Facts about a signing key. Published events never change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SigningKeyError;
use crate::Timestamp;

/// `alg` (RFC 7518 3.1, RFC 8037 3.1). The first one is the default of OpenID Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    RS256,
    ES256,
    EdDSA,
    PS256,
}

impl Algorithm {
    pub const ALL: &[Self] = &[Self::RS256, Self::ES256, Self::EdDSA, Self::PS256];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::PS256 => "PS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|alg| alg.as_str() == text).ok_or(SigningKeyError::UnknownAlgorithm)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyEvent {
    Created {
        alg: Algorithm,
        /// The public JWK (RFC 7517 4) with `kid`, `alg` and `use`.
        public_jwk: serde_json::Map<String, serde_json::Value>,
        at: Timestamp,
    },
    Activated {
        at: Timestamp,
    },
    Retired {
        at: Timestamp,
    },
    Revoked {
        at: Timestamp,
    },
}

impl SigningKeyEvent {
    /// Every type that was ever stored.
    pub const TYPES: &[&str] =
        &["signing_key.created", "signing_key.activated", "signing_key.retired", "signing_key.revoked"];

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "signing_key.created",
            Self::Activated { .. } => "signing_key.activated",
            Self::Retired { .. } => "signing_key.retired",
            Self::Revoked { .. } => "signing_key.revoked",
        }
    }
}
