//! Every rule about a grant. The order of checks is security: first whose it is, then whether it still stands, then
//! whether this request may have it.

use super::command::{GrantCommand, IssueCode, NewAccessToken, OpenGrant, RedeemCode, Refresh};
use super::event::{AccessToken, CodeIssued, GrantEvent, GrantOpened, Refreshed, RevocationReason};
use super::{Authorization, Grant, GrantError, ROTATIONS_MAX, RefreshFamily, Stage};
use crate::ids::ClientId;
use crate::{CodeChallenge, Presented, Scope, Timestamp, Verifier};

impl Grant {
    /// What follows from a command, or why nothing does. An empty answer means that it holds already.
    pub fn decide(&self, command: GrantCommand) -> Result<Vec<GrantEvent>, GrantError> {
        match command {
            GrantCommand::IssueCode(command) => self.issue_code(command),
            GrantCommand::RedeemCode(command) => self.redeem_code(command),
            GrantCommand::Open(command) => self.open(command),
            GrantCommand::IssueIdToken(issued) => {
                self.must_be_absent()?;
                Ok(vec![GrantEvent::IdTokenIssued(issued)])
            }
            GrantCommand::Refresh(command) => self.refresh(command),
            GrantCommand::RevokeAccessToken { client_id, token, at } => self.revoke_access_token(client_id, &token, at),
            GrantCommand::RevokeRefreshToken { client_id, token, reason, at } => {
                self.revoke_refresh_token(client_id, &token, reason, at)
            }
            GrantCommand::Revoke { reason, at } => match self.stage {
                Stage::Absent => Err(GrantError::NotFound),
                Stage::Revoked { .. } => Ok(Vec::new()),
                Stage::CodeIssued(_) | Stage::Open(_) => Ok(vec![GrantEvent::Revoked { reason, at }]),
            },
        }
    }

    fn issue_code(&self, command: IssueCode) -> Result<Vec<GrantEvent>, GrantError> {
        self.must_be_absent()?;
        let front = command.access_token.map(|token| issued(token, command.scope.clone(), command.expires_at));
        Ok(vec![GrantEvent::CodeIssued(CodeIssued {
            client_id: command.client_id,
            user_id: command.user_id,
            session_id: command.session_id,
            scope: command.scope,
            redirect_uri: command.redirect_uri,
            redirect_uri_in_request: command.redirect_uri_in_request,
            code: command.code,
            code_challenge: command.code_challenge,
            code_expires_at: command.code_expires_at,
            expires_at: command.expires_at,
            at: command.at,
            authentication: command.authentication,
            access_token: front,
            consent: command.consent,
        })])
    }

    fn open(&self, command: OpenGrant) -> Result<Vec<GrantEvent>, GrantError> {
        self.must_be_absent()?;
        Ok(vec![GrantEvent::Opened(GrantOpened {
            grant_type: command.grant_type,
            client_id: command.client_id,
            user_id: command.user_id,
            session_id: command.session_id,
            access_token: issued(command.access_token, command.scope.clone(), command.expires_at),
            scope: command.scope,
            refresh_token: command.refresh_token,
            expires_at: command.expires_at,
            at: command.at,
            authentication: command.authentication,
            consent: command.consent,
        })])
    }

    /// RFC 6749 4.1.3: the code was issued to this client, is valid, and comes with the same `redirect_uri`.
    fn redeem_code(&self, command: RedeemCode) -> Result<Vec<GrantEvent>, GrantError> {
        let authorization = self.authorization_of(command.client_id)?;
        let code = match &self.stage {
            Stage::Absent => return Err(GrantError::NotFound),
            Stage::Revoked { .. } => return Err(GrantError::Revoked),
            Stage::Open(tokens) => {
                // RFC 6749 4.1.2: the client MUST NOT use the authorization code more than once.
                let replayed = tokens.code.is_some_and(|code| command.code.is(&code));
                return Err(if replayed { GrantError::CodeAlreadyRedeemed } else { GrantError::UnknownCode });
            }
            Stage::CodeIssued(code) => code,
        };
        if !command.code.is(&code.code) {
            return Err(GrantError::UnknownCode);
        }
        if command.at >= code.code_expires_at {
            return Err(GrantError::CodeExpired);
        }
        check_redirect_uri(code, command.redirect_uri.as_deref())?;
        check_verifier(code.code_challenge, command.verifier)?;
        let scope = authorization.scope.left_within(&command.allowed).ok_or(GrantError::ScopeWithdrawn)?;
        Ok(vec![GrantEvent::CodeRedeemed {
            access_token: issued(command.access_token, scope, authorization.expires_at),
            refresh_token: command.refresh_token,
            at: command.at,
        }])
    }

    /// RFC 6749 6 and RFC 9700 4.14.2.
    fn refresh(&self, command: Refresh) -> Result<Vec<GrantEvent>, GrantError> {
        let authorization = self.authorization_of(command.client_id)?;
        let family = match &self.stage {
            Stage::Absent => return Err(GrantError::NotFound),
            Stage::Revoked { .. } => return Err(GrantError::Revoked),
            Stage::CodeIssued(_) => return Err(GrantError::UnknownRefreshToken),
            Stage::Open(tokens) => tokens.refresh.as_ref().ok_or(GrantError::UnknownRefreshToken)?,
        };
        if !command.presented.is(&family.current) {
            return Err(refusal_of_old(family, &command));
        }
        if command.at >= authorization.expires_at {
            return Err(GrantError::Expired);
        }
        if family.superseded.len() >= ROTATIONS_MAX {
            return Err(GrantError::TooManyRotations);
        }
        if !authorization.is_refreshable(&command.allowed) {
            return Err(GrantError::RefreshWithdrawn);
        }
        let scope = match &command.scope {
            None => &authorization.scope,
            Some(scope) if scope.is_subset_of(&authorization.scope) => scope,
            Some(_) => return Err(GrantError::ScopeExceeded),
        };
        let scope = scope.left_within(&command.allowed).ok_or(GrantError::ScopeWithdrawn)?;
        Ok(vec![GrantEvent::Refreshed(Refreshed {
            access_token: issued(command.access_token, scope, authorization.expires_at),
            refresh_token: command.refresh_token,
            replay_salt: command.replay_salt,
            at: command.at,
        })])
    }

    fn revoke_access_token(
        &self,
        client_id: ClientId,
        presented: &Presented,
        at: Timestamp,
    ) -> Result<Vec<GrantEvent>, GrantError> {
        let held = match &self.stage {
            Stage::Absent => return Err(GrantError::NotFound),
            Stage::Revoked { .. } => return Ok(Vec::new()),
            Stage::CodeIssued(code) => code.access_token.as_ref().map(|token| (token.hash, false)),
            Stage::Open(tokens) => {
                let held = tokens.access_tokens.iter().find(|held| presented.is(&held.token.hash));
                held.map(|held| (held.token.hash, held.revoked))
            }
        };
        let held = held.filter(|(hash, _)| presented.is(hash));
        let (token, revoked) = held.ok_or(GrantError::UnknownAccessToken)?;
        self.authorization_of(client_id)?;
        Ok(if revoked { Vec::new() } else { vec![GrantEvent::AccessTokenRevoked { token, at }] })
    }

    fn revoke_refresh_token(
        &self,
        client_id: ClientId,
        presented: &Presented,
        reason: RevocationReason,
        at: Timestamp,
    ) -> Result<Vec<GrantEvent>, GrantError> {
        let family = match &self.stage {
            Stage::Absent => return Err(GrantError::NotFound),
            Stage::Revoked { .. } => return Ok(Vec::new()),
            Stage::CodeIssued(_) => None,
            Stage::Open(tokens) => tokens.refresh.as_ref(),
        };
        // A refresh may have replaced it a moment ago. Who asks to end it means all that came from it.
        if !family.is_some_and(|family| family.knows(presented)) {
            return Err(GrantError::UnknownRefreshToken);
        }
        self.authorization_of(client_id)?;
        Ok(vec![GrantEvent::Revoked { reason, at }])
    }

    const fn must_be_absent(&self) -> Result<(), GrantError> {
        match self.stage {
            Stage::Absent => Ok(()),
            _ => Err(GrantError::AlreadyExists),
        }
    }

    /// Nobody but the client that it was given to changes a grant. Who revokes is told so only when the token is one of
    /// the grant's (RFC 7009 2.1): who holds it knows already that it exists.
    fn authorization_of(&self, client_id: ClientId) -> Result<&Authorization, GrantError> {
        let authorization = self.authorization.as_ref().ok_or(GrantError::NotFound)?;
        if authorization.client_id == client_id { Ok(authorization) } else { Err(GrantError::WrongClient) }
    }
}

/// An access token never outlives its grant.
fn issued(token: NewAccessToken, scope: Scope, grant_expires_at: Timestamp) -> AccessToken {
    AccessToken { hash: token.hash, scope, expires_at: token.expires_at.min(grant_expires_at) }
}

/// RFC 6749 4.1.3: REQUIRED if it was in the authorization request, and then identical.
fn check_redirect_uri(code: &CodeIssued, presented: Option<&str>) -> Result<(), GrantError> {
    match presented {
        None if code.redirect_uri_in_request => Err(GrantError::RedirectUriMismatch),
        Some(presented) if presented != code.redirect_uri => Err(GrantError::RedirectUriMismatch),
        _ => Ok(()),
    }
}

/// RFC 7636 4.6; RFC 9700 2.1.1: a verifier without a challenge is refused, which stops PKCE downgrades.
fn check_verifier(challenge: Option<CodeChallenge>, verifier: Verifier) -> Result<(), GrantError> {
    match (challenge, verifier) {
        (None, Verifier::Absent) => Ok(()),
        (Some(_), Verifier::Absent) => Err(GrantError::VerifierMissing),
        (None, Verifier::Hashed(_) | Verifier::Malformed) => Err(GrantError::VerifierUnexpected),
        (Some(challenge), Verifier::Hashed(verifier)) if challenge == verifier => Ok(()),
        (Some(_), Verifier::Hashed(_)) => Err(GrantError::VerifierMismatch),
        (Some(_), Verifier::Malformed) => Err(GrantError::VerifierMalformed),
    }
}

/// A token that is not the current one is either unknown, one that was lost a moment ago, or stolen.
fn refusal_of_old(family: &RefreshFamily, command: &Refresh) -> GrantError {
    let repeated = family.last_rotation.as_ref().is_some_and(|rotation| {
        rotation.replay_salt.is_some()
            && command.presented.is(&rotation.superseded)
            && command.at.seconds_since(rotation.at) < command.grace_seconds
    });
    if repeated {
        GrantError::RefreshRepeatedWithinGrace
    } else if family.has_replaced(&command.presented) {
        GrantError::RefreshTokenReused
    } else {
        GrantError::UnknownRefreshToken
    }
}
