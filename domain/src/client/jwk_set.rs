//! The public keys of a client, by value: RFC 7517 5.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

/// A JWK Set as one text, because every client is kept in memory: as a tree it takes ten times as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwkSet(Box<str>);

impl JwkSet {
    /// Its length as JSON, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        // Made from an object.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Map<String, Value>> for JwkSet {
    fn from(members: Map<String, Value>) -> Self {
        Self(Value::Object(members).to_string().into())
    }
}

impl Serialize for JwkSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}
