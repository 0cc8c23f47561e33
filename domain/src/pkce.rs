//! Proof Key for Code Exchange: RFC 7636, `S256` only. The hash itself is made outside; here it is only compared.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// `code_challenge` = BASE64URL(SHA256(`code_verifier`)) (RFC 7636 4.2).
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge(pub [u8; 32]);

/// What a token request brought as `code_verifier` (RFC 7636 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verifier {
    Absent,
    /// Not 43 to 128 unreserved characters (RFC 7636 4.1), so it fits no challenge. The grant still hears of it: the code
    /// may be a replayed one.
    Malformed,
    /// BASE64URL(SHA256(`code_verifier`)) (RFC 7636 4.6).
    Hashed(CodeChallenge),
}

/// The text is not 43 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code_challenge must be 43 characters of base64url")]
pub struct CodeChallengeError;

impl CodeChallenge {
    /// Reads the parameter as it stands on the wire.
    pub fn parse(text: &str) -> Result<Self, CodeChallengeError> {
        let mut digest = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut digest) {
            Ok(32) => Ok(Self(digest)),
            _ => Err(CodeChallengeError),
        }
    }
}

impl PartialEq for CodeChallenge {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CodeChallenge {}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for CodeChallenge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CodeChallenge({self})")
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = CodeChallengeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> Self {
        challenge.to_string()
    }
}
