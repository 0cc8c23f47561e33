//! The rules of Grantlog: pure aggregates, commands and events. No I/O, no clock, no randomness, no SQL, no HTTP.
//!
//! Each aggregate is a folder with the same files: `mod` (state and `apply`), `command`, `event`, `error`,
//! `decide` (every rule) and `tests`. Time, identifiers and hashes arrive in the commands.

#![forbid(unsafe_code)]

pub mod client;
pub mod event;
pub mod grant;
pub mod ids;
pub mod metadata;
pub mod pkce;
pub mod redirect_uri;
pub mod scope;
pub mod secret_hash;
pub mod seen;
pub mod session;
pub mod signing_key;
mod text;
pub mod time;
pub mod uri;
pub mod user;

pub use event::{DecodeError, Event, Recorded, upcasters};
pub use ids::{ClientId, GrantId, KeyId, SessionId, UserId};
pub use metadata::{Actor, EventMetadata};
pub use pkce::{CodeChallenge, Verifier};
pub use redirect_uri::RedirectUri;
pub use scope::{OFFLINE_ACCESS, Scope};
pub use secret_hash::{Presented, SecretHash};
pub use time::Timestamp;

/// Joins an aggregate's pure `decide` to cqrs-es: the whole of `handle` is one loop.
macro_rules! drive_by_decide {
    ($aggregate:ty, $name:literal, $command:ty, $event:ty, $error:ty) => {
        impl cqrs_es::Aggregate for $aggregate {
            const TYPE: &'static str = $name;
            type Command = $command;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                _: &(),
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                for event in self.decide(command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                self.remember(event);
            }
        }
    };
}
pub(crate) use drive_by_decide;
