//! Every event of every aggregate as one type, and how a stored row becomes one.

use cqrs_es::DomainEvent;
use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::Value;

use crate::client::ClientEvent;
use crate::grant::GrantEvent;
use crate::metadata::EventMetadata;
use crate::session::SessionEvent;
use crate::signing_key::SigningKeyEvent;
use crate::user::UserEvent;

/// The version that this binary writes for every event type.
pub const EVENT_VERSION: &str = "1.0";

/// The events with which streams begin.
const BEGINNINGS: &[&str] = &[
    "client.registered",
    "user.registered",
    "session.started",
    "signing_key.created",
    "grant.code_issued",
    "grant.opened",
    "grant.id_token_issued",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Client(ClientEvent),
    User(UserEvent),
    Session(SessionEvent),
    Grant(GrantEvent),
    SigningKey(SigningKeyEvent),
}

/// An event as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub aggregate_id: String,
    /// From 1, without holes within one aggregate.
    pub sequence: i64,
    pub event: Event,
    pub metadata: EventMetadata,
    /// Orders the log on PostgreSQL together with `position`; 0 on SQLite.
    pub txid: i64,
    pub position: i64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub recorded_at: i64,
}

/// Why a stored row is not an event that this binary knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer binary wrote it: stop, do not skip.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The row is damaged: quarantine its aggregate.
    #[error("{event_type} cannot be decoded: {reason}")]
    Undecodable { event_type: String, reason: String },
}

/// One way from an old version of an event to the newest, shared by the store and the read models.
#[must_use]
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    // Every version ever stored is still the current one; an event that gets a new meaning gets its upcaster here.
    Vec::new()
}

impl Event {
    /// Reads a stored event. `payload` is JSON text.
    pub fn decode(
        aggregate_type: &str,
        event_type: &str,
        event_version: &str,
        payload: &str,
    ) -> Result<Self, DecodeError> {
        if event_version == EVENT_VERSION {
            return Self::decode_current(aggregate_type, event_type, payload);
        }
        Self::decode_old(aggregate_type, event_type, event_version, payload, &upcasters())
    }

    fn decode_current(aggregate_type: &str, event_type: &str, payload: &str) -> Result<Self, DecodeError> {
        if !Self::is_known_type(event_type) {
            return Err(DecodeError::UnknownType(event_type.to_owned()));
        }
        let event = match aggregate_type {
            "client" => serde_json::from_str(payload).map(Self::Client),
            "user" => serde_json::from_str(payload).map(Self::User),
            "session" => serde_json::from_str(payload).map(Self::Session),
            "grant" => serde_json::from_str(payload).map(Self::Grant),
            "signing_key" => serde_json::from_str(payload).map(Self::SigningKey),
            _ => return Err(DecodeError::UnknownType(event_type.to_owned())),
        };
        match event {
            Ok(event) if event.event_type() == event_type => Ok(event),
            Ok(event) => Err(undecodable(event_type, format!("the payload is a {}", event.event_type()))),
            Err(error) => Err(undecodable(event_type, error.to_string())),
        }
    }

    fn decode_old(
        aggregate_type: &str,
        event_type: &str,
        event_version: &str,
        payload: &str,
        upcasters: &[Box<dyn EventUpcaster>],
    ) -> Result<Self, DecodeError> {
        let value: Value = serde_json::from_str(payload).map_err(|error| undecodable(event_type, error.to_string()))?;
        let stored = SerializedEvent::new(
            String::new(),
            0,
            aggregate_type.to_owned(),
            event_type.to_owned(),
            event_version.to_owned(),
            value,
            Value::Null,
        );
        let event = upcasters.iter().fold(stored, |event, upcaster| {
            if upcaster.can_upcast(&event.event_type, &event.event_version) { upcaster.upcast(event) } else { event }
        });
        // A version that no upcaster brings here was written by a newer binary.
        if event.event_version != EVENT_VERSION {
            return Err(DecodeError::UnknownType(format!("{event_type} version {event_version}")));
        }
        Self::decode_current(&event.aggregate_type, &event.event_type, &event.payload.to_string())
    }

    /// Whether an event of this type may stand there in its stream. Those that begin one stand first, so that no later one
    /// says anew whose it is.
    #[must_use]
    pub fn may_stand_at(event_type: &str, sequence: i64) -> bool {
        sequence == 1 || !BEGINNINGS.contains(&event_type)
    }

    /// Whether events of this type and version are read as they are. For who has no use for the event itself.
    #[must_use]
    pub fn is_current(event_type: &str, event_version: &str) -> bool {
        event_version == EVENT_VERSION && Self::is_known_type(event_type)
    }

    fn is_known_type(event_type: &str) -> bool {
        [ClientEvent::TYPES, UserEvent::TYPES, SessionEvent::TYPES, GrantEvent::TYPES, SigningKeyEvent::TYPES]
            .iter()
            .any(|types| types.contains(&event_type))
    }

    #[must_use]
    pub const fn aggregate_type(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::User(_) => "user",
            Self::Session(_) => "session",
            Self::Grant(_) => "grant",
            Self::SigningKey(_) => "signing_key",
        }
    }

    /// For example `grant.code_redeemed`.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Client(event) => event.name(),
            Self::User(event) => event.name(),
            Self::Session(event) => event.name(),
            Self::Grant(event) => event.name(),
            Self::SigningKey(event) => event.name(),
        }
    }

    /// The payload as it is stored.
    #[must_use]
    pub fn payload(&self) -> Value {
        match self {
            Self::Client(event) => serde_json::to_value(event),
            Self::User(event) => serde_json::to_value(event),
            Self::Session(event) => serde_json::to_value(event),
            Self::Grant(event) => serde_json::to_value(event),
            Self::SigningKey(event) => serde_json::to_value(event),
        }
        .unwrap_or(Value::Null)
    }
}

fn undecodable(event_type: &str, reason: String) -> DecodeError {
    DecodeError::Undecodable { event_type: event_type.to_owned(), reason }
}

macro_rules! stored_event {
    ($($event:ident => $variant:ident),+ $(,)?) => {$(
        impl DomainEvent for $event {
            fn event_type(&self) -> String {
                self.name().to_owned()
            }

            fn event_version(&self) -> String {
                EVENT_VERSION.to_owned()
            }
        }

        impl From<$event> for Event {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        }
    )+};
}

stored_event!(
    ClientEvent => Client,
    UserEvent => User,
    SessionEvent => Session,
    GrantEvent => Grant,
    SigningKeyEvent => SigningKey,
);

#[cfg(test)]
mod tests;
