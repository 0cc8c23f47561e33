//! What stands beside every event: who did it, in which request, from where.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use uuid::Uuid;

use crate::ids::{ClientId, UserId};

/// Who caused an event. Written as `user:ID`, `client:ID`, `admin:NAME`, `initial_access_token:NAME`, `anonymous`, `cli`
/// or `system`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    User(UserId),
    Client(ClientId),
    Admin(String),
    /// Who registers a client with that token (RFC 7591 1.2).
    InitialAccessToken(String),
    /// Who registers a client where anybody may.
    Anonymous,
    Cli,
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(out, "user:{id}"),
            Self::Client(id) => write!(out, "client:{id}"),
            Self::Admin(name) => write!(out, "admin:{name}"),
            Self::InitialAccessToken(name) => write!(out, "initial_access_token:{name}"),
            Self::Anonymous => out.write_str("anonymous"),
            Self::Cli => out.write_str("cli"),
            Self::System => out.write_str("system"),
        }
    }
}

impl FromStr for Actor {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "cli" => Ok(Self::Cli),
            None if text == "system" => Ok(Self::System),
            None if text == "anonymous" => Ok(Self::Anonymous),
            Some(("user", id)) => id.parse().map(Self::User).map_err(|_| MetadataError("actor")),
            Some(("client", id)) => id.parse().map(Self::Client).map_err(|_| MetadataError("actor")),
            Some(("admin", name)) => Ok(Self::Admin(name.to_owned())),
            Some(("initial_access_token", name)) => Ok(Self::InitialAccessToken(name.to_owned())),
            _ => Err(MetadataError("actor")),
        }
    }
}

/// Metadata of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMetadata {
    /// UUID version 7; settles whether an append whose answer was lost took place.
    pub event_id: Uuid,
    pub actor: Actor,
    pub request_id: Option<String>,
    /// The grant or session that the event belongs to.
    pub correlation: Option<String>,
    /// Whole, truncated or absent, by a setting.
    pub source_address: Option<String>,
}

/// The named field of the stored metadata is missing or malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event metadata: {0} is missing or malformed")]
pub struct MetadataError(pub &'static str);

impl EventMetadata {
    /// As cqrs-es carries it.
    #[must_use]
    pub fn to_map(&self) -> HashMap<String, String> {
        let optional = [
            ("request_id", &self.request_id),
            ("correlation", &self.correlation),
            ("source_address", &self.source_address),
        ];
        let mut map = HashMap::with_capacity(5);
        map.insert("event_id".to_owned(), self.event_id.to_string());
        map.insert("actor".to_owned(), self.actor.to_string());
        for (name, value) in optional {
            if let Some(value) = value {
                map.insert(name.to_owned(), value.clone());
            }
        }
        map
    }

    /// As it is stored: the same fields as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Stored<'a> {
            event_id: Uuid,
            actor: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            request_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            correlation: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            source_address: Option<&'a str>,
        }
        let stored = Stored {
            event_id: self.event_id,
            actor: self.actor.to_string(),
            request_id: self.request_id.as_deref(),
            correlation: self.correlation.as_deref(),
            source_address: self.source_address.as_deref(),
        };
        // Texts only: this always serializes.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`Self::to_map`] wrote; unknown fields are left alone.
    pub fn from_map(map: &HashMap<String, String>) -> Result<Self, MetadataError> {
        let event_id = map.get("event_id").and_then(|id| Uuid::try_parse(id).ok()).ok_or(MetadataError("event_id"))?;
        let actor = map.get("actor").ok_or(MetadataError("actor"))?.parse()?;
        Ok(Self {
            event_id,
            actor,
            request_id: map.get("request_id").cloned(),
            correlation: map.get("correlation").cloned(),
            source_address: map.get("source_address").cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(filled: bool) -> EventMetadata {
        let text = |text: &str| filled.then(|| text.to_owned());
        EventMetadata {
            event_id: Uuid::from_u128(7),
            actor: Actor::Admin("a \"quoted\" name".to_owned()),
            request_id: text("r"),
            correlation: text("c"),
            source_address: text("192.0.2.0"),
        }
    }

    #[test]
    fn an_actor_is_read_as_it_was_written() {
        let id = Uuid::from_u128(7);
        let names = [Actor::Admin("a:b".to_owned()), Actor::InitialAccessToken("ci".to_owned())];
        let ids = [Actor::User(UserId(id)), Actor::Client(ClientId(id))];
        for actor in names.into_iter().chain(ids).chain([Actor::Anonymous, Actor::Cli, Actor::System]) {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for wrong in ["", "anonymous:", "user:x", "nobody"] {
            assert_eq!(wrong.parse::<Actor>(), Err(MetadataError("actor")), "{wrong}");
        }
    }

    #[test]
    fn what_is_stored_is_the_map() {
        for metadata in [metadata(true), metadata(false)] {
            let stored: HashMap<String, String> = serde_json::from_str(&metadata.to_json()).expect("JSON of texts");
            assert_eq!(stored, metadata.to_map());
            assert_eq!(EventMetadata::from_map(&stored), Ok(metadata));
        }
    }
}
