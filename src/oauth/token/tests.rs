use super::*;

#[test]
fn every_refusal_of_a_grant_has_its_error() {
    for refusal in [
        GrantError::NotFound,
        GrantError::WrongClient,
        GrantError::Revoked,
        GrantError::Expired,
        GrantError::UnknownCode,
        GrantError::CodeExpired,
        GrantError::CodeAlreadyRedeemed,
        GrantError::RedirectUriMismatch,
        GrantError::VerifierMissing,
        GrantError::VerifierMalformed,
        GrantError::VerifierMismatch,
        GrantError::VerifierUnexpected,
        GrantError::UnknownRefreshToken,
        GrantError::RefreshTokenReused,
        GrantError::RefreshRepeatedWithinGrace,
        GrantError::TooManyRotations,
    ] {
        assert_eq!(refused(refusal).code(), ErrorCode::InvalidGrant, "{refusal:?}");
    }
    assert_eq!(refused(GrantError::ScopeExceeded).code(), ErrorCode::InvalidScope);
}

#[test]
fn whose_code_it_is_makes_no_difference_to_a_stranger() {
    let unknown = refused(GrantError::UnknownCode);
    for refusal in [GrantError::WrongClient, GrantError::NotFound, GrantError::Revoked] {
        assert_eq!(refused(refusal), unknown, "{refusal:?}");
    }
}

#[test]
fn a_resource_is_not_ignored() {
    let parameters = crate::http::form::Parameters::parse(b"resource=https%3A%2F%2Fapi.example", 10);
    let parameters = parameters.expect("parameters");
    assert_eq!(check_resource(&parameters).map_err(|error| error.code()), Err(ErrorCode::InvalidTarget));
}

#[test]
fn an_answer_without_scope_or_refresh_token_does_not_name_them() {
    let tokens = TokenResponse {
        access_token: Secret::new("gla_x".to_owned()),
        expires_in: 60,
        refresh_token: None,
        scope: Scope::default(),
        id_token: None,
    };
    let response = tokens.into_response();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()[http::header::CONTENT_TYPE], "application/json");
}
