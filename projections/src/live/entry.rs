//! One grant in memory, with its tokens: small, and changed only in ways that commute.

use std::sync::Arc;

use grantlog_domain::grant::{ACCESS_TOKENS_MAX, ConsentDigest, RequestedClaims};
use grantlog_domain::{SecretHash, Timestamp};

use super::ENDED_KEPT_SECONDS;
use super::clients::ClientCell;
use super::scopes::LiveScope;
use super::users::UserCell;

/// Unix seconds in 32 bits, to the year 2106; saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(pub(super) u32);

impl From<Timestamp> for Seconds {
    fn from(time: Timestamp) -> Self {
        Self(u32::try_from(time.0.max(0)).unwrap_or(u32::MAX))
    }
}

impl From<Seconds> for Timestamp {
    fn from(time: Seconds) -> Self {
        Self(i64::from(time.0))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) digest: [u8; 32],
    /// Absent while only the token's end has arrived.
    pub(super) scope: Option<Arc<LiveScope>>,
    /// Sequence of the event that issued it; orders the tokens of a grant by age.
    pub(super) issued_by: u32,
    pub(super) issued_at: Seconds,
    pub(super) expires_at: Seconds,
    pub(super) pepper: u16,
    pub(super) revoked: bool,
}

impl Token {
    pub(super) fn is(&self, hash: &SecretHash) -> bool {
        // SecretHash compares in constant time.
        SecretHash { pepper: self.pepper, digest: self.digest } == *hash
    }
}

/// Nearly every grant has one token at a time.
#[derive(Debug, Default)]
pub(super) enum Tokens {
    #[default]
    None,
    One(Token),
    Many(Vec<Token>),
}

impl Tokens {
    pub(super) fn as_slice(&self) -> &[Token] {
        match self {
            Self::None => &[],
            Self::One(token) => std::slice::from_ref(token),
            Self::Many(tokens) => tokens,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Token>)) {
        let mut tokens = match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::One(token) => vec![token],
            Self::Many(tokens) => tokens,
        };
        change(&mut tokens);
        *self = match tokens.len() {
            0 => Self::None,
            1 => tokens.pop().map_or(Self::None, Self::One),
            _ => Self::Many(tokens),
        };
    }
}

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Absent until the event that opened the grant has arrived.
    pub(super) client: Option<Arc<ClientCell>>,
    pub(super) user: Option<Arc<UserCell>>,
    /// What the user allowed on the consent page.
    pub(super) consent: Option<Arc<LiveScope>>,
    /// What the request named beside its scope.
    pub(super) claims: Option<Arc<RequestedClaims>>,
    /// What the user was shown.
    pub(super) shown: Option<Arc<ConsentDigest>>,
    pub(super) tokens: Tokens,
    /// Absolute end of the grant.
    pub(super) expires_at: Seconds,
    /// Until when to keep what has ended or is incomplete, so that a late event does not bring it back.
    pub(super) keep_until: Seconds,
    /// Until then a code that has not been redeemed upholds the grant; 0 when there was none.
    pub(super) code_expires_at: Seconds,
    /// A token was issued.
    pub(super) redeemed: bool,
    pub(super) refreshable: bool,
    pub(super) revoked: bool,
    pub(super) quarantined: bool,
}

impl Entry {
    pub(super) fn is_living(&self, now: Seconds) -> bool {
        !self.revoked
            && !self.quarantined
            && self.client.is_some()
            && now < self.expires_at
            && (self.redeemed || now < self.code_expires_at)
    }

    pub(super) fn add(&mut self, token: Token) {
        if self.revoked {
            return;
        }
        if matches!(self.tokens, Tokens::None) {
            self.tokens = Tokens::One(token);
            return;
        }
        self.tokens.change(|tokens| {
            match tokens.iter_mut().find(|held| held.digest == token.digest) {
                Some(held) => *held = Token { revoked: held.revoked, ..token },
                None => tokens.push(token),
            }
            let issued = tokens.iter().filter(|held| held.scope.is_some()).count();
            if issued > ACCESS_TOKENS_MAX {
                let oldest = tokens.iter().filter(|held| held.scope.is_some()).map(|held| held.issued_by).min();
                tokens.retain(|held| held.scope.is_none() || Some(held.issued_by) != oldest);
            }
        });
    }

    pub(super) fn end_token(&mut self, hash: &SecretHash, at: Timestamp) {
        self.keep_at_least(at);
        if self.revoked {
            return;
        }
        self.tokens.change(|tokens| match tokens.iter_mut().find(|held| held.is(hash)) {
            Some(held) => held.revoked = true,
            // The end came first; its token is already ended when it arrives.
            None => tokens.push(Token {
                digest: hash.digest,
                scope: None,
                issued_by: 0,
                issued_at: Seconds(0),
                expires_at: at.plus_seconds(ENDED_KEPT_SECONDS).into(),
                pepper: hash.pepper,
                revoked: true,
            }),
        });
    }

    pub(super) fn keep_at_least(&mut self, at: Timestamp) {
        self.keep_until = self.keep_until.max(at.plus_seconds(ENDED_KEPT_SECONDS).into());
    }

    pub(super) fn drop_expired(&mut self, now: Seconds) {
        if self.tokens.as_slice().iter().any(|token| token.expires_at <= now) {
            self.tokens.change(|tokens| tokens.retain(|token| now < token.expires_at));
        }
    }

    pub(super) fn is_needed(&self, now: Seconds) -> bool {
        if self.quarantined || now < self.keep_until {
            return true;
        }
        if self.revoked || self.client.is_none() || !self.redeemed {
            return false;
        }
        let lasting = self.refreshable || self.consent.is_some();
        !matches!(self.tokens, Tokens::None) || (lasting && now < self.expires_at)
    }
}
