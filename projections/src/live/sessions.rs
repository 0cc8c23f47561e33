//! Sessions: who is signed in behind a cookie, and since when.

use std::collections::HashMap;
use std::sync::Arc;

use grantlog_domain::session::SessionEvent;
use grantlog_domain::{SecretHash, SessionId, Timestamp, UserId};
use parking_lot::RwLock;

use super::newest::Newest;
use super::{ENDED_KEPT_SECONDS, SHARDS, shard_of};

/// A session that was started and has not ended. The caller compares `cookie` and `expires_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    pub id: SessionId,
    pub user_id: UserId,
    /// Hash of the session cookie.
    pub cookie: SecretHash,
    /// When the user last proved who they are (OpenID Connect Core 2, `auth_time`).
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Arc<[String]>,
    pub expires_at: Timestamp,
}

/// What a user proved who they are with.
#[derive(Debug)]
struct Proof {
    cookie: SecretHash,
    auth_time: Timestamp,
    amr: Arc<[String]>,
}

#[derive(Debug, Default)]
struct Entry {
    user_id: Option<UserId>,
    /// The latest that an event has said: it only ever grows.
    expires_at: Timestamp,
    proof: Newest<Option<Proof>>,
    /// For ever; quarantined ones too.
    ended: bool,
    keep_until: Timestamp,
    current: Option<Arc<LiveSession>>,
}

impl Entry {
    fn apply(&mut self, sequence: i64, event: &SessionEvent) {
        match event {
            // Only as the first event of its session: nobody else's later.
            SessionEvent::Started { .. } if sequence != 1 => {}
            SessionEvent::Started { user_id, cookie, amr, expires_at, at } => {
                self.user_id = Some(*user_id);
                self.expires_at = self.expires_at.max(*expires_at);
                self.proof.set(sequence, Some(Proof { cookie: *cookie, auth_time: *at, amr: amr.as_slice().into() }));
            }
            SessionEvent::Reauthenticated { cookie, amr, expires_at, at } => {
                self.expires_at = expires_at.map_or(self.expires_at, |expires_at| self.expires_at.max(expires_at));
                self.proof.set(sequence, Some(Proof { cookie: *cookie, auth_time: *at, amr: amr.as_slice().into() }));
                self.keep_until = self.keep_until.max(at.plus_seconds(ENDED_KEPT_SECONDS));
            }
            SessionEvent::Ended { at, .. } => {
                self.ended = true;
                self.keep_until = self.keep_until.max(at.plus_seconds(ENDED_KEPT_SECONDS));
            }
        }
    }

    fn refresh(&mut self, id: SessionId) {
        self.current = match (self.user_id, self.proof.get()) {
            (Some(user_id), Some(proof)) if !self.ended => {
                let Proof { cookie, auth_time, .. } = *proof;
                let (amr, expires_at) = (Arc::clone(&proof.amr), self.expires_at);
                Some(Arc::new(LiveSession { id, user_id, cookie, auth_time, amr, expires_at }))
            }
            _ => None,
        };
    }

    fn is_needed(&self, now: Timestamp) -> bool {
        let stands = self.user_id.is_some() && !self.ended;
        now < if stands { self.expires_at } else { self.keep_until }
    }
}

#[derive(Debug)]
pub(super) struct Sessions([RwLock<HashMap<SessionId, Entry>>; SHARDS]);

impl Default for Sessions {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl Sessions {
    pub(super) fn get(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.0[shard_of(id.0)].read().get(&id)?.current.clone()
    }

    /// Looks at all of them.
    pub(super) fn of_user(&self, user_id: UserId) -> Vec<Arc<LiveSession>> {
        let mut found = Vec::new();
        for shard in &self.0 {
            let shard = shard.read();
            let own = shard.values().filter(|entry| entry.user_id == Some(user_id));
            found.extend(own.filter_map(|entry| entry.current.clone()));
        }
        found
    }

    pub(super) fn apply(&self, id: SessionId, sequence: i64, event: &SessionEvent) {
        self.change(id, |entry| entry.apply(sequence, event));
    }

    pub(super) fn load(&self, session: &LiveSession, sequence: i64) {
        self.change(session.id, |entry| {
            entry.user_id = Some(session.user_id);
            entry.expires_at = entry.expires_at.max(session.expires_at);
            entry.proof.set(
                sequence,
                Some(Proof { cookie: session.cookie, auth_time: session.auth_time, amr: Arc::clone(&session.amr) }),
            );
        });
    }

    pub(super) fn quarantine(&self, id: SessionId) {
        self.change(id, |entry| {
            entry.ended = true;
            entry.keep_until = Timestamp(i64::MAX);
        });
    }

    fn change(&self, id: SessionId, change: impl FnOnce(&mut Entry)) {
        let mut shard = self.0[shard_of(id.0)].write();
        let entry = shard.entry(id).or_default();
        change(entry);
        entry.refresh(id);
    }

    pub(super) fn sweep(&self, shard: usize, now: Timestamp) {
        self.0[shard].write().retain(|_, entry| entry.is_needed(now));
    }

    /// Every session that is found and has not expired, by id.
    pub(super) fn all(&self, now: Timestamp) -> Vec<Arc<LiveSession>> {
        let mut all = Vec::new();
        for shard in &self.0 {
            all.extend(shard.read().values().filter_map(|entry| entry.current.clone()));
        }
        all.retain(|session| now < session.expires_at);
        all.sort_unstable_by_key(|session| session.id);
        all
    }
}
