//! The rules of a user, as given / when / then.

use cqrs_es::test::TestFramework;

use super::*;
use crate::Timestamp;

const AT: Timestamp = Timestamp(1_000_000);

fn given(events: Vec<UserEvent>) -> cqrs_es::test::AggregateTestExecutor<User> {
    TestFramework::with(()).given(events)
}

fn registered() -> Vec<UserEvent> {
    vec![UserEvent::Registered { at: AT }]
}

#[test]
fn a_user_registers_once() {
    given(registered()).when(UserCommand::Register { at: AT }).then_expect_error(UserError::AlreadyExists);
}

#[test]
fn what_holds_already_leaves_no_event() {
    given(registered()).when(UserCommand::Enable { at: AT }).then_expect_events(vec![]);
    given(registered()).when(UserCommand::ChangeProfile { fields: vec![], at: AT }).then_expect_events(vec![]);
    let disabled = [registered(), vec![UserEvent::Disabled { at: AT }]].concat();
    given(disabled.clone()).when(UserCommand::Disable { at: AT }).then_expect_events(vec![]);
    given(disabled).when(UserCommand::Enable { at: AT }).then_expect_events(vec![UserEvent::Enabled { at: AT }]);
}

#[test]
fn an_erased_user_stays_erased() {
    let erased = [registered(), vec![UserEvent::Erased { at: AT }]].concat();
    given(erased.clone()).when(UserCommand::Erase { at: AT }).then_expect_events(vec![]);
    for command in [
        UserCommand::Enable { at: AT },
        UserCommand::Disable { at: AT },
        UserCommand::ChangeCredential { at: AT },
        UserCommand::ChangeProfile { fields: vec!["email".to_owned()], at: AT },
    ] {
        given(erased.clone()).when(command).then_expect_error(UserError::Erased);
    }
    given(erased).when(UserCommand::Register { at: AT }).then_expect_error(UserError::AlreadyExists);
}

#[test]
fn nothing_can_be_asked_of_a_user_who_is_not_there() {
    for command in
        [UserCommand::Disable { at: AT }, UserCommand::ChangeCredential { at: AT }, UserCommand::Erase { at: AT }]
    {
        TestFramework::<User>::with(()).given_no_previous_events().when(command).then_expect_error(UserError::NotFound);
    }
}
