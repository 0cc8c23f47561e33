//! What the log and the read models keep of a token, code or client secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

use crate::text;

/// HMAC-SHA-256 of a secret under a pepper kept outside the database. Written as `PEPPER.BASE64URL`.
#[derive(Clone, Copy)]
pub struct SecretHash {
    /// Which pepper made it, so that peppers can be rotated.
    pub pepper: u16,
    pub digest: [u8; 32],
}

/// The text is not `PEPPER.BASE64URL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a secret hash")]
pub struct SecretHashError;

impl PartialEq for SecretHash {
    /// In constant time, so that a comparison tells nothing about how much of it was right.
    fn eq(&self, other: &Self) -> bool {
        (self.pepper.ct_eq(&other.pepper) & self.digest.ct_eq(&other.digest)).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Display for SecretHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_digest(out, self.pepper, &self.digest)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretHash({self})")
    }
}

impl FromStr for SecretHash {
    type Err = SecretHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pepper, digest) = text::read_digest(text).ok_or(SecretHashError)?;
        Ok(Self { pepper, digest })
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer)
    }
}

/// A secret that somebody presented: its hash under every pepper that may have made the stored one.
#[derive(Clone, Debug)]
pub struct Presented(Vec<SecretHash>);

impl Presented {
    #[must_use]
    pub const fn new(candidates: Vec<SecretHash>) -> Self {
        Self(candidates)
    }

    /// Whether this is the secret behind `stored`; looks at every candidate, each in constant time.
    #[must_use]
    pub fn is(&self, stored: &SecretHash) -> bool {
        self.0.iter().fold(false, |found, candidate| found | (candidate == stored))
    }
}

impl From<SecretHash> for Presented {
    fn from(hash: SecretHash) -> Self {
        Self(vec![hash])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back_is_the_same(pepper: u16, digest: [u8; 32]) {
            let hash = SecretHash { pepper, digest };
            prop_assert_eq!(hash.to_string().parse::<SecretHash>(), Ok(hash));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".{0,80}") {
            let _ = text.parse::<SecretHash>();
        }
    }
}
