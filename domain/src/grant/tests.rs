//! The rules of a grant, as given / when / then.

use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;
use crate::client::GrantType;
use crate::{CodeChallenge, Presented, Verifier};

const NOW: Timestamp = Timestamp(1_000_000);
const CODE_END: Timestamp = NOW.plus_seconds(60);
const GRANT_END: Timestamp = NOW.plus_seconds(86_400);

fn hash(byte: u8) -> SecretHash {
    SecretHash { pepper: 1, digest: [byte; 32] }
}

fn client(byte: u8) -> ClientId {
    ClientId(Uuid::from_bytes([byte; 16]))
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

const CODE: u8 = 1;
const ACCESS: u8 = 2;
const REFRESH: u8 = 3;

fn given(events: Vec<GrantEvent>) -> cqrs_es::test::AggregateTestExecutor<Grant> {
    TestFramework::with(()).given(events)
}

fn code_issued() -> CodeIssued {
    CodeIssued {
        client_id: client(1),
        user_id: UserId(Uuid::nil()),
        session_id: SessionId(Uuid::nil()),
        scope: scope("email profile"),
        redirect_uri: "https://app.example/cb".to_owned(),
        redirect_uri_in_request: true,
        code: hash(CODE),
        code_challenge: Some(CodeChallenge([7; 32])),
        code_expires_at: CODE_END,
        expires_at: GRANT_END,
        at: NOW,
        authentication: None,
        access_token: None,
        consent: None,
    }
}

fn issued() -> Vec<GrantEvent> {
    vec![GrantEvent::CodeIssued(code_issued())]
}

fn redeem() -> RedeemCode {
    RedeemCode {
        client_id: client(1),
        code: hash(CODE).into(),
        redirect_uri: Some("https://app.example/cb".to_owned()),
        verifier: Verifier::Hashed(CodeChallenge([7; 32])),
        allowed: scope("email phone profile"),
        access_token: NewAccessToken { hash: hash(ACCESS), expires_at: NOW.plus_seconds(3600) },
        refresh_token: Some(hash(REFRESH)),
        at: NOW.plus_seconds(10),
    }
}

fn access_token(byte: u8, scope_text: &str, expires_at: Timestamp) -> AccessToken {
    AccessToken { hash: hash(byte), scope: scope(scope_text), expires_at }
}

fn redeemed_event() -> GrantEvent {
    GrantEvent::CodeRedeemed {
        access_token: access_token(ACCESS, "email profile", NOW.plus_seconds(3600)),
        refresh_token: Some(hash(REFRESH)),
        at: NOW.plus_seconds(10),
    }
}

fn redeemed() -> Vec<GrantEvent> {
    vec![GrantEvent::CodeIssued(code_issued()), redeemed_event()]
}

fn refresh(presented: u8) -> Refresh {
    Refresh {
        client_id: client(1),
        presented: hash(presented).into(),
        scope: None,
        allowed: scope("email phone profile"),
        access_token: NewAccessToken { hash: hash(12), expires_at: NOW.plus_seconds(7200) },
        refresh_token: hash(13),
        replay_salt: None,
        grace_seconds: 0,
        at: NOW.plus_seconds(100),
    }
}

fn refreshed_event(replay_salt: Option<&str>) -> GrantEvent {
    GrantEvent::Refreshed(Refreshed {
        access_token: access_token(12, "email profile", NOW.plus_seconds(7200)),
        refresh_token: hash(13),
        replay_salt: replay_salt.map(str::to_owned),
        at: NOW.plus_seconds(100),
    })
}

fn refreshed(replay_salt: Option<&str>) -> Vec<GrantEvent> {
    [redeemed(), vec![refreshed_event(replay_salt)]].concat()
}

fn revoked() -> Vec<GrantEvent> {
    let revoked = GrantEvent::Revoked { reason: RevocationReason::User, at: NOW.plus_seconds(20) };
    [redeemed(), vec![revoked]].concat()
}

// Codes: RFC 6749 4.1, RFC 7636.

#[test]
fn a_code_is_redeemed_once_with_all_that_belongs_to_it() {
    given(issued()).when(GrantCommand::RedeemCode(redeem())).then_expect_events(vec![redeemed_event()]);
}

#[test]
fn a_code_redeemed_twice_is_refused() {
    given(redeemed()).when(GrantCommand::RedeemCode(redeem())).then_expect_error(GrantError::CodeAlreadyRedeemed);
}

#[test]
fn another_client_cannot_redeem_a_code() {
    let stolen = RedeemCode { client_id: client(2), ..redeem() };
    given(issued()).when(GrantCommand::RedeemCode(stolen)).then_expect_error(GrantError::WrongClient);
}

#[test]
fn another_client_that_replays_a_code_learns_nothing_and_ends_nothing() {
    let stolen = RedeemCode { client_id: client(2), ..redeem() };
    given(redeemed()).when(GrantCommand::RedeemCode(stolen)).then_expect_error(GrantError::WrongClient);
}

#[test]
fn a_code_with_another_secret_is_refused() {
    let guessed = RedeemCode { code: hash(99).into(), ..redeem() };
    given(issued()).when(GrantCommand::RedeemCode(guessed.clone())).then_expect_error(GrantError::UnknownCode);
    given(redeemed()).when(GrantCommand::RedeemCode(guessed)).then_expect_error(GrantError::UnknownCode);
}

#[test]
fn a_code_is_refused_from_its_last_second_on() {
    let late = |at| GrantCommand::RedeemCode(RedeemCode { at, ..redeem() });
    given(issued()).when(late(CODE_END)).then_expect_error(GrantError::CodeExpired);
    assert!(given(issued()).when(late(CODE_END.plus_seconds(-1))).inspect_result().is_ok());
}

#[test]
fn the_code_of_a_revoked_grant_is_refused() {
    let revoked = GrantEvent::Revoked { reason: RevocationReason::Admin, at: NOW };
    given([issued(), vec![revoked]].concat())
        .when(GrantCommand::RedeemCode(redeem()))
        .then_expect_error(GrantError::Revoked);
}

#[test]
fn redirect_uri_must_be_repeated_exactly() {
    for uri in [None, Some("https://app.example/cb/"), Some("https://evil.example/cb"), Some("")] {
        let command = RedeemCode { redirect_uri: uri.map(str::to_owned), ..redeem() };
        given(issued()).when(GrantCommand::RedeemCode(command)).then_expect_error(GrantError::RedirectUriMismatch);
    }
}

#[test]
fn redirect_uri_may_be_absent_only_when_the_authorization_request_had_none() {
    let code = CodeIssued { redirect_uri_in_request: false, ..code_issued() };
    let redeem_with = |uri: Option<&str>| {
        let command = RedeemCode { redirect_uri: uri.map(str::to_owned), ..redeem() };
        given(vec![GrantEvent::CodeIssued(code.clone())]).when(GrantCommand::RedeemCode(command)).inspect_result()
    };
    assert!(redeem_with(None).is_ok());
    assert!(redeem_with(Some("https://app.example/cb")).is_ok());
    assert_eq!(redeem_with(Some("https://evil.example/cb")), Err(GrantError::RedirectUriMismatch));
}

#[test]
fn a_challenge_is_never_ignored() {
    let with = |verifier| GrantCommand::RedeemCode(RedeemCode { verifier, ..redeem() });
    given(issued()).when(with(Verifier::Absent)).then_expect_error(GrantError::VerifierMissing);
    given(issued()).when(with(Verifier::Malformed)).then_expect_error(GrantError::VerifierMalformed);
    let other = Verifier::Hashed(CodeChallenge([8; 32]));
    given(issued()).when(with(other)).then_expect_error(GrantError::VerifierMismatch);
}

#[test]
fn a_second_use_is_a_replay_whatever_else_is_wrong_with_it() {
    for verifier in [Verifier::Absent, Verifier::Malformed, Verifier::Hashed(CodeChallenge([8; 32]))] {
        let replay = RedeemCode { verifier, redirect_uri: Some("https://evil.example/cb".to_owned()), ..redeem() };
        given(redeemed()).when(GrantCommand::RedeemCode(replay)).then_expect_error(GrantError::CodeAlreadyRedeemed);
    }
}

#[test]
fn a_verifier_without_a_challenge_is_refused() {
    let code = CodeIssued { code_challenge: None, ..code_issued() };
    given(vec![GrantEvent::CodeIssued(code)])
        .when(GrantCommand::RedeemCode(redeem()))
        .then_expect_error(GrantError::VerifierUnexpected);
}

#[test]
fn no_token_outlives_its_grant() {
    let access_token = NewAccessToken { hash: hash(ACCESS), expires_at: GRANT_END.plus_seconds(1) };
    let events = given(issued())
        .when(GrantCommand::RedeemCode(RedeemCode { access_token, ..redeem() }))
        .inspect_result()
        .unwrap();
    assert!(
        matches!(&events[..], [GrantEvent::CodeRedeemed { access_token, .. }] if access_token.expires_at == GRANT_END)
    );
}

#[test]
fn a_grant_is_made_once() {
    let command = GrantCommand::IssueCode(IssueCode {
        client_id: client(1),
        user_id: UserId(Uuid::nil()),
        session_id: SessionId(Uuid::nil()),
        scope: scope("profile"),
        redirect_uri: "https://app.example/cb".to_owned(),
        redirect_uri_in_request: true,
        code: hash(CODE),
        code_challenge: None,
        code_expires_at: CODE_END,
        expires_at: GRANT_END,
        at: NOW,
        authentication: None,
        access_token: None,
        consent: Some(ConsentDigest { version: 1, digest: [7; 32] }),
    });
    let made = TestFramework::<Grant>::with(()).given_no_previous_events().when(command.clone()).inspect_result();
    // With what the user was shown.
    let made = made.unwrap();
    assert!(matches!(&made[..], [GrantEvent::CodeIssued(issued)] if issued.consent.is_some()));
    given(revoked()).when(command).then_expect_error(GrantError::AlreadyExists);
}

// Refresh: RFC 6749 6, RFC 9700 4.14.2.

#[test]
fn a_refresh_token_is_rotated() {
    given(redeemed()).when(GrantCommand::Refresh(refresh(REFRESH))).then_expect_events(vec![refreshed_event(None)]);
}

#[test]
fn a_replaced_refresh_token_is_recognised_as_reuse() {
    given(refreshed(None))
        .when(GrantCommand::Refresh(refresh(REFRESH)))
        .then_expect_error(GrantError::RefreshTokenReused);
}

#[test]
fn a_refresh_token_that_never_was_is_no_reuse() {
    given(refreshed(None)).when(GrantCommand::Refresh(refresh(77))).then_expect_error(GrantError::UnknownRefreshToken);
}

#[test]
fn another_client_cannot_refresh_nor_end_the_family() {
    for presented in [REFRESH, 13] {
        let stolen = Refresh { client_id: client(2), ..refresh(presented) };
        given(refreshed(None)).when(GrantCommand::Refresh(stolen)).then_expect_error(GrantError::WrongClient);
    }
}

#[test]
fn within_the_grace_the_last_answer_may_be_repeated() {
    let again = |seconds: i64| Refresh { grace_seconds: 10, at: NOW.plus_seconds(100 + seconds), ..refresh(REFRESH) };
    let when = |seconds: i64| given(refreshed(Some("salt"))).when(GrantCommand::Refresh(again(seconds)));
    when(9).then_expect_error(GrantError::RefreshRepeatedWithinGrace);
    when(10).then_expect_error(GrantError::RefreshTokenReused);
}

#[test]
fn the_grace_is_off_by_default() {
    given(refreshed(Some("salt")))
        .when(GrantCommand::Refresh(refresh(REFRESH)))
        .then_expect_error(GrantError::RefreshTokenReused);
}

#[test]
fn the_grace_ends_when_the_new_token_was_used() {
    let second = GrantEvent::Refreshed(Refreshed {
        access_token: access_token(22, "profile", NOW.plus_seconds(7200)),
        refresh_token: hash(23),
        replay_salt: Some("salt".to_owned()),
        at: NOW.plus_seconds(101),
    });
    let again = Refresh { grace_seconds: 60, at: NOW.plus_seconds(102), ..refresh(REFRESH) };
    given([refreshed(Some("salt")), vec![second]].concat())
        .when(GrantCommand::Refresh(again))
        .then_expect_error(GrantError::RefreshTokenReused);
}

#[test]
fn scope_may_become_narrower_but_never_wider() {
    let with = |text: &str| GrantCommand::Refresh(Refresh { scope: Some(scope(text)), ..refresh(REFRESH) });
    let events = given(redeemed()).when(with("profile")).inspect_result().unwrap();
    assert!(matches!(&events[..], [GrantEvent::Refreshed(event)] if event.access_token.scope == scope("profile")));
    given(redeemed()).when(with("admin profile")).then_expect_error(GrantError::ScopeExceeded);
}

#[test]
fn a_narrowed_access_token_leaves_the_refresh_token_as_wide_as_it_was() {
    let narrow = GrantEvent::Refreshed(Refreshed {
        access_token: access_token(12, "profile", NOW.plus_seconds(7200)),
        refresh_token: hash(13),
        replay_salt: None,
        at: NOW.plus_seconds(100),
    });
    let events =
        given([redeemed(), vec![narrow]].concat()).when(GrantCommand::Refresh(refresh(13))).inspect_result().unwrap();
    assert!(
        matches!(&events[..], [GrantEvent::Refreshed(event)] if event.access_token.scope == scope("email profile"))
    );
}

#[test]
fn what_was_taken_away_from_the_client_does_not_come_back() {
    let with = |allowed: &str, asked: Option<&str>| Refresh {
        allowed: scope(allowed),
        scope: asked.map(scope),
        ..refresh(REFRESH)
    };
    let given_scope = |refresh: Refresh| {
        let events = given(redeemed()).when(GrantCommand::Refresh(refresh)).inspect_result()?;
        match &events[..] {
            [GrantEvent::Refreshed(event)] => Ok(event.access_token.scope.clone()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(given_scope(with("phone profile", None)), Ok(scope("profile")));
    assert_eq!(given_scope(with("profile", Some("email profile"))), Ok(scope("profile")));
    assert_eq!(given_scope(with("profile", Some("email"))), Err(GrantError::ScopeWithdrawn));
    assert_eq!(given_scope(with("phone", None)), Err(GrantError::ScopeWithdrawn));
    // Nor between the code and its tokens.
    let redeemed = |allowed: &str| {
        given(issued()).when(GrantCommand::RedeemCode(RedeemCode { allowed: scope(allowed), ..redeem() }))
    };
    let events = redeemed("email").inspect_result().unwrap();
    assert!(
        matches!(&events[..], [GrantEvent::CodeRedeemed { access_token, .. }] if access_token.scope == scope("email"))
    );
    redeemed("phone").then_expect_error(GrantError::ScopeWithdrawn);
}

#[test]
fn what_was_allowed_for_the_absence_of_the_user_ends_where_that_is_taken_away() {
    let code = CodeIssued { scope: scope("offline_access profile"), ..code_issued() };
    let events = vec![GrantEvent::CodeIssued(code), redeemed_event()];
    let with = |allowed: &str, presented| Refresh { allowed: scope(allowed), ..refresh(presented) };
    let refreshed = |refresh| given(events.clone()).when(GrantCommand::Refresh(refresh));
    assert!(refreshed(with("offline_access profile", REFRESH)).inspect_result().is_ok());
    refreshed(with("profile", REFRESH)).then_expect_error(GrantError::RefreshWithdrawn);
    // Who does not have the token learns nothing of that, and ends nothing.
    refreshed(with("profile", 99)).then_expect_error(GrantError::UnknownRefreshToken);
    let stranger = Refresh { client_id: client(2), ..with("profile", REFRESH) };
    refreshed(stranger).then_expect_error(GrantError::WrongClient);
}

#[test]
fn nothing_is_refreshed_after_the_absolute_end() {
    let late = Refresh { at: GRANT_END, ..refresh(REFRESH) };
    given(redeemed()).when(GrantCommand::Refresh(late)).then_expect_error(GrantError::Expired);
}

#[test]
fn a_revoked_grant_is_not_refreshed() {
    given(revoked()).when(GrantCommand::Refresh(refresh(REFRESH))).then_expect_error(GrantError::Revoked);
}

#[test]
fn a_code_is_no_refresh_token() {
    given(issued()).when(GrantCommand::Refresh(refresh(CODE))).then_expect_error(GrantError::UnknownRefreshToken);
}

#[test]
fn a_family_does_not_grow_without_end() {
    let rotation = |n: usize| {
        let mut next = hash(0);
        next.digest[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
        GrantEvent::Refreshed(Refreshed {
            access_token: access_token(12, "profile", NOW),
            refresh_token: next,
            replay_salt: None,
            at: NOW,
        })
    };
    let mut events = redeemed();
    events.extend((0..ROTATIONS_MAX).map(rotation));
    let mut newest = hash(0);
    newest.digest[..8].copy_from_slice(&(ROTATIONS_MAX as u64).to_be_bytes());
    given(events)
        .when(GrantCommand::Refresh(Refresh { presented: newest.into(), ..refresh(0) }))
        .then_expect_error(GrantError::TooManyRotations);
}

// Revocation: RFC 7009.

fn revoke_access_token(client_byte: u8, token: u8) -> GrantCommand {
    GrantCommand::RevokeAccessToken { client_id: client(client_byte), token: hash(token).into(), at: NOW }
}

#[test]
fn an_access_token_ends_by_itself() {
    given(redeemed())
        .when(revoke_access_token(1, ACCESS))
        .then_expect_events(vec![GrantEvent::AccessTokenRevoked { token: hash(ACCESS), at: NOW }]);
}

#[test]
fn ending_an_access_token_twice_changes_nothing() {
    let once = GrantEvent::AccessTokenRevoked { token: hash(ACCESS), at: NOW };
    given([redeemed(), vec![once]].concat()).when(revoke_access_token(1, ACCESS)).then_expect_events(vec![]);
    given(revoked()).when(revoke_access_token(1, ACCESS)).then_expect_events(vec![]);
}

#[test]
fn another_client_cannot_end_an_access_token() {
    given(redeemed()).when(revoke_access_token(2, ACCESS)).then_expect_error(GrantError::WrongClient);
    given(redeemed()).when(revoke_access_token(2, 99)).then_expect_error(GrantError::UnknownAccessToken);
}

#[test]
fn an_unknown_access_token_is_said_to_be_unknown() {
    given(redeemed()).when(revoke_access_token(1, 99)).then_expect_error(GrantError::UnknownAccessToken);
    given(issued()).when(revoke_access_token(1, CODE)).then_expect_error(GrantError::UnknownAccessToken);
}

fn revoke_refresh_token(client_byte: u8, token: u8) -> GrantCommand {
    let reason = RevocationReason::Client;
    GrantCommand::RevokeRefreshToken { client_id: client(client_byte), token: hash(token).into(), reason, at: NOW }
}

#[test]
fn a_refresh_token_ends_its_grant() {
    let event = GrantEvent::Revoked { reason: RevocationReason::Client, at: NOW };
    given(redeemed()).when(revoke_refresh_token(1, REFRESH)).then_expect_events(vec![event]);
    given(revoked()).when(revoke_refresh_token(1, REFRESH)).then_expect_events(vec![]);
}

#[test]
fn a_refresh_token_that_was_replaced_ends_its_grant_too() {
    // The client asked to end it while a refresh was on its way: whichever came first, nothing may live on.
    let event = GrantEvent::Revoked { reason: RevocationReason::Client, at: NOW };
    given(refreshed(None)).when(revoke_refresh_token(1, REFRESH)).then_expect_events(vec![event]);
}

#[test]
fn another_client_cannot_end_a_grant_by_its_refresh_token() {
    given(redeemed()).when(revoke_refresh_token(2, REFRESH)).then_expect_error(GrantError::WrongClient);
    given(redeemed()).when(revoke_refresh_token(2, 99)).then_expect_error(GrantError::UnknownRefreshToken);
    given(revoked()).when(revoke_refresh_token(2, REFRESH)).then_expect_events(vec![]);
}

#[test]
fn an_unknown_refresh_token_ends_nothing() {
    given(redeemed()).when(revoke_refresh_token(1, 99)).then_expect_error(GrantError::UnknownRefreshToken);
    given(issued()).when(revoke_refresh_token(1, CODE)).then_expect_error(GrantError::UnknownRefreshToken);
    TestFramework::<Grant>::with(())
        .given_no_previous_events()
        .when(revoke_refresh_token(1, REFRESH))
        .then_expect_error(GrantError::NotFound);
}

#[test]
fn a_grant_ends_once_at_any_stage() {
    let revoke = GrantCommand::Revoke { reason: RevocationReason::Client, at: NOW };
    let event = GrantEvent::Revoked { reason: RevocationReason::Client, at: NOW };
    given(issued()).when(revoke.clone()).then_expect_events(vec![event.clone()]);
    given(refreshed(None)).when(revoke.clone()).then_expect_events(vec![event]);
    given(revoked()).when(revoke.clone()).then_expect_events(vec![]);
    TestFramework::<Grant>::with(()).given_no_previous_events().when(revoke).then_expect_error(GrantError::NotFound);
}

// What a grant remembers.

fn folded(events: Vec<GrantEvent>) -> Grant {
    let mut grant = Grant::default();
    events.into_iter().for_each(|event| grant.remember(event));
    grant
}

#[test]
fn only_living_access_tokens_are_found() {
    let presented = Presented::from(hash(ACCESS));
    assert!(folded(redeemed()).living_access_token(&presented).is_some());
    assert!(folded(issued()).living_access_token(&presented).is_none());
    assert!(folded(revoked()).living_access_token(&presented).is_none());
    let ended = GrantEvent::AccessTokenRevoked { token: hash(ACCESS), at: NOW };
    assert!(folded([redeemed(), vec![ended]].concat()).living_access_token(&presented).is_none());
}

#[test]
fn an_access_token_lives_on_beside_the_one_that_a_refresh_gave() {
    let grant = folded(refreshed(None));
    assert!(grant.living_access_token(&hash(ACCESS).into()).is_some());
    assert!(grant.living_access_token(&hash(12).into()).is_some());
    assert!(grant.is_current_refresh_token(&hash(13).into()));
    assert!(!grant.is_current_refresh_token(&hash(REFRESH).into()));
}

#[test]
fn a_grant_without_a_code_opens_with_its_first_token() {
    let command = GrantCommand::Open(OpenGrant {
        grant_type: GrantType::ClientCredentials,
        client_id: client(1),
        user_id: None,
        session_id: None,
        scope: scope("profile"),
        access_token: NewAccessToken { hash: hash(ACCESS), expires_at: GRANT_END.plus_seconds(9) },
        refresh_token: None,
        expires_at: GRANT_END,
        at: NOW,
        authentication: None,
        consent: None,
    });
    let events = TestFramework::<Grant>::with(()).given_no_previous_events().when(command).inspect_result().unwrap();
    let grant = folded(events);
    assert_eq!(grant.living_access_token(&hash(ACCESS).into()).map(|token| token.expires_at), Some(GRANT_END));
}

/// A code with an access token beside it (OpenID Connect Core 3.3).
fn hybrid() -> GrantEvent {
    let beside = access_token(FRONT, "email profile", NOW.plus_seconds(3600));
    GrantEvent::CodeIssued(CodeIssued { access_token: Some(beside), ..code_issued() })
}

const FRONT: u8 = 9;

#[test]
fn a_token_beside_the_code_lives_before_and_after_the_code_is_redeemed() {
    for events in [vec![hybrid()], vec![hybrid(), redeemed_event()]] {
        let grant = folded(events);
        assert!(grant.living_access_token(&hash(FRONT).into()).is_some());
    }
}

#[test]
fn a_token_beside_the_code_ends_by_itself_and_with_the_grant() {
    let revoke = GrantCommand::RevokeAccessToken { client_id: client(1), token: hash(FRONT).into(), at: NOW };
    let ended = GrantEvent::AccessTokenRevoked { token: hash(FRONT), at: NOW };
    given(vec![hybrid()]).when(revoke.clone()).then_expect_events(vec![ended.clone()]);
    given(vec![hybrid(), redeemed_event()]).when(revoke).then_expect_events(vec![ended.clone()]);
    let ends = [ended, GrantEvent::Revoked { reason: RevocationReason::CodeReplayed, at: NOW }];
    for end in ends {
        assert!(folded(vec![hybrid(), end.clone()]).living_access_token(&hash(FRONT).into()).is_none());
        assert!(folded(vec![hybrid(), end, redeemed_event()]).living_access_token(&hash(FRONT).into()).is_none());
    }
}

#[test]
fn the_sign_in_stays_with_the_grant_when_its_code_is_redeemed() {
    let authentication = Authentication {
        auth_time: NOW,
        amr: vec!["pwd".to_owned()],
        nonce: Some("n".to_owned()),
        claims: RequestedClaims { userinfo: vec!["email".to_owned()], id_token: Vec::new() },
    };
    let code = CodeIssued { authentication: Some(authentication.clone()), ..code_issued() };
    let grant = folded(vec![GrantEvent::CodeIssued(code), redeemed_event()]);
    assert_eq!(grant.authorization().and_then(|allowed| allowed.authentication.as_ref()), Some(&authentication));
}
