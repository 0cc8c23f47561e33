//! Grants and their access tokens: what introspection asks (RFC 7662 2.2).
//!
//! A token names its grant, so the grant's id is the only key; the hashes are compared within the grant. Every change
//! commutes with every other and with itself: tokens are added, ends are for ever. So events may arrive in any order
//! and more than once. Compact, because there are many: no strings, shared scopes and clients, times in 32 bits.

use std::collections::HashMap;
use std::sync::Arc;

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{AccessToken, Authentication, ConsentDigest, GrantEvent, RequestedClaims};
use grantlog_domain::{ClientId, GrantId, SecretHash, Timestamp, UserId};
use parking_lot::RwLock;

use super::clients::Clients;
use super::digests::Digests;
use super::entry::{Entry, Seconds, Token, Tokens};
use super::scopes::{LiveScope, Scopes};
use super::users::Users;
use super::{SHARDS, shard_of};

/// An access token that may be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveToken {
    pub grant_id: GrantId,
    pub client_id: ClientId,
    /// Absent for client credentials.
    pub user_id: Option<UserId>,
    pub scope: Arc<LiveScope>,
    /// What the request named for the UserInfo endpoint and for ID tokens (OpenID Connect Core 5.5).
    pub claims: Option<Arc<RequestedClaims>>,
    /// Whether the client knows its users by pairwise subjects (OpenID Connect Core 8.1).
    pub pairwise: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a user allowed on the consent page.
pub(super) struct Consent {
    pub(super) scope: Arc<LiveScope>,
    pub(super) claims: Option<Arc<RequestedClaims>>,
    /// What they saw; absent where that was not kept.
    pub(super) shown: Option<Arc<ConsentDigest>>,
}

/// Who a grant is for.
pub(super) struct Parties {
    pub(super) client_id: ClientId,
    pub(super) user_id: Option<UserId>,
    /// What the user allowed on the consent page.
    pub(super) consent: Option<Arc<LiveScope>>,
    pub(super) claims: Option<Arc<RequestedClaims>>,
    pub(super) shown: Option<Arc<ConsentDigest>>,
    pub(super) expires_at: Timestamp,
    /// Set when a code stands between the grant and its first token.
    pub(super) code_expires_at: Option<Timestamp>,
}

/// A token of a grant, as an event or a row tells it.
pub(super) struct Issued {
    pub(super) sequence: i64,
    pub(super) hash: SecretHash,
    pub(super) scope: Arc<LiveScope>,
    pub(super) expires_at: Timestamp,
    pub(super) at: Timestamp,
}

impl Issued {
    fn new(around: &Around<'_>, sequence: i64, token: &AccessToken, at: Timestamp) -> Self {
        let scope = around.scopes.share(&token.scope);
        Self { sequence, hash: token.hash, scope, expires_at: token.expires_at, at }
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
    pub(super) digests: &'a Digests,
}

impl Around<'_> {
    pub(super) fn shown(&self, consent: Option<&ConsentDigest>) -> Option<Arc<ConsentDigest>> {
        consent.map(|digest| self.digests.share(digest))
    }
}

impl Grants {
    /// RFC 7662 2.2 `active`: issued here, not expired, not revoked, its grant, client and user still stand, and the client
    /// may still have something of its scope.
    pub(super) fn introspect(
        &self,
        scopes: &Scopes,
        id: GrantId,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<LiveToken> {
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
            scope: client.left_of(token.scope.as_ref()?, scopes)?,
            claims: entry.claims.clone(),
            pairwise: client.is_pairwise(),
            issued_at: token.issued_at.into(),
            expires_at: token.expires_at.into(),
        })
    }

    /// What the user allowed in this grant, while it stands.
    pub(super) fn consent(&self, id: GrantId, client_id: ClientId, now: Timestamp) -> Option<Consent> {
        let shard = self.0[shard_of(id.0)].read();
        let entry = shard.get(&id)?;
        let stands = entry.is_living(now.into()) && entry.client.as_ref().is_some_and(|client| client.id == client_id);
        let scope = entry.consent.clone().filter(|_| stands)?;
        Some(Consent { scope, claims: entry.claims.clone(), shown: entry.shown.clone() })
    }

    pub(super) fn apply(&self, around: &Around<'_>, id: GrantId, sequence: i64, event: &GrantEvent) {
        match event {
            GrantEvent::CodeIssued(issued) => {
                let parties = Parties {
                    client_id: issued.client_id,
                    user_id: Some(issued.user_id),
                    consent: Some(around.scopes.share(&issued.scope)),
                    claims: claims(issued.authentication.as_ref()),
                    shown: around.shown(issued.consent.as_ref()),
                    expires_at: issued.expires_at,
                    code_expires_at: Some(issued.code_expires_at),
                };
                self.open(around, id, parties);
                if let Some(token) = &issued.access_token {
                    self.issue(id, Issued::new(around, sequence, token, issued.at), false);
                }
            }
            GrantEvent::IdTokenIssued(issued) => {
                let parties = Parties {
                    client_id: issued.client_id,
                    user_id: Some(issued.user_id),
                    consent: Some(around.scopes.share(&issued.scope)),
                    claims: claims(Some(&issued.authentication)),
                    shown: around.shown(issued.consent.as_ref()),
                    expires_at: issued.expires_at,
                    code_expires_at: None,
                };
                self.open(around, id, parties);
                self.load_open(id, false);
            }
            GrantEvent::Opened(opened) => {
                let asked = opened.grant_type == GrantType::Implicit;
                let parties = Parties {
                    client_id: opened.client_id,
                    user_id: opened.user_id,
                    consent: asked.then(|| around.scopes.share(&opened.scope)),
                    claims: claims(opened.authentication.as_ref()),
                    shown: around.shown(opened.consent.as_ref()),
                    expires_at: opened.expires_at,
                    code_expires_at: None,
                };
                self.open(around, id, parties);
                let issued = Issued::new(around, sequence, &opened.access_token, opened.at);
                self.issue(id, issued, opened.refresh_token.is_some());
            }
            GrantEvent::CodeRedeemed { access_token, refresh_token, at } => {
                self.issue(id, Issued::new(around, sequence, access_token, *at), refresh_token.is_some());
            }
            GrantEvent::Refreshed(refreshed) => {
                self.issue(id, Issued::new(around, sequence, &refreshed.access_token, refreshed.at), true);
            }
            GrantEvent::AccessTokenRevoked { token, at } => self.change(id, |entry| entry.end_token(token, *at)),
            GrantEvent::Revoked { at, .. } => self.change(id, |entry| {
                entry.revoked = true;
                entry.tokens = Tokens::None;
                entry.keep_at_least(*at);
            }),
        }
    }

    pub(super) fn open(&self, around: &Around<'_>, id: GrantId, parties: Parties) {
        let Parties { client_id, user_id, consent, claims, shown, expires_at, code_expires_at } = parties;
        let client = around.clients.cell(client_id);
        let user = user_id.map(|user_id| around.users.cell(user_id));
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
            entry.claims = claims;
            entry.shown = shown;
            entry.expires_at = expires_at.into();
            if let Some(code_expires_at) = code_expires_at {
                entry.code_expires_at = code_expires_at.into();
                entry.keep_at_least(code_expires_at);
            }
        });
    }

    pub(super) fn issue(&self, id: GrantId, issued: Issued, refreshable: bool) {
        self.change(id, |entry| {
            entry.redeemed = true;
            entry.refreshable |= refreshable;
            if entry.client.is_none() {
                entry.keep_at_least(issued.at);
            }
            entry.add(Token {
                digest: issued.hash.digest,
                scope: Some(issued.scope),
                issued_by: u32::try_from(issued.sequence).unwrap_or(u32::MAX),
                issued_at: issued.at.into(),
                expires_at: issued.expires_at.into(),
                pepper: issued.hash.pepper,
                revoked: false,
            });
        });
    }

    /// Marks a grant as one that has given what it was for; access tokens are taken in by themselves.
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

    /// How many tokens are held.
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
                    "{id} {:?} {:?} {:?} {:?} {:?} {} {} {tokens:?}",
                    entry.client.as_ref().map(|client| client.id),
                    entry.user.as_ref().map(|user| user.id),
                    entry.consent.as_ref().map(|scope| &scope.text),
                    entry.claims,
                    entry.shown,
                    entry.expires_at.0,
                    entry.refreshable,
                ));
            }
        }
        all.sort_unstable();
        all
    }
}

fn claims(authentication: Option<&Authentication>) -> Option<Arc<RequestedClaims>> {
    shared_claims(&authentication?.claims)
}

/// Few requests name claims, so nothing is kept for the others.
pub(super) fn shared_claims(claims: &RequestedClaims) -> Option<Arc<RequestedClaims>> {
    (!claims.is_empty()).then(|| Arc::new(claims.clone()))
}

/// Bytes of a map entry and of what it points to.
#[cfg(test)]
pub(super) const fn entry_bytes() -> (usize, usize) {
    (size_of::<(GrantId, Box<Entry>)>(), size_of::<Entry>())
}
