//! The rules of a session, as given / when / then.

use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;

const AT: Timestamp = Timestamp(1_000_000);
const END: Timestamp = AT.plus_seconds(3600);

fn cookie(byte: u8) -> SecretHash {
    SecretHash { pepper: 1, digest: [byte; 32] }
}

fn user(byte: u8) -> UserId {
    UserId(Uuid::from_bytes([byte; 16]))
}

fn given(events: Vec<SessionEvent>) -> cqrs_es::test::AggregateTestExecutor<Session> {
    TestFramework::with(()).given(events)
}

fn started() -> Vec<SessionEvent> {
    vec![SessionEvent::Started {
        user_id: user(1),
        cookie: cookie(1),
        amr: vec!["pwd".to_owned()],
        expires_at: END,
        at: AT,
    }]
}

fn reauthenticate(user_byte: u8, at: Timestamp) -> SessionCommand {
    let (user_id, expires_at) = (user(user_byte), at.plus_seconds(3600));
    SessionCommand::Reauthenticate { user_id, cookie: cookie(2), amr: vec!["pwd".to_owned()], expires_at, at }
}

fn reauthenticated(expires_at: Option<Timestamp>, at: Timestamp) -> SessionEvent {
    SessionEvent::Reauthenticated { cookie: cookie(2), amr: vec!["pwd".to_owned()], expires_at, at }
}

#[test]
fn reauthentication_changes_the_cookie() {
    given(started()).when(reauthenticate(1, AT)).then_expect_events(vec![reauthenticated(None, AT)]);
}

#[test]
fn reauthentication_makes_it_longer_but_not_for_ever() {
    let later = AT.plus_seconds(1800);
    let longer = reauthenticated(Some(later.plus_seconds(3600)), later);
    given(started()).when(reauthenticate(1, later)).then_expect_events(vec![longer]);
    let last = AT.plus_seconds(LIFETIME_SECONDS_MAX);
    let near = last.plus_seconds(-1);
    let old = [started(), vec![reauthenticated(Some(last), AT)]].concat();
    given(old).when(reauthenticate(1, near)).then_expect_events(vec![reauthenticated(None, near)]);
    let nearly = [started(), vec![reauthenticated(Some(near), AT)]].concat();
    let at = near.plus_seconds(-1);
    given(nearly).when(reauthenticate(1, at)).then_expect_events(vec![reauthenticated(Some(last), at)]);
}

#[test]
fn another_user_cannot_take_over_a_session() {
    given(started()).when(reauthenticate(2, AT)).then_expect_error(SessionError::WrongUser);
}

#[test]
fn an_expired_session_does_not_come_back() {
    given(started()).when(reauthenticate(1, END)).then_expect_error(SessionError::Expired);
}

#[test]
fn a_session_ends_once_and_stays_ended() {
    let end = SessionCommand::End { reason: EndReason::SignedOut, at: AT };
    let ended = SessionEvent::Ended { reason: EndReason::SignedOut, at: AT };
    given(started()).when(end.clone()).then_expect_events(vec![ended.clone()]);
    let after = [started(), vec![ended]].concat();
    given(after.clone()).when(end).then_expect_events(vec![]);
    given(after.clone()).when(reauthenticate(1, AT)).then_expect_error(SessionError::Ended);
    given(after)
        .when(SessionCommand::Start { user_id: user(1), cookie: cookie(1), amr: vec![], expires_at: END, at: AT })
        .then_expect_error(SessionError::AlreadyExists);
}

#[test]
fn a_session_that_is_not_there_cannot_end() {
    TestFramework::<Session>::with(())
        .given_no_previous_events()
        .when(SessionCommand::End { reason: EndReason::SignedOut, at: AT })
        .then_expect_error(SessionError::NotFound);
}
