//! Events in words, for the person they are about.

use std::borrow::Cow;

use grantlog_domain::client::ClientEvent;
use grantlog_domain::{Event, Recorded, Scope, Timestamp};
use grantlog_projections::tables::activity::ActivityRow;

use super::moment::Moment;
use super::scopes;

/// One event of a list.
#[derive(Clone, Debug)]
pub struct Line {
    pub words: String,
    pub at: Moment,
    pub event_type: String,
    /// Something came to its end.
    pub ended: bool,
    pub source_address: Option<String>,
}

/// What of an event is said in words.
struct Said<'a> {
    event_type: &'a str,
    scope: Option<&'a Scope>,
    /// Why something ended, as the event spells it.
    reason: Option<&'a str>,
    /// Name of the client that it is about.
    client: &'a str,
}

/// Something that a user did or that was done for them; `client` is the name of the client that it is about.
pub fn of_activity(row: &ActivityRow, client: Option<&str>) -> Line {
    let said = Said {
        event_type: &row.event_type,
        scope: row.scope.as_ref(),
        reason: row.reason.as_deref(),
        client: client.unwrap_or("An application"),
    };
    let (words, ended) = words(&said);
    let (event_type, source_address) = (row.event_type.clone(), row.source_address.clone());
    Line { words, ended, at: at(row.recorded_at), event_type, source_address }
}

/// Something that happened to a client.
pub fn of_client(recorded: &Recorded, client: &str) -> Line {
    let client = match &recorded.event {
        Event::Client(ClientEvent::Registered { metadata, .. } | ClientEvent::Updated { metadata, .. }) => {
            &metadata.client_name
        }
        _ => client,
    };
    let event_type = recorded.event.event_type();
    let (words, ended) = words(&Said { event_type, scope: None, reason: None, client });
    Line {
        words,
        ended,
        at: at(recorded.recorded_at),
        event_type: event_type.to_owned(),
        source_address: recorded.metadata.source_address.clone(),
    }
}

fn at(milliseconds: i64) -> Moment {
    Moment::from(Timestamp(milliseconds.div_euclid(1000)))
}

/// The sentence, and whether something ended. An event of a newer Grantlog is called by its type.
fn words(said: &Said<'_>) -> (String, bool) {
    let client = isolated(said.client);
    let (words, ended) = match said.event_type {
        "grant.code_issued" => match said.scope {
            Some(scope) => (format!("You let {client} in. It may: {}.", lower_first(&scopes::sentence(scope))), false),
            None => (format!("You let {client} in."), false),
        },
        "grant.code_redeemed" => (format!("{client} exchanged its code for tokens."), false),
        "grant.id_token_issued" => (format!("You signed in to {client}."), false),
        "grant.opened" => (format!("{client} got a token that speaks for you."), false),
        "grant.refreshed" => (format!("{client} renewed its access."), false),
        "grant.access_token_revoked" => (format!("{client} gave an access token back."), true),
        "grant.revoked" => (revoked(said.reason.unwrap_or_default(), &client), true),
        "session.started" => ("You signed in.".to_owned(), false),
        "session.reauthenticated" => ("You proved again who you are.".to_owned(), false),
        "session.ended" => ("A session of yours ended.".to_owned(), true),
        "client.registered" => (format!("The client {client} was created."), false),
        "client.updated" => (format!("The client {client} was changed."), false),
        "client.secret_rotated" => (format!("{client} got a new secret; the old one ended."), false),
        "client.disabled" => (format!("{client} was disabled, and what it could do ended."), true),
        "client.enabled" => (format!("{client} was enabled."), false),
        "client.deleted" => (format!("{client} was deleted."), true),
        "user.registered" => ("Your account was created.".to_owned(), false),
        "user.profile_changed" => ("Your profile was changed.".to_owned(), false),
        "user.credential_changed" => ("Your password was changed.".to_owned(), false),
        "user.disabled" => ("Your account was disabled.".to_owned(), true),
        "user.enabled" => ("Your account was enabled.".to_owned(), false),
        "user.erased" => ("Your account was erased.".to_owned(), true),
        other => (format!("Something else happened: {other}."), false),
    };
    (words, ended)
}

/// A name in a sentence does not turn round what stands beside it (Unicode Standard Annex 9, FSI and PDI).
fn isolated(name: &str) -> Cow<'_, str> {
    if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(format!("\u{2068}{name}\u{2069}")) }
}

/// `reason` as `RevocationReason` spells it.
fn revoked(reason: &str, client: &str) -> String {
    match reason {
        "client" => format!("{client} ended its access."),
        "user" => format!("You took back what {client} may do. All its tokens ended."),
        "admin" => format!("An operator ended the access of {client}."),
        "code_replayed" => {
            format!("A code of {client} was used twice, so somebody else may have it. All that came of it ended.")
        }
        "refresh_reused" => {
            format!("A refresh token of {client} was used twice, so somebody else may have it. All its tokens ended.")
        }
        "user_disabled" => format!("Your account was disabled, and the access of {client} ended."),
        "client_disabled" => format!("{client} was disabled, and its access ended."),
        "refresh_withdrawn" => format!("{client} may not renew its access any more, so it ended."),
        "session_ended" => format!("You signed out, and the access of {client} ended."),
        _ => format!("The access of {client} ended."),
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    first + letters.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grantlog_domain::grant::{GrantEvent, RevocationReason};
    use grantlog_domain::session::SessionEvent;
    use grantlog_domain::user::UserEvent;

    #[test]
    fn every_event_of_a_person_has_words() {
        for event_type in [ClientEvent::TYPES, UserEvent::TYPES, SessionEvent::TYPES, GrantEvent::TYPES].concat() {
            let (words, _) = words(&Said { event_type, scope: None, reason: None, client: "X" });
            assert!(!words.starts_with("Something else"), "{event_type}");
        }
    }

    #[test]
    fn every_reason_has_words() {
        use RevocationReason::{
            Admin, Client, ClientDisabled, CodeReplayed, RefreshReused, RefreshWithdrawn, SessionEnded, User,
            UserDisabled,
        };
        let of_tokens = [Client, User, Admin, CodeReplayed, RefreshReused, RefreshWithdrawn];
        for reason in of_tokens.into_iter().chain([UserDisabled, ClientDisabled, SessionEnded]) {
            assert_ne!(revoked(reason.as_str(), "X"), revoked("", "X"), "{reason}");
        }
    }
}
