//! The rules of a signing key, as given / when / then.

use cqrs_es::test::TestFramework;
use serde_json::{Map, Value, json};

use super::*;

const AT: Timestamp = Timestamp(1_000_000);

fn jwk(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn create(value: &Value) -> SigningKeyCommand {
    SigningKeyCommand::Create { alg: Algorithm::ES256, public_jwk: jwk(value), at: AT }
}

fn created() -> Vec<SigningKeyEvent> {
    vec![SigningKeyEvent::Created { alg: Algorithm::ES256, public_jwk: jwk(&json!({"kty": "EC"})), at: AT }]
}

fn given(events: Vec<SigningKeyEvent>) -> cqrs_es::test::AggregateTestExecutor<SigningKey> {
    TestFramework::with(()).given(events)
}

#[test]
fn a_private_jwk_never_enters_the_log() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        TestFramework::<SigningKey>::with(())
            .given_no_previous_events()
            .when(create(&json!({"kty": "EC", member: "x"})))
            .then_expect_error(SigningKeyError::PrivateJwk);
    }
}

#[test]
fn a_key_moves_forward_only() {
    let after = |events: Vec<SigningKeyEvent>| given([created(), events].concat());
    after(vec![])
        .when(SigningKeyCommand::Activate { at: AT })
        .then_expect_events(vec![SigningKeyEvent::Activated { at: AT }]);
    after(vec![SigningKeyEvent::Retired { at: AT }])
        .when(SigningKeyCommand::Activate { at: AT })
        .then_expect_error(SigningKeyError::Retired);
    for command in [SigningKeyCommand::Activate { at: AT }, SigningKeyCommand::Retire { at: AT }] {
        after(vec![SigningKeyEvent::Revoked { at: AT }]).when(command).then_expect_error(SigningKeyError::Revoked);
    }
    after(vec![SigningKeyEvent::Revoked { at: AT }])
        .when(SigningKeyCommand::Revoke { at: AT })
        .then_expect_events(vec![]);
}

#[test]
fn a_key_is_made_once() {
    given(created()).when(create(&json!({"kty": "EC"}))).then_expect_error(SigningKeyError::AlreadyExists);
}
