//! What can be asked of a grant. Commands carry all they need: identifiers, hashes and the time come from outside.

use super::consent::ConsentDigest;
use super::event::{Authentication, IdTokenIssued, RevocationReason};
use crate::client::GrantType;
use crate::ids::{ClientId, SessionId, UserId};
use crate::{CodeChallenge, Presented, Scope, SecretHash, Timestamp, Verifier};

#[derive(Clone, Debug)]
pub enum GrantCommand {
    IssueCode(IssueCode),
    RedeemCode(RedeemCode),
    Open(OpenGrant),
    /// OpenID Connect Core 3.2, without an access token.
    IssueIdToken(IdTokenIssued),
    Refresh(Refresh),
    /// Ends one access token (RFC 7009). Nothing happens when it has ended already.
    RevokeAccessToken {
        client_id: ClientId,
        token: Presented,
        at: Timestamp,
    },
    /// Ends everything that the refresh token's grant gave (RFC 7009 2.1). Any token of the family will do: the client may
    /// not have the newest yet. Nothing happens when it has ended already.
    RevokeRefreshToken {
        client_id: ClientId,
        token: Presented,
        reason: RevocationReason,
        at: Timestamp,
    },
    /// Ends everything. Nothing happens when it has ended already.
    Revoke {
        reason: RevocationReason,
        at: Timestamp,
    },
}

/// RFC 6749 4.1.2.
#[derive(Clone, Debug)]
pub struct IssueCode {
    pub client_id: ClientId,
    pub user_id: UserId,
    pub session_id: SessionId,
    pub scope: Scope,
    pub redirect_uri: String,
    pub redirect_uri_in_request: bool,
    pub code: SecretHash,
    pub code_challenge: Option<CodeChallenge>,
    pub code_expires_at: Timestamp,
    pub expires_at: Timestamp,
    pub at: Timestamp,
    /// Set when an ID token was asked for.
    pub authentication: Option<Authentication>,
    /// Goes out beside the code (OpenID Connect Core 3.3).
    pub access_token: Option<NewAccessToken>,
    /// What the user was shown.
    pub consent: Option<ConsentDigest>,
}

/// RFC 6749 4.1.3.
#[derive(Clone, Debug)]
pub struct RedeemCode {
    pub client_id: ClientId,
    pub code: Presented,
    pub redirect_uri: Option<String>,
    pub verifier: Verifier,
    /// What the client may have now.
    pub allowed: Scope,
    pub access_token: NewAccessToken,
    pub refresh_token: Option<SecretHash>,
    pub at: Timestamp,
}

/// A grant without a code (RFC 6749 4.2, 4.3, 4.4).
#[derive(Clone, Debug)]
pub struct OpenGrant {
    pub grant_type: GrantType,
    pub client_id: ClientId,
    pub user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
    pub scope: Scope,
    pub access_token: NewAccessToken,
    pub refresh_token: Option<SecretHash>,
    pub expires_at: Timestamp,
    pub at: Timestamp,
    /// Set when an ID token was asked for.
    pub authentication: Option<Authentication>,
    /// What the user was shown, if one was asked.
    pub consent: Option<ConsentDigest>,
}

/// RFC 6749 6, with rotation (RFC 9700 4.14.2).
#[derive(Clone, Debug)]
pub struct Refresh {
    pub client_id: ClientId,
    pub presented: Presented,
    /// `None`: the scope of the grant; otherwise it may only be narrower.
    pub scope: Option<Scope>,
    /// What the client may have now, whatever it was given before.
    pub allowed: Scope,
    pub access_token: NewAccessToken,
    pub refresh_token: SecretHash,
    /// Set when the new tokens can be derived again from the presented one.
    pub replay_salt: Option<String>,
    /// For how long the token that was just replaced may be shown again; 0 for never.
    pub grace_seconds: i64,
    pub at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct NewAccessToken {
    pub hash: SecretHash,
    pub expires_at: Timestamp,
}
