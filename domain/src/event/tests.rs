//! Every version of every event that was ever stored still loads: `golden/` has one file for each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Deserialize)]
struct Golden {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: Value,
}

fn golden_files() -> Vec<(PathBuf, Golden)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let read = |path: PathBuf| {
        let golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        (path, golden)
    };
    std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

#[test]
fn every_version_ever_stored_still_loads() {
    for (path, golden) in golden_files() {
        let payload = golden.payload.to_string();
        let event = Event::decode(&golden.aggregate_type, &golden.event_type, &golden.event_version, &payload)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(event.aggregate_type(), golden.aggregate_type, "{}", path.display());
        assert_eq!(event.event_type(), golden.event_type, "{}", path.display());
        if golden.event_version == EVENT_VERSION {
            assert_eq!(event.payload(), golden.payload, "{}", path.display());
        }
    }
}

#[test]
fn every_event_type_has_a_golden_file_of_its_current_version() {
    let files: BTreeSet<String> = golden_files()
        .into_iter()
        .filter(|(_, golden)| golden.event_version == EVENT_VERSION)
        .map(|(_, golden)| golden.event_type)
        .collect();
    let types: BTreeSet<String> =
        [ClientEvent::TYPES, UserEvent::TYPES, SessionEvent::TYPES, GrantEvent::TYPES, SigningKeyEvent::TYPES]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
    assert_eq!(files, types);
}

#[test]
fn an_optional_field_that_an_old_event_lacks_has_a_default() {
    let payload = json!({"registered": {
        "metadata": {
            "client_name": "App", "grant_types": ["client_credentials"], "scope": "profile",
            "token_endpoint_auth_method": "client_secret_basic", "application_type": "web",
        },
        "at": 1,
    }});
    assert!(Event::decode("client", "client.registered", "1.0", &payload.to_string()).is_ok());
}

#[test]
fn a_field_that_a_newer_binary_added_is_left_alone() {
    let payload = json!({"disabled": {"at": 1, "why": "asked to"}});
    assert!(Event::decode("client", "client.disabled", "1.0", &payload.to_string()).is_ok());
}

#[test]
fn an_unknown_type_or_version_is_told_from_a_damaged_row() {
    let unknown = Event::decode("grant", "grant.frozen", "1.0", r#"{"frozen":{}}"#);
    assert_eq!(unknown, Err(DecodeError::UnknownType("grant.frozen".to_owned())));
    let newer = Event::decode("client", "client.disabled", "2.0", r#"{"disabled":{"at":1}}"#);
    assert!(matches!(newer, Err(DecodeError::UnknownType(_))));
    for payload in ["", "{", "{}", "null", r#"{"disabled":{}}"#, r#"{"enabled":{"at":1}}"#] {
        let damaged = Event::decode("client", "client.disabled", "1.0", payload);
        assert!(matches!(damaged, Err(DecodeError::Undecodable { .. })), "{payload}");
    }
}

/// Every type is either one that begins a stream or not, and the list names types that there are.
#[test]
fn what_begins_a_stream_stands_first() {
    let types = [ClientEvent::TYPES, UserEvent::TYPES, SessionEvent::TYPES, GrantEvent::TYPES, SigningKeyEvent::TYPES];
    let types = types.concat();
    assert!(BEGINNINGS.iter().all(|name| types.contains(name)));
    assert!(types.iter().all(|name| Event::may_stand_at(name, 1)));
    assert!(!Event::may_stand_at("session.started", 2) && Event::may_stand_at("session.ended", 2));
}

struct RenameWhenToAt;

impl EventUpcaster for RenameWhenToAt {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == "client.disabled" && event_version == "0.9"
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        event.payload = json!({"disabled": {"at": event.payload["disabled"]["when"]}});
        event.event_version = EVENT_VERSION.to_owned();
        event
    }
}

#[test]
fn an_old_version_is_brought_to_the_current_one() {
    let upcasters: Vec<Box<dyn EventUpcaster>> = vec![Box::new(RenameWhenToAt)];
    let event = Event::decode_old("client", "client.disabled", "0.9", r#"{"disabled":{"when":7}}"#, &upcasters);
    assert_eq!(event, Ok(ClientEvent::Disabled { by: None, at: crate::Timestamp(7) }.into()));
    let untouched = Event::decode_old("client", "client.disabled", "0.8", r#"{"disabled":{"when":7}}"#, &upcasters);
    assert!(matches!(untouched, Err(DecodeError::UnknownType(_))));
}

proptest! {
    #[test]
    fn any_row_is_read_or_refused_without_a_panic(
        aggregate in "client|user|session|grant|signing_key|.{0,8}",
        index in 0usize..32,
        payload in ".{0,200}",
    ) {
        let types = [ClientEvent::TYPES, UserEvent::TYPES, SessionEvent::TYPES, GrantEvent::TYPES].concat();
        let _ = Event::decode(&aggregate, types[index % types.len()], EVENT_VERSION, &payload);
    }
}
