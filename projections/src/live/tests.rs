use std::sync::Arc;

use grantlog_domain::client::{Author, ClientEvent, ClientMetadata};
use grantlog_domain::grant::{
    ACCESS_TOKENS_MAX, Authentication, ConsentDigest, GrantEvent, GrantOpened, Refreshed, RequestedClaims,
    RevocationReason,
};
use grantlog_domain::user::UserEvent;
use grantlog_domain::{ClientId, Event, GrantId, Recorded, Scope, Timestamp, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Consented, ENDED_KEPT_SECONDS, Live};
use crate::testing::{Dice, NOW, hash, metadata, opened, recorded, scenario, token};

const CLIENT: ClientId = ClientId(Uuid::from_u128(1));
const USER: UserId = UserId(Uuid::from_u128(2));
const GRANT: GrantId = GrantId(Uuid::from_u128(3));

fn live(events: &[Recorded]) -> Live {
    let live = Live::new();
    events.iter().for_each(|event| live.apply(event));
    live
}

fn registered() -> Vec<Recorded> {
    let client = ClientEvent::Registered {
        metadata: metadata("app"),
        secret: Some(hash(9)),
        owner: None,
        registration_access_token: None,
        by: None,
        at: NOW,
    };
    vec![recorded(CLIENT, 1, client), recorded(USER, 1, UserEvent::Registered { at: NOW })]
}

/// A client, a user, and a grant whose token is `token(5)`.
fn one_token() -> Vec<Recorded> {
    let mut events = registered();
    events.push(recorded(GRANT, 1, GrantEvent::Opened(opened(CLIENT, Some(USER), 5))));
    events
}

/// Whether `USER` has allowed that client what `token(5)` has, and these claims, whatever they saw.
fn has_consented(live: &Live, client: ClientId, claims: &[&str]) -> bool {
    live.has_consented(USER, &Consented { client, shown: None, scope: &token(5).scope, claims }, NOW)
}

fn is_active(live: &Live, number: u64) -> bool {
    live.introspect(GRANT, &hash(number), NOW).is_some()
}

#[test]
fn a_token_is_active_until_it_expires() {
    let live = live(&one_token());
    let found = live.introspect(GRANT, &hash(5), NOW).unwrap();
    assert_eq!((found.client_id, found.user_id, found.issued_at), (CLIENT, Some(USER), NOW));
    assert_eq!(found.scope.text, token(5).scope.to_string());
    assert!(live.introspect(GRANT, &hash(5), token(5).expires_at).is_none());
    assert!(!is_active(&live, 6), "another secret with the same grant");
    assert!(live.introspect(GrantId(Uuid::from_u128(4)), &hash(5), NOW).is_none(), "another grant");
}

#[test]
fn whoever_is_disabled_has_no_active_tokens() {
    for end in [
        recorded(CLIENT, 2, ClientEvent::Disabled { by: None, at: NOW }),
        recorded(CLIENT, 2, ClientEvent::Deleted { by: None, at: NOW }),
        recorded(USER, 2, UserEvent::Disabled { at: NOW }),
        recorded(USER, 2, UserEvent::Erased { at: NOW }),
        recorded(GRANT, 2, GrantEvent::Revoked { reason: RevocationReason::Admin, at: NOW }),
        recorded(GRANT, 2, GrantEvent::AccessTokenRevoked { token: hash(5), at: NOW }),
    ] {
        let mut events = one_token();
        events.push(end.clone());
        assert!(!is_active(&live(&events), 5), "{end:?}");
        events.reverse();
        assert!(!is_active(&live(&events), 5), "the end first: {end:?}");
    }
}

#[test]
fn a_token_has_no_more_than_its_client_may_have_now() {
    let wide = Scope::parse("admin email profile").unwrap();
    let with = |text: &str| ClientMetadata { scope: Scope::parse(text).unwrap(), ..metadata("app") };
    let mut events = registered();
    let mut granted = opened(CLIENT, Some(USER), 5);
    (granted.scope, granted.access_token.scope) = (wide.clone(), wide);
    events.push(recorded(GRANT, 1, GrantEvent::Opened(granted)));
    let changed = |sequence, text: &str| {
        let event = ClientEvent::Updated { metadata: with(text), vouched: false, by: None, at: NOW };
        recorded(CLIENT, sequence, event)
    };
    let left =
        |events: &[Recorded]| live(events).introspect(GRANT, &hash(5), NOW).map(|token| token.scope.text.clone());
    assert_eq!(left(&events).as_deref(), Some("admin email profile"));
    for (text, expected) in [
        ("admin email profile write", Some("admin email profile")),
        ("email", Some("email")),
        ("write", None),
        ("", None),
    ] {
        events.push(changed(2, text));
        assert_eq!(left(&events).as_deref(), expected, "{text}");
        events.reverse();
        assert_eq!(left(&events).as_deref(), expected, "the other way round: {text}");
        events.reverse();
        events.pop();
    }
    // Given back, it is there again for as long as the token lives.
    events.push(changed(2, "email"));
    events.push(changed(3, "admin email"));
    assert_eq!(left(&events).as_deref(), Some("admin email"));
}

#[test]
fn a_change_of_the_profile_is_noticed_and_changes_nothing_else() {
    let live = live(&registered());
    let (before, state) = (live.profile_version(USER), live.user(USER));
    live.apply(&recorded(USER, 2, UserEvent::ProfileChanged { fields: vec!["name".into()], at: NOW }));
    assert_ne!(live.profile_version(USER), before);
    assert_eq!(live.user(USER), state);
}

#[test]
fn what_is_unknown_or_quarantined_is_not_active() {
    assert!(!is_active(&live(&one_token()[1..]), 5), "no such client");
    assert!(!is_active(&live(&one_token()[2..]), 5), "neither client nor user");
    for (kind, id) in [("grant", GRANT.to_string()), ("client", CLIENT.to_string()), ("user", USER.to_string())] {
        let live = live(&one_token());
        live.quarantine(kind, &id);
        assert!(!is_active(&live, 5), "{kind}");
    }
}

#[test]
fn a_repeated_event_does_not_bring_back_what_ended() {
    let mut events = one_token();
    events.push(recorded(GRANT, 2, GrantEvent::Revoked { reason: RevocationReason::User, at: NOW }));
    let live = live(&events);
    sweep_all(&live, NOW);
    events[..3].iter().for_each(|event| live.apply(event));
    assert!(!is_active(&live, 5));
}

fn sweep_all(live: &Live, now: Timestamp) {
    (0..super::SHARDS).for_each(|_| live.sweep(now));
}

#[test]
fn the_oldest_tokens_of_a_grant_leave_first() {
    let mut events = one_token();
    for number in 0..ACCESS_TOKENS_MAX as u64 {
        let (access_token, refresh_token) = (token(100 + number), hash(900));
        let refreshed = Refreshed { access_token, refresh_token, replay_salt: None, at: NOW };
        events.push(recorded(GRANT, number as i64 + 2, GrantEvent::Refreshed(refreshed)));
    }
    let in_order = live(&events);
    assert!(!is_active(&in_order, 5));
    assert!(is_active(&in_order, 100));
    events.reverse();
    assert_eq!(live(&events).describe(NOW), in_order.describe(NOW));
}

#[test]
fn expired_tokens_leave_by_themselves() {
    let live = live(&one_token());
    assert_eq!(live.tokens(), 1);
    sweep_all(&live, NOW);
    assert_eq!(live.tokens(), 1);
    sweep_all(&live, token(5).expires_at);
    assert_eq!(live.tokens(), 0);
    // The grant itself can still be refreshed; it leaves when it has expired.
    assert!(has_consented(&live, CLIENT, &[]));
    sweep_all(&live, NOW.plus_seconds(7200));
    assert!(live.0.users.consents(USER, 9).is_empty());
    sweep_all(&live, NOW.plus_seconds(7200));
    assert_eq!(live.0.scopes.len(), 0);
}

#[test]
fn consent_holds_while_its_grant_stands() {
    let mut events = one_token();
    assert!(has_consented(&live(&events), CLIENT, &[]));
    assert!(!has_consented(&live(&events), ClientId(Uuid::from_u128(9)), &[]));
    events.push(recorded(GRANT, 2, GrantEvent::Revoked { reason: RevocationReason::User, at: NOW }));
    assert!(!has_consented(&live(&events), CLIENT, &[]));
}

#[test]
fn consent_counts_for_what_was_seen_only() {
    let seen = |byte| ConsentDigest { version: 1, digest: [byte; 32] };
    let of = |consent| {
        let mut events = registered();
        events.push(recorded(GRANT, 1, GrantEvent::Opened(GrantOpened { consent, ..opened(CLIENT, Some(USER), 5) })));
        live(&events)
    };
    let allows = |live: &Live, shown: Option<ConsentDigest>| {
        let asked = Consented { client: CLIENT, shown: shown.as_ref(), scope: &token(5).scope, claims: &[] };
        live.has_consented(USER, &asked, NOW)
    };
    let live = of(Some(seen(1)));
    assert!(allows(&live, Some(seen(1))) && allows(&live, None));
    assert!(!allows(&live, Some(seen(2))));
    assert!(!allows(&live, Some(ConsentDigest { version: 2, ..seen(1) })));
    // A grant of a log that did not keep it.
    assert!(!allows(&of(None), Some(seen(1))) && allows(&of(None), None));
}

#[test]
fn claims_that_were_named_are_allowed_by_name() {
    let claims = RequestedClaims { userinfo: vec!["email".to_owned()], id_token: vec!["name".to_owned()] };
    let authentication = Some(Authentication { auth_time: NOW, amr: Vec::new(), nonce: None, claims });
    let opened = GrantOpened { authentication, ..opened(CLIENT, Some(USER), 5) };
    let mut events = registered();
    events.push(recorded(GRANT, 1, GrantEvent::Opened(opened)));
    let allows = |claims: &[&str]| has_consented(&live(&events), CLIENT, claims);
    assert!(allows(&[]) && allows(&["email"]) && allows(&["name", "email"]));
    assert!(!allows(&["phone_number"]) && !allows(&["email", "phone_number"]));
    let held = live(&events).introspect(GRANT, &hash(5), NOW).and_then(|token| token.claims);
    assert_eq!(held.map(|claims| claims.userinfo.clone()), Some(vec!["email".to_owned()]));
}

#[test]
fn a_token_takes_no_more_than_its_share_of_memory() {
    // Map entry at the lowest load after growing, and the boxed entry with the allocator's own share.
    let (in_map, boxed) = super::grants::entry_bytes();
    assert!((in_map + 1) * 16 / 7 + boxed + 16 <= 250, "{in_map} {boxed}");
}

#[test]
fn introspection_shares_what_it_answers() {
    let live = live(&one_token());
    let (a, b) = (live.introspect(GRANT, &hash(5), NOW).unwrap(), live.introspect(GRANT, &hash(5), NOW).unwrap());
    assert!(Arc::ptr_eq(&a.scope, &b.scope));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_order_and_any_repetition_gives_the_same_models(seed in 1_u64.., grants in 0_u64..12) {
        let mut events = scenario(seed, grants);
        let expected = live(&events).describe(NOW);
        let mut dice = Dice(seed | 1);
        let repeated: Vec<Recorded> = events.iter().filter(|_| dice.below(3) == 0).cloned().collect();
        events.extend(repeated);
        dice.shuffle(&mut events);
        prop_assert_eq!(live(&events).describe(NOW), expected);
    }

    #[test]
    fn sweeping_in_between_changes_nothing_that_stands(seed in 1_u64.., grants in 0_u64..12) {
        let events = scenario(seed, grants);
        let expected = live(&events).describe(NOW);
        let swept = Live::new();
        for event in &events {
            swept.apply(event);
            sweep_all(&swept, NOW);
        }
        prop_assert_eq!(swept.describe(NOW), expected);
    }
}

#[test]
fn a_deleted_client_leaves_memory_and_does_not_come_back() {
    let by = Some(Author::Anonymous);
    let own = |event: ClientEvent| match event {
        ClientEvent::Registered { metadata, secret, at, .. } => {
            ClientEvent::Registered { metadata, secret, owner: None, registration_access_token: Some(hash(8)), by, at }
        }
        other => other,
    };
    let Event::Client(event) = registered().remove(0).event else { panic!("a client") };
    let made = recorded(CLIENT, 1, own(event));
    let deleted = recorded(CLIENT, 3, ClientEvent::Deleted { by, at: NOW });
    let renamed = ClientEvent::Updated { metadata: metadata("other"), vouched: false, by, at: NOW };
    let live = live(std::slice::from_ref(&made));
    assert_eq!((live.registered_themselves(), live.client(CLIENT).is_some()), (1, true));
    live.apply(&deleted);
    // What comes late, or again.
    for late in [&made, &recorded(CLIENT, 2, renamed)] {
        live.apply(late);
        assert_eq!((live.registered_themselves(), live.client(CLIENT)), (0, None));
    }
    sweep_all(&live, NOW.plus_seconds(ENDED_KEPT_SECONDS));
    assert_eq!(live.0.clients.held(), 1);
    sweep_all(&live, NOW.plus_seconds(ENDED_KEPT_SECONDS + 1));
    assert_eq!(live.0.clients.held(), 0);
}

#[test]
fn a_client_stops_with_the_user_who_owns_it() {
    const OWNER: UserId = UserId(Uuid::from_u128(77));
    let Event::Client(ClientEvent::Registered { metadata, secret, at, .. }) = registered().remove(0).event else {
        panic!("a client")
    };
    let (owner, registration_access_token, by) = (Some(OWNER), None, Some(Author::User));
    let made = ClientEvent::Registered { metadata, secret, owner, registration_access_token, by, at };
    let mut events = one_token();
    events[0] = recorded(CLIENT, 1, made);
    let user = |sequence, event| recorded(OWNER, sequence, event);
    let stands = |events: &[Recorded]| {
        let live = live(events);
        let enabled = live.client(CLIENT).is_some_and(|client| client.is_enabled());
        assert_eq!(enabled, is_active(&live, 5));
        enabled
    };
    assert!(!stands(&events), "nobody knows the owner yet");
    for (event, expected) in [
        (UserEvent::Registered { at: NOW }, true),
        (UserEvent::Disabled { at: NOW }, false),
        (UserEvent::Enabled { at: NOW }, true),
        (UserEvent::Erased { at: NOW }, false),
    ] {
        let sequence = i64::try_from(events.len()).unwrap();
        events.push(user(sequence, event));
        assert_eq!(stands(&events), expected);
        let backwards: Vec<_> = events.iter().rev().cloned().collect();
        assert_eq!(stands(&backwards), expected, "the other way round");
    }
}
