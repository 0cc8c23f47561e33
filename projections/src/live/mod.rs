//! Live models: what the hot paths ask, in memory. Introspection (RFC 7662), client authentication, sessions, keys.
//!
//! A model is loaded from the tables, catches up with the log through the eager feed, and is told of this process's own
//! appends at once. Every change commutes, so it does not matter in which order or how often an event arrives; what
//! ended stays ended. Nothing here permits a change of state: that is decided on the aggregate.

mod clients;
mod digests;
mod entry;
mod follow;
mod grants;
mod keys;
mod load;
mod newest;
mod scopes;
mod sessions;
mod streams;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use grantlog_domain::grant::ConsentDigest;
use grantlog_domain::{ClientId, Event, GrantId, KeyId, Recorded, Scope, SecretHash, SessionId, Timestamp, UserId};
use uuid::Uuid;

pub use clients::LiveClient;
pub use follow::{FeedStatus, FollowOptions, Follower, Now};
pub use grants::LiveToken;
pub use keys::LiveKey;
pub use scopes::LiveScope;
pub use sessions::LiveSession;
pub use users::LiveUser;

use follow::Status;
use grants::Around;

/// Seconds for which something that ended stays in memory, so that a late event cannot bring it back.
const ENDED_KEPT_SECONDS: i64 = 3600;

/// Most grants of a user that are looked at for an earlier consent.
pub const CONSENTS_MAX: usize = 256;

/// Parts of the large models, each with its own lock.
const SHARDS: usize = 1024;

/// The random end of a UUID version 7 spreads evenly.
const fn shard_of(id: Uuid) -> usize {
    let id = id.as_bytes();
    u16::from_be_bytes([id[14], id[15]]) as usize % SHARDS
}

/// What a user may have allowed before.
#[derive(Clone, Copy, Debug)]
pub struct Consented<'a> {
    pub client: ClientId,
    /// What they saw; `None`: whatever it was.
    pub shown: Option<&'a ConsentDigest>,
    pub scope: &'a Scope,
    /// By name, beside those that the scope opens.
    pub claims: &'a [&'a str],
}

/// The live models. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    clients: clients::Clients,
    users: users::Users,
    sessions: sessions::Sessions,
    grants: grants::Grants,
    keys: keys::Keys,
    scopes: scopes::Scopes,
    digests: digests::Digests,
    status: Status,
    swept: AtomicUsize,
}

impl Live {
    /// Empty models; see [`Live::load`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The registration of a client, enabled or not; `None` for one that is unknown, deleted or quarantined.
    #[must_use]
    pub fn client(&self, id: ClientId) -> Option<Arc<LiveClient>> {
        self.0.clients.get(id)
    }

    /// Every client that is found, by id.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<LiveClient>> {
        self.0.clients.all()
    }

    /// Whether a grant of that client is in memory, living or ended lately. Never no for one that lives.
    #[must_use]
    pub fn has_grants(&self, id: ClientId) -> bool {
        self.0.clients.has_grants(id)
    }

    /// How many clients there are that registered themselves and for which nobody answers.
    #[must_use]
    pub fn registered_themselves(&self) -> usize {
        self.0.clients.registered_themselves()
    }

    #[must_use]
    pub fn user(&self, id: UserId) -> Option<LiveUser> {
        self.0.users.get(id)
    }

    /// Changes when the user's profile does; tells whether what was read from the vault before is still right. Of this
    /// process only.
    #[must_use]
    pub fn profile_version(&self, id: UserId) -> i64 {
        self.0.users.profile_version(id)
    }

    /// A session that has not ended. The caller compares the cookie's hash and the expiry.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.0.sessions.get(id)
    }

    /// The user's sessions that have not ended, in no order. Takes as long as there are sessions, so nothing that is asked
    /// often rests on it.
    #[must_use]
    pub fn sessions_of(&self, user_id: UserId) -> Vec<Arc<LiveSession>> {
        self.0.sessions.of_user(user_id)
    }

    /// RFC 7662 2.2: the token if it is active at `now`. That is: issued here, neither expired nor revoked, its grant
    /// neither revoked nor quarantined, its client known and enabled, its user (if any) known and enabled. Its scope is what
    /// the client may still have of it.
    #[must_use]
    pub fn introspect(&self, grant: GrantId, token: &SecretHash, now: Timestamp) -> Option<LiveToken> {
        self.0.grants.introspect(&self.0.scopes, grant, token, now)
    }

    /// The published signing keys (RFC 7517 5), the newest first.
    #[must_use]
    pub fn keys(&self) -> Arc<[LiveKey]> {
        self.0.keys.published()
    }

    /// Whether the user has allowed all of that on the consent page, in grants that still stand. Looks at the user's newest
    /// [`CONSENTS_MAX`] grants; what is older has to be allowed again.
    #[must_use]
    pub fn has_consented(&self, user: UserId, asked: &Consented<'_>, now: Timestamp) -> bool {
        let mut allowed = Scope::default();
        let mut missing = asked.claims.to_vec();
        for grant in self.0.users.consents(user, CONSENTS_MAX) {
            let Some(consent) = self.0.grants.consent(grant, asked.client, now) else { continue };
            if asked.shown.is_some() && asked.shown != consent.shown.as_deref() {
                continue;
            }
            if let Some(named) = consent.claims {
                missing.retain(|claim| !named.names(claim));
            }
            // Nearly always the newest one has all of it.
            if missing.is_empty() && asked.scope.is_subset_of(&consent.scope.scope) {
                return true;
            }
            allowed = allowed.union(&consent.scope.scope);
            if missing.is_empty() && asked.scope.is_subset_of(&allowed) {
                return true;
            }
        }
        false
    }

    /// How long ago the log was last read to its end. Past the setting `max_staleness` a caller must not rely on this
    /// model saying that something is active.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        self.0.status.staleness()
    }

    /// Where the feed stands, for metrics and health.
    #[must_use]
    pub fn feed_status(&self) -> FeedStatus {
        self.0.status.read()
    }

    /// Access tokens in memory, some of which may have expired. Walks over all of them.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.0.grants.tokens()
    }

    /// Takes in one event: of this process, or of the feed; again or out of order makes no difference.
    pub fn apply(&self, recorded: &Recorded) {
        self.apply_event(&recorded.aggregate_id, recorded.sequence, &recorded.event);
    }

    fn apply_event(&self, aggregate_id: &str, sequence: i64, event: &Event) {
        let inner = &*self.0;
        if let Event::SigningKey(event) = event {
            inner.keys.apply(&KeyId(aggregate_id.to_owned()), event);
            return;
        }
        let Ok(id) = Uuid::try_parse(aggregate_id) else {
            tracing::warn!(aggregate_id, "an event's aggregate id is not a UUID");
            return;
        };
        match event {
            Event::Client(event) => inner.clients.apply(&inner.users, ClientId(id), sequence, event),
            Event::User(event) => inner.users.apply(UserId(id), sequence, event),
            Event::Session(event) => inner.sessions.apply(SessionId(id), sequence, event),
            Event::Grant(event) => inner.grants.apply(&inner.around(), GrantId(id), sequence, event),
            Event::SigningKey(_) => {}
        }
    }

    /// Takes in events that this process has appended and knows to be committed; the feed then leaves them out.
    pub fn apply_own(&self, events: &[Recorded]) {
        for event in events {
            self.apply(event);
        }
        self.0.status.own(events.iter().map(|event| event.position));
    }

    /// An aggregate whose events cannot be read counts as disabled, ended or revoked, for as long as this process runs.
    pub fn quarantine(&self, aggregate_type: &str, aggregate_id: &str) {
        let inner = &*self.0;
        if aggregate_type == "signing_key" {
            inner.keys.quarantine(&KeyId(aggregate_id.to_owned()));
            return;
        }
        let Ok(id) = Uuid::try_parse(aggregate_id) else { return };
        match aggregate_type {
            "client" => inner.clients.quarantine(ClientId(id)),
            "user" => inner.users.quarantine(UserId(id)),
            "session" => inner.sessions.quarantine(SessionId(id)),
            "grant" => inner.grants.quarantine(GrantId(id)),
            _ => {}
        }
    }

    /// Forgets what has expired, in the next part of the models: a bounded step, to be called again and again.
    pub fn sweep(&self, now: Timestamp) {
        let inner = &*self.0;
        let shard = inner.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        inner.sessions.sweep(shard, now);
        inner.grants.sweep(shard, now);
        if shard == 0 {
            inner.scopes.sweep();
            inner.digests.sweep();
            inner.clients.sweep(now);
        }
    }

    /// All that stands at `now`, one line each in a fixed order: two models are equal when their descriptions are.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> Vec<String> {
        let inner = &*self.0;
        let mut all: Vec<String> = inner.clients.all().iter().map(|client| format!("{client:?}")).collect();
        all.extend(inner.users.all().iter().map(|user| format!("{user:?}")));
        all.extend(inner.sessions.all(now).iter().map(|session| format!("{session:?}")));
        all.extend(inner.keys.published().iter().map(|key| format!("{key:?}")));
        all.extend(inner.grants.describe(now));
        all
    }
}

impl Inner {
    fn around(&self) -> Around<'_> {
        Around { clients: &self.clients, users: &self.users, scopes: &self.scopes, digests: &self.digests }
    }
}
