//! Events in words, for the person they are about.

use std::collections::HashMap;

use grantlog_domain::client::{ClientEvent, GrantType};
use grantlog_domain::grant::{GrantEvent, RevocationReason};
use grantlog_domain::session::{EndReason, SessionEvent};
use grantlog_domain::signing_key::SigningKeyEvent;
use grantlog_domain::user::UserEvent;
use grantlog_domain::{ClientId, Event, Recorded, Timestamp};

use super::moment::Moment;
use super::scopes;

/// One event of a list.
#[derive(Clone, Debug)]
pub struct Line {
    pub words: String,
    pub at: Moment,
    pub event_type: &'static str,
    /// Something came to its end.
    pub ended: bool,
    pub source_address: Option<String>,
}

/// Names of clients by their id, for events that hold only the id.
pub type ClientNames = HashMap<ClientId, String>;

/// `event` in words; `client_name` is the client that it is about, if it is about one.
pub fn line(recorded: &Recorded, client_name: Option<&str>) -> Line {
    let (words, ended) = words(&recorded.event, client_name.unwrap_or("A client"));
    Line {
        words,
        ended,
        at: Moment::from(Timestamp(recorded.recorded_at.div_euclid(1000))),
        event_type: recorded.event.event_type(),
        source_address: recorded.metadata.source_address.clone(),
    }
}

/// The sentence, and whether something ended.
fn words(event: &Event, client: &str) -> (String, bool) {
    match event {
        Event::Client(event) => of_client(event, client),
        Event::User(event) => of_user(event),
        Event::Session(event) => of_session(event),
        Event::Grant(event) => of_grant(event, client),
        Event::SigningKey(event) => of_signing_key(event),
    }
}

fn of_grant(event: &GrantEvent, client: &str) -> (String, bool) {
    match event {
        GrantEvent::CodeIssued(issued) => {
            (format!("You let {client} in. It may: {}.", lower_first(&scopes::sentence(&issued.scope))), false)
        }
        GrantEvent::CodeRedeemed { .. } => (format!("{client} exchanged its code for tokens."), false),
        GrantEvent::Opened(opened) => (
            match opened.grant_type {
                GrantType::Implicit => format!("You let {client} in; it got a token through your browser."),
                GrantType::Password => format!("{client} got tokens with your user name and password."),
                _ => format!("{client} got a token for itself."),
            },
            false,
        ),
        GrantEvent::Refreshed(_) => (format!("{client} renewed its access."), false),
        GrantEvent::AccessTokenRevoked { .. } => (format!("{client} gave an access token back."), true),
        GrantEvent::Revoked { reason, .. } => (revoked(*reason, client), true),
    }
}

fn revoked(reason: RevocationReason, client: &str) -> String {
    match reason {
        RevocationReason::Client => format!("{client} ended its access."),
        RevocationReason::User => format!("You took back what {client} may do. All its tokens ended."),
        RevocationReason::Admin => format!("An operator ended the access of {client}."),
        RevocationReason::CodeReplayed => {
            format!("A code of {client} was used twice, so somebody else may have it. Everything from it ended.")
        }
        RevocationReason::RefreshReused => {
            format!("A refresh token of {client} was used twice, so somebody else may have it. All its tokens ended.")
        }
        RevocationReason::UserDisabled => format!("Your account was disabled, and the access of {client} ended."),
        RevocationReason::ClientDisabled => format!("{client} was disabled, and its access ended."),
    }
}

fn of_session(event: &SessionEvent) -> (String, bool) {
    match event {
        SessionEvent::Started { .. } => ("You signed in.".to_owned(), false),
        SessionEvent::Reauthenticated { .. } => ("You proved again who you are.".to_owned(), false),
        SessionEvent::Ended { reason, .. } => (
            match reason {
                EndReason::SignedOut => "You signed out.",
                EndReason::Replaced => "A new sign-in in the same browser took the place of this one.",
                EndReason::Admin => "An operator signed you out.",
            }
            .to_owned(),
            true,
        ),
    }
}

fn of_client(event: &ClientEvent, client: &str) -> (String, bool) {
    match event {
        ClientEvent::Registered { metadata, .. } => {
            (format!("The client {} was created.", metadata.client_name), false)
        }
        ClientEvent::Updated { metadata, .. } => (format!("The client {} was changed.", metadata.client_name), false),
        ClientEvent::SecretRotated { .. } => (format!("{client} got a new secret; the old one ended."), false),
        ClientEvent::Disabled { .. } => (format!("{client} was disabled."), true),
        ClientEvent::Enabled { .. } => (format!("{client} was enabled."), false),
        ClientEvent::Deleted { .. } => (format!("{client} was deleted."), true),
    }
}

fn of_user(event: &UserEvent) -> (String, bool) {
    let (words, ended) = match event {
        UserEvent::Registered { .. } => ("Your account was created.", false),
        UserEvent::ProfileChanged { .. } => ("Your profile was changed.", false),
        UserEvent::CredentialChanged { .. } => ("Your password was changed.", false),
        UserEvent::Disabled { .. } => ("Your account was disabled.", true),
        UserEvent::Enabled { .. } => ("Your account was enabled.", false),
        UserEvent::Erased { .. } => ("Your account was erased.", true),
    };
    (words.to_owned(), ended)
}

fn of_signing_key(event: &SigningKeyEvent) -> (String, bool) {
    (format!("The server's signing keys changed ({}).", event.name()), false)
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    first + letters.as_str()
}
