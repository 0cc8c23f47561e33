//! Every rule about a signing key: it only ever moves forward.

use super::{SigningKey, SigningKeyCommand, SigningKeyError, SigningKeyEvent, Stage};

/// Members of a JWK that only a private or symmetric key has (RFC 7518 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl SigningKey {
    /// What follows from a command, or why nothing does. An empty answer means that it holds already.
    pub fn decide(&self, command: SigningKeyCommand) -> Result<Vec<SigningKeyEvent>, SigningKeyError> {
        match (command, self.stage) {
            (SigningKeyCommand::Create { alg, public_jwk, at }, Stage::Absent) => {
                if PRIVATE_MEMBERS.iter().any(|member| public_jwk.contains_key(*member)) {
                    return Err(SigningKeyError::PrivateJwk);
                }
                Ok(vec![SigningKeyEvent::Created { alg, public_jwk, at }])
            }
            (SigningKeyCommand::Create { .. }, _) => Err(SigningKeyError::AlreadyExists),
            (_, Stage::Absent) => Err(SigningKeyError::NotFound),
            (SigningKeyCommand::Revoke { .. }, Stage::Revoked) => Ok(Vec::new()),
            (_, Stage::Revoked) => Err(SigningKeyError::Revoked),
            (SigningKeyCommand::Activate { .. }, Stage::Active)
            | (SigningKeyCommand::Retire { .. }, Stage::Retired) => Ok(Vec::new()),
            (SigningKeyCommand::Activate { .. }, Stage::Retired) => Err(SigningKeyError::Retired),
            (SigningKeyCommand::Activate { at }, Stage::Created) => Ok(vec![SigningKeyEvent::Activated { at }]),
            (SigningKeyCommand::Retire { at }, Stage::Created | Stage::Active) => {
                Ok(vec![SigningKeyEvent::Retired { at }])
            }
            (SigningKeyCommand::Revoke { at }, Stage::Created | Stage::Active | Stage::Retired) => {
                Ok(vec![SigningKeyEvent::Revoked { at }])
            }
        }
    }
}
