//! Grants and their access tokens: what introspection asks (RFC 7662 2.2).
//!
//! A token names its grant, so the grant's id is the only key; the hashes are compared within the grant. Every change
//! commutes with every other and with itself: tokens are added, ends are for ever. So events may arrive in any order
//! and more than once. Compact, because there are many: no strings, shared scopes and clients, times in 32 bits.

use std::collections::HashMap;
use std::sync::Arc;

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{ACCESS_TOKENS_MAX, AccessToken, GrantEvent};
use grantlog_domain::{ClientId, GrantId, Scope, SecretHash, Timestamp, UserId};
use parking_lot::RwLock;

use super::clients::{ClientCell, Clients};
use super::scopes::{LiveScope, Scopes};
use super::users::{UserCell, Users};
use super::{ENDED_KEPT_SECONDS, SHARDS, shard_of};

/// An access token that may be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveToken {
    pub grant_id: GrantId,
    pub client_id: ClientId,
    /// Absent for client credentials.
    pub user_id: Option<UserId>,
    pub scope: Arc<LiveScope>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Unix seconds in 32 bits, to the year 2106; saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Seconds(u32);

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
struct Token {
    digest: [u8; 32],
    /// Absent while only the token's end has arrived.
    scope: Option<Arc<LiveScope>>,
    /// Sequence of the event that issued it; orders the tokens of a grant by age.
    issued_by: u32,
    issued_at: Seconds,
    expires_at: Seconds,
    pepper: u16,
    revoked: bool,
}

impl Token {
    fn is(&self, hash: &SecretHash) -> bool {
        // SecretHash compares in constant time.
        SecretHash { pepper: self.pepper, digest: self.digest } == *hash
    }
}

/// Nearly every grant has one token at a time.
#[derive(Debug, Default)]
enum Tokens {
    #[default]
    None,
    One(Token),
    Many(Vec<Token>),
}

impl Tokens {
    fn as_slice(&self) -> &[Token] {
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
struct Entry {
    /// Absent until the event that opened the grant has arrived.
    client: Option<Arc<ClientCell>>,
    user: Option<Arc<UserCell>>,
    /// What the user allowed on the consent page.
    consent: Option<Arc<LiveScope>>,
    tokens: Tokens,
    /// Absolute end of the grant.
    expires_at: Seconds,
    /// Until when to keep what has ended or is incomplete, so that a late event does not bring it back.
    keep_until: Seconds,
    /// Until then a code that has not been redeemed upholds the grant; 0 when there was none.
    code_expires_at: Seconds,
    /// A token was issued.
    redeemed: bool,
    refreshable: bool,
    revoked: bool,
    quarantined: bool,
}

/// Who a grant is for.
pub(super) struct Parties<'a> {
    pub(super) client_id: ClientId,
    pub(super) user_id: Option<UserId>,
    pub(super) consent: Option<&'a Scope>,
    pub(super) expires_at: Timestamp,
}

/// A token of a grant, as an event or a row tells it.
pub(super) struct Issued<'a> {
    pub(super) sequence: i64,
    pub(super) token: &'a AccessToken,
    pub(super) at: Timestamp,
}

impl Entry {
    fn is_living(&self, now: Seconds) -> bool {
        !self.revoked
            && !self.quarantined
            && self.client.is_some()
            && now < self.expires_at
            && (self.redeemed || now < self.code_expires_at)
    }

    fn add(&mut self, token: Token) {
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

    fn end_token(&mut self, hash: &SecretHash, at: Timestamp) {
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

    fn keep_at_least(&mut self, at: Timestamp) {
        self.keep_until = self.keep_until.max(at.plus_seconds(ENDED_KEPT_SECONDS).into());
    }

    fn drop_expired(&mut self, now: Seconds) {
        if self.tokens.as_slice().iter().any(|token| token.expires_at <= now) {
            self.tokens.change(|tokens| tokens.retain(|token| now < token.expires_at));
        }
    }

    fn is_needed(&self, now: Seconds) -> bool {
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

#[derive(Debug)]
pub(super) struct Grants([RwLock<HashMap<GrantId, Box<Entry>>>; SHARDS]);

impl Default for Grants {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

/// The models that a grant refers to.
pub(super) struct Around<'a> {
    pub(super) clients: &'a Clients,
    pub(super) users: &'a Users,
    pub(super) scopes: &'a Scopes,
}

impl Grants {
    /// RFC 7662 2.2 `active`: issued here, not expired, not revoked, and its grant, client and user still stand.
    pub(super) fn introspect(&self, id: GrantId, hash: &SecretHash, now: Timestamp) -> Option<LiveToken> {
        let seconds = Seconds::from(now);
        let shard = self.0[shard_of(id.0)].read();
        let entry = shard.get(&id)?;
        let token = entry.tokens.as_slice().iter().find(|token| token.is(hash))?;
        let client = entry.client.as_ref()?;
        let stands = entry.is_living(seconds)
            && !token.revoked
            && seconds < token.expires_at
            && client.is_usable()
            && entry.user.as_ref().is_none_or(|user| user.is_usable());
        if !stands {
            return None;
        }
        Some(LiveToken {
            grant_id: id,
            client_id: client.id,
            user_id: entry.user.as_ref().map(|user| user.id),
            scope: Arc::clone(token.scope.as_ref()?),
            issued_at: token.issued_at.into(),
            expires_at: token.expires_at.into(),
        })
    }

    /// What the user allowed in this grant, while it stands.
    pub(super) fn consent(&self, id: GrantId, client_id: ClientId, now: Timestamp) -> Option<Arc<LiveScope>> {
        let shard = self.0[shard_of(id.0)].read();
        let entry = shard.get(&id)?;
        let stands = entry.is_living(now.into()) && entry.client.as_ref().is_some_and(|client| client.id == client_id);
        if stands { entry.consent.clone() } else { None }
    }

    pub(super) fn apply(&self, around: &Around<'_>, id: GrantId, sequence: i64, event: &GrantEvent) {
        match event {
            GrantEvent::CodeIssued(issued) => {
                let parties = Parties {
                    client_id: issued.client_id,
                    user_id: Some(issued.user_id),
                    consent: Some(&issued.scope),
                    expires_at: issued.expires_at,
                };
                self.open(around, id, &parties, Some(issued.code_expires_at));
            }
            GrantEvent::Opened(opened) => {
                let asked = opened.grant_type == GrantType::Implicit;
                let parties = Parties {
                    client_id: opened.client_id,
                    user_id: opened.user_id,
                    consent: asked.then_some(&opened.scope),
                    expires_at: opened.expires_at,
                };
                self.open(around, id, &parties, None);
                let issued = Issued { sequence, token: &opened.access_token, at: opened.at };
                self.issue(around, id, &issued, opened.refresh_token.is_some());
            }
            GrantEvent::CodeRedeemed { access_token, refresh_token, at } => {
                let issued = Issued { sequence, token: access_token, at: *at };
                self.issue(around, id, &issued, refresh_token.is_some());
            }
            GrantEvent::Refreshed(refreshed) => {
                let issued = Issued { sequence, token: &refreshed.access_token, at: refreshed.at };
                self.issue(around, id, &issued, true);
            }
            GrantEvent::AccessTokenRevoked { token, at } => self.change(id, |entry| entry.end_token(token, *at)),
            GrantEvent::Revoked { at, .. } => self.change(id, |entry| {
                entry.revoked = true;
                entry.tokens = Tokens::None;
                entry.keep_at_least(*at);
            }),
        }
    }

    /// `code_expires_at`: set when a code stands between the grant and its first token.
    pub(super) fn open(
        &self,
        around: &Around<'_>,
        id: GrantId,
        parties: &Parties<'_>,
        code_expires_at: Option<Timestamp>,
    ) {
        let client = around.clients.cell(parties.client_id);
        let user = parties.user_id.map(|user_id| around.users.cell(user_id));
        let consent = parties.consent.map(|scope| around.scopes.share(scope));
        self.change(id, |entry| {
            if entry.client.is_some() {
                return;
            }
            if let (Some(user), Some(_)) = (&user, &consent) {
                user.add_consent(id);
            }
            entry.client = Some(client);
            entry.user = user;
            entry.consent = consent;
            entry.expires_at = parties.expires_at.into();
            if let Some(code_expires_at) = code_expires_at {
                entry.code_expires_at = code_expires_at.into();
                entry.keep_at_least(code_expires_at);
            }
        });
    }

    pub(super) fn issue(&self, around: &Around<'_>, id: GrantId, issued: &Issued<'_>, refreshable: bool) {
        let scope = around.scopes.share(&issued.token.scope);
        self.change(id, |entry| {
            entry.redeemed = true;
            entry.refreshable |= refreshable;
            if entry.client.is_none() {
                entry.keep_at_least(issued.at);
            }
            entry.add(Token {
                digest: issued.token.hash.digest,
                scope: Some(scope),
                issued_by: u32::try_from(issued.sequence).unwrap_or(u32::MAX),
                issued_at: issued.at.into(),
                expires_at: issued.token.expires_at.into(),
                pepper: issued.token.hash.pepper,
                revoked: false,
            });
        });
    }

    /// Marks a grant as one that has given tokens; those are loaded by themselves.
    pub(super) fn load_open(&self, id: GrantId, refreshable: bool) {
        self.change(id, |entry| {
            entry.redeemed = true;
            entry.refreshable |= refreshable;
        });
    }

    /// Its events cannot be read: nothing from it is active, for as long as this process runs.
    pub(super) fn quarantine(&self, id: GrantId) {
        self.change(id, |entry| entry.quarantined = true);
    }

    fn change(&self, id: GrantId, change: impl FnOnce(&mut Entry)) {
        change(self.0[shard_of(id.0)].write().entry(id).or_default());
    }

    /// Forgets what has expired in one shard: a bounded step.
    pub(super) fn sweep(&self, shard: usize, now: Timestamp) {
        let now = Seconds::from(now);
        let mut shard = self.0[shard].write();
        shard.retain(|id, entry| {
            entry.drop_expired(now);
            let needed = entry.is_needed(now);
            if let (false, Some(user), Some(_)) = (needed, &entry.user, &entry.consent) {
                user.remove_consent(*id);
            }
            needed
        });
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
            shard.shrink_to_fit();
        }
    }

    /// How many unexpired tokens are held.
    pub(super) fn tokens(&self) -> usize {
        let count = |entry: &Entry| entry.tokens.as_slice().len();
        self.0.iter().map(|shard| shard.read().values().map(|entry| count(entry)).sum::<usize>()).sum()
    }

    /// Every grant as text, by id: for comparing two models.
    pub(super) fn describe(&self, now: Timestamp) -> Vec<String> {
        let now = Seconds::from(now);
        let mut all = Vec::new();
        for shard in &self.0 {
            for (id, entry) in shard.read().iter().filter(|(_, entry)| entry.is_living(now)) {
                let mut tokens: Vec<_> = entry
                    .tokens
                    .as_slice()
                    .iter()
                    .filter(|token| now < token.expires_at && !token.revoked)
                    .map(|token| (token.issued_by, token.digest, token.expires_at.0, token.issued_at.0))
                    .collect();
                tokens.sort_unstable();
                all.push(format!(
                    "{id} {:?} {:?} {:?} {} {} {tokens:?}",
                    entry.client.as_ref().map(|client| client.id),
                    entry.user.as_ref().map(|user| user.id),
                    entry.consent.as_ref().map(|scope| &scope.text),
                    entry.expires_at.0,
                    entry.refreshable,
                ));
            }
        }
        all.sort_unstable();
        all
    }
}

/// Bytes of a map entry and of what it points to.
#[cfg(test)]
pub(super) const fn entry_bytes() -> (usize, usize) {
    (size_of::<(GrantId, Box<Entry>)>(), size_of::<Entry>())
}
