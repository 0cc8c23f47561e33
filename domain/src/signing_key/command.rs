//! What can be asked of a signing key.

use super::Algorithm;
use crate::Timestamp;

#[derive(Clone, Debug)]
pub enum SigningKeyCommand {
    /// `public_jwk` is the public half only (RFC 7517 4).
    Create {
        alg: Algorithm,
        public_jwk: serde_json::Map<String, serde_json::Value>,
        at: Timestamp,
    },
    Activate {
        at: Timestamp,
    },
    Retire {
        at: Timestamp,
    },
    Revoke {
        at: Timestamp,
    },
}
