//! Why a grant refuses.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("the grant exists already")]
    AlreadyExists,
    #[error("there is no such grant")]
    NotFound,
    #[error("the grant belongs to another client")]
    WrongClient,
    #[error("the grant was revoked")]
    Revoked,
    #[error("the grant has reached its end")]
    Expired,
    #[error("the code is not the one that this grant issued")]
    UnknownCode,
    #[error("the code has expired")]
    CodeExpired,
    /// Answer it with `Revoke { reason: CodeReplayed }`: an `Err` leaves no trace.
    #[error("the code was redeemed before")]
    CodeAlreadyRedeemed,
    #[error("redirect_uri differs from the one of the authorization request")]
    RedirectUriMismatch,
    #[error("the code was issued with a code_challenge and there is no code_verifier")]
    VerifierMissing,
    #[error("code_verifier is not 43 to 128 unreserved characters")]
    VerifierMalformed,
    #[error("code_verifier does not fit the code_challenge")]
    VerifierMismatch,
    #[error("there is a code_verifier, but the code was issued without a code_challenge")]
    VerifierUnexpected,
    #[error("the refresh token is not one of this grant")]
    UnknownRefreshToken,
    /// Answer it with `Revoke { reason: RefreshReused }`.
    #[error("the refresh token was used before")]
    RefreshTokenReused,
    /// The answer of the last rotation may be given once more; the family stays as it is.
    #[error("the refresh token was replaced a moment ago")]
    RefreshRepeatedWithinGrace,
    #[error("the refresh token was rotated too often")]
    TooManyRotations,
    /// Answer it with `Revoke { reason: RefreshWithdrawn }`.
    #[error("the client may not refresh this any more")]
    RefreshWithdrawn,
    #[error("the scope is wider than what was granted")]
    ScopeExceeded,
    #[error("of the scope nothing is left that the client may have")]
    ScopeWithdrawn,
    #[error("the access token is not one of this grant")]
    UnknownAccessToken,
}
