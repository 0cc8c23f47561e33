//! What a person saw when they allowed it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// SHA-256 over what a consent page shows of a client, and over where and how its answer goes; scope and claims are kept
/// beside it. Written as `VERSION.BASE64URL`: what a version covers never changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsentDigest {
    pub version: u16,
    pub digest: [u8; 32],
}

/// The text is not `VERSION.BASE64URL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the digest of a consent")]
pub struct ConsentDigestError;

impl fmt::Display for ConsentDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_digest(out, self.version, &self.digest)
    }
}

impl fmt::Debug for ConsentDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ConsentDigest({self})")
    }
}

impl FromStr for ConsentDigest {
    type Err = ConsentDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (version, digest) = text::read_digest(text).ok_or(ConsentDigestError)?;
        Ok(Self { version, digest })
    }
}

impl Serialize for ConsentDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConsentDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer)
    }
}
