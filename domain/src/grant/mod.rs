//! A grant: one authorization (RFC 6749 1.3) and all that was issued from it. Its code, access tokens and refresh
//! tokens live and end together, so a replayed code or a reused refresh token ends everything in one append.

mod command;
mod consent;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use command::{GrantCommand, IssueCode, NewAccessToken, OpenGrant, RedeemCode, Refresh};
pub use consent::{ConsentDigest, ConsentDigestError};
pub use error::GrantError;
pub use event::{
    AccessToken, Authentication, CodeIssued, GrantEvent, GrantOpened, IdTokenIssued, Refreshed, RequestedClaims,
    RevocationReason,
};

use crate::ids::{ClientId, SessionId, UserId};
use crate::{OFFLINE_ACCESS, Scope, SecretHash, Timestamp};

/// Most rotations of one refresh token family; bounds the length of a grant's stream.
pub const ROTATIONS_MAX: usize = 4096;

/// Most unexpired access tokens that one grant remembers; the oldest leave first (and are then no longer active).
pub const ACCESS_TOKENS_MAX: usize = 64;

/// One authorization and where it stands.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Grant {
    authorization: Option<Authorization>,
    stage: Stage,
}

/// What was allowed, by whom, to whom, until when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authorization {
    pub client_id: ClientId,
    /// Absent for client credentials.
    pub user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
    pub scope: Scope,
    /// Absolute end: nothing is refreshed after it.
    pub expires_at: Timestamp,
    /// Set when ID tokens come of it.
    pub authentication: Option<Authentication>,
}

/// Where a grant stands; each stage holds only what exists then.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Absent,
    /// A code is out and nobody has redeemed it.
    CodeIssued(Box<CodeIssued>),
    /// Tokens are out.
    Open(Box<Tokens>),
    Revoked {
        reason: RevocationReason,
        at: Timestamp,
    },
}

/// The tokens of an open grant.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Tokens {
    /// The code they came from, to know it again when it is replayed.
    pub code: Option<SecretHash>,
    pub access_tokens: Vec<HeldAccessToken>,
    pub refresh: Option<RefreshFamily>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldAccessToken {
    pub token: AccessToken,
    pub revoked: bool,
}

/// A refresh token and those it replaced (RFC 9700 4.14.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefreshFamily {
    pub current: SecretHash,
    pub superseded: Vec<SecretHash>,
    /// The newest rotation, so that an answer lost on the way can be given again within the grace.
    pub last_rotation: Option<Rotation>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rotation {
    pub superseded: SecretHash,
    pub access_token: AccessToken,
    /// Mixed into the derivation of the tokens that the rotation gave; absent when no repeat is possible.
    pub replay_salt: Option<String>,
    pub at: Timestamp,
}

impl Authorization {
    /// Whether what was allowed can be refreshed by a client that may have `allowed` now: what was allowed for when the user
    /// is away ends where that is taken away from the client (OpenID Connect Core 11).
    #[must_use]
    pub fn is_refreshable(&self, allowed: &Scope) -> bool {
        allowed.contains(OFFLINE_ACCESS) || !self.scope.contains(OFFLINE_ACCESS)
    }
}

impl Grant {
    #[must_use]
    pub const fn authorization(&self) -> Option<&Authorization> {
        self.authorization.as_ref()
    }

    #[must_use]
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The access token behind a presented secret, if the grant still stands behind it. Expiry is the caller's to check.
    #[must_use]
    pub fn living_access_token(&self, presented: &crate::Presented) -> Option<&AccessToken> {
        let tokens = match &self.stage {
            Stage::Open(tokens) => tokens,
            Stage::CodeIssued(code) => return code.access_token.as_ref().filter(|token| presented.is(&token.hash)),
            Stage::Absent | Stage::Revoked { .. } => return None,
        };
        tokens.access_tokens.iter().find(|held| !held.revoked && presented.is(&held.token.hash)).map(|held| &held.token)
    }

    /// Whether the presented refresh token is the one that may be used next.
    #[must_use]
    pub fn is_current_refresh_token(&self, presented: &crate::Presented) -> bool {
        matches!(&self.stage, Stage::Open(tokens) if tokens.refresh.as_ref().is_some_and(|family| presented.is(&family.current)))
    }

    fn remember(&mut self, event: GrantEvent) {
        match event {
            GrantEvent::CodeIssued(issued) => {
                self.authorization = Some(Authorization {
                    client_id: issued.client_id,
                    user_id: Some(issued.user_id),
                    session_id: Some(issued.session_id),
                    scope: issued.scope.clone(),
                    expires_at: issued.expires_at,
                    authentication: issued.authentication.clone(),
                });
                self.stage = Stage::CodeIssued(Box::new(issued));
            }
            GrantEvent::CodeRedeemed { access_token, refresh_token, .. } => {
                let (code, front) = match std::mem::take(&mut self.stage) {
                    Stage::CodeIssued(issued) => (Some(issued.code), issued.access_token),
                    _ => (None, None),
                };
                let mut tokens = Tokens::first(code, access_token, refresh_token);
                tokens.access_tokens.extend(front.map(|token| HeldAccessToken { token, revoked: false }));
                self.stage = Stage::Open(Box::new(tokens));
            }
            GrantEvent::IdTokenIssued(issued) => {
                self.authorization = Some(Authorization {
                    client_id: issued.client_id,
                    user_id: Some(issued.user_id),
                    session_id: Some(issued.session_id),
                    scope: issued.scope,
                    expires_at: issued.expires_at,
                    authentication: Some(issued.authentication),
                });
                self.stage = Stage::Open(Box::default());
            }
            GrantEvent::Opened(opened) => {
                self.authorization = Some(Authorization {
                    client_id: opened.client_id,
                    user_id: opened.user_id,
                    session_id: opened.session_id,
                    scope: opened.scope,
                    expires_at: opened.expires_at,
                    authentication: opened.authentication,
                });
                self.stage = Stage::Open(Box::new(Tokens::first(None, opened.access_token, opened.refresh_token)));
            }
            GrantEvent::Refreshed(refreshed) => {
                if let Stage::Open(tokens) = &mut self.stage {
                    tokens.rotate(refreshed);
                }
            }
            GrantEvent::AccessTokenRevoked { token, .. } => match &mut self.stage {
                Stage::Open(tokens) => {
                    for held in tokens.access_tokens.iter_mut().filter(|held| held.token.hash == token) {
                        held.revoked = true;
                    }
                }
                Stage::CodeIssued(code) => {
                    code.access_token.take_if(|held| held.hash == token);
                }
                Stage::Absent | Stage::Revoked { .. } => {}
            },
            GrantEvent::Revoked { reason, at } => self.stage = Stage::Revoked { reason, at },
        }
    }
}

impl RefreshFamily {
    /// Whether the presented token was used before and replaced.
    fn has_replaced(&self, presented: &crate::Presented) -> bool {
        self.superseded.iter().any(|old| presented.is(old))
    }

    /// Whether the presented token is the current one or one that it replaced.
    fn knows(&self, presented: &crate::Presented) -> bool {
        presented.is(&self.current) || self.has_replaced(presented)
    }
}

impl Tokens {
    fn first(code: Option<SecretHash>, access_token: AccessToken, refresh_token: Option<SecretHash>) -> Self {
        Self {
            code,
            access_tokens: vec![HeldAccessToken { token: access_token, revoked: false }],
            refresh: refresh_token.map(|current| RefreshFamily {
                current,
                superseded: Vec::new(),
                last_rotation: None,
            }),
        }
    }

    fn rotate(&mut self, refreshed: Refreshed) {
        let Some(family) = &mut self.refresh else { return };
        family.superseded.push(family.current);
        family.last_rotation = Some(Rotation {
            superseded: family.current,
            access_token: refreshed.access_token.clone(),
            replay_salt: refreshed.replay_salt,
            at: refreshed.at,
        });
        family.current = refreshed.refresh_token;
        self.access_tokens.retain(|held| held.token.expires_at > refreshed.at);
        if self.access_tokens.len() >= ACCESS_TOKENS_MAX {
            self.access_tokens.remove(0);
        }
        self.access_tokens.push(HeldAccessToken { token: refreshed.access_token, revoked: false });
    }
}

crate::drive_by_decide!(Grant, "grant", GrantCommand, GrantEvent, GrantError);
