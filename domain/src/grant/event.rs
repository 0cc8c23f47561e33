//! Facts about a grant. Published events never change; new fields are optional with a default.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::consent::ConsentDigest;
use crate::client::GrantType;
use crate::ids::{ClientId, SessionId, UserId};
use crate::{CodeChallenge, Scope, SecretHash, Timestamp, session};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantEvent {
    /// An authorization code went out (RFC 6749 4.1.2).
    CodeIssued(CodeIssued),
    /// The code was exchanged for tokens (RFC 6749 4.1.4).
    CodeRedeemed { access_token: AccessToken, refresh_token: Option<SecretHash>, at: Timestamp },
    /// A grant without a code: client credentials, password, implicit.
    Opened(GrantOpened),
    /// An ID token and nothing else went out (OpenID Connect Core 3.2, `response_type=id_token`).
    IdTokenIssued(IdTokenIssued),
    /// The refresh token was rotated (RFC 6749 6).
    Refreshed(Refreshed),
    /// One access token ended by itself (RFC 7009 2.1).
    AccessTokenRevoked { token: SecretHash, at: Timestamp },
    /// Everything from this grant ended.
    Revoked { reason: RevocationReason, at: Timestamp },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeIssued {
    pub client_id: ClientId,
    pub user_id: UserId,
    pub session_id: SessionId,
    pub scope: Scope,
    /// As the request or, when it named none, the registration gave it.
    pub redirect_uri: String,
    /// RFC 6749 4.1.3: the token request must then repeat it.
    pub redirect_uri_in_request: bool,
    pub code: SecretHash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<CodeChallenge>,
    pub code_expires_at: Timestamp,
    /// Absolute end of the grant.
    pub expires_at: Timestamp,
    pub at: Timestamp,
    /// Absent when no ID token was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Went out beside the code (OpenID Connect Core 3.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<AccessToken>,
    /// What the user was shown, or was shown when they allowed the same before; absent in what was stored before this was
    /// kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentDigest>,
}

/// What ID tokens of a grant say of how the user signed in (OpenID Connect Core 2), and what else the request asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// When the user last proved who they are.
    pub auth_time: Timestamp,
    /// How (RFC 8176); empty in a demonstration, where nothing was proved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// As the authorization request had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(default, skip_serializing_if = "RequestedClaims::is_empty")]
    pub claims: RequestedClaims,
}

/// Claims that the authorization request named, beside those that its scope opens (OpenID Connect Core 5.5). Names only:
/// what they hold is personal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaims {
    /// For the UserInfo endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub userinfo: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_token: Vec<String>,
}

impl RequestedClaims {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.userinfo.is_empty() && self.id_token.is_empty()
    }

    /// Whether `name` was asked for, wherever it was to be told.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.userinfo.iter().chain(&self.id_token).any(|named| named == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantOpened {
    pub grant_type: GrantType,
    pub client_id: ClientId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    pub scope: Scope,
    pub access_token: AccessToken,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<SecretHash>,
    /// Absolute end of the grant.
    pub expires_at: Timestamp,
    pub at: Timestamp,
    /// Absent when no ID token was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The same as of a code; absent where no user was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentDigest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdTokenIssued {
    pub client_id: ClientId,
    pub user_id: UserId,
    pub session_id: SessionId,
    pub scope: Scope,
    pub authentication: Authentication,
    /// Absolute end of the grant: that of its ID token.
    pub expires_at: Timestamp,
    pub at: Timestamp,
    /// The same as of a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentDigest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    pub access_token: AccessToken,
    pub refresh_token: SecretHash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_salt: Option<String>,
    pub at: Timestamp,
}

/// An access token as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    pub hash: SecretHash,
    pub scope: Scope,
    pub expires_at: Timestamp,
}

/// Why a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    Client,
    User,
    Admin,
    CodeReplayed,
    RefreshReused,
    UserDisabled,
    ClientDisabled,
    /// The session in which it was opened has ended (OpenID Connect Back-Channel Logout 2.7).
    SessionEnded,
    /// The client wanted to refresh, and had lost the grant type or `offline_access`.
    RefreshWithdrawn,
}

impl RevocationReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::User => "user",
            Self::Admin => "admin",
            Self::CodeReplayed => "code_replayed",
            Self::RefreshReused => "refresh_reused",
            Self::UserDisabled => "user_disabled",
            Self::ClientDisabled => "client_disabled",
            Self::SessionEnded => "session_ended",
            Self::RefreshWithdrawn => "refresh_withdrawn",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl GrantEvent {
    /// Every type that was ever stored.
    pub const TYPES: &[&str] = &[
        "grant.code_issued",
        "grant.code_redeemed",
        "grant.opened",
        "grant.id_token_issued",
        "grant.refreshed",
        "grant.access_token_revoked",
        "grant.revoked",
    ];

    /// From when on nothing that this event gave is of any use; `None` when it gives nothing.
    #[must_use]
    pub fn holds_until(&self) -> Option<Timestamp> {
        // An ID token makes its client one that hears of the end of the session (Back-Channel Logout 2.3).
        let session = |session_id: Option<SessionId>, authentication: &Option<Authentication>, at: Timestamp| {
            let signed_in = session_id.is_some() && authentication.is_some();
            if signed_in { at.plus_seconds(session::LIFETIME_SECONDS_MAX) } else { at }
        };
        match self {
            Self::CodeIssued(issued) => {
                let session = session(Some(issued.session_id), &issued.authentication, issued.at);
                Some(issued.expires_at.max(issued.code_expires_at).max(session))
            }
            Self::Opened(opened) => {
                let session = session(opened.session_id, &opened.authentication, opened.at);
                Some(opened.expires_at.max(opened.access_token.expires_at).max(session))
            }
            Self::IdTokenIssued(issued) => {
                Some(issued.expires_at.max(issued.at.plus_seconds(session::LIFETIME_SECONDS_MAX)))
            }
            Self::CodeRedeemed { access_token, .. } => Some(access_token.expires_at),
            Self::Refreshed(refreshed) => Some(refreshed.access_token.expires_at),
            Self::AccessTokenRevoked { .. } | Self::Revoked { .. } => None,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CodeIssued(_) => "grant.code_issued",
            Self::CodeRedeemed { .. } => "grant.code_redeemed",
            Self::Opened(_) => "grant.opened",
            Self::IdTokenIssued(_) => "grant.id_token_issued",
            Self::Refreshed(_) => "grant.refreshed",
            Self::AccessTokenRevoked { .. } => "grant.access_token_revoked",
            Self::Revoked { .. } => "grant.revoked",
        }
    }
}
