//! Clients: all that a request needs to know of one (RFC 6749 2).
//!
//! Each fact keeps the sequence of the event that told it and yields only to a newer one, so the order of arrival does
//! not matter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantlog_domain::client::{Author, ClientEvent, ClientMetadata, vouch};
use grantlog_domain::{ClientId, SecretHash, Timestamp, UserId};
use parking_lot::RwLock;

use super::newest::Newest;
use super::scopes::{LiveScope, Scopes};

/// A registered client; one that was deleted or is quarantined is not found at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveClient {
    pub id: ClientId,
    pub metadata: ClientMetadata,
    /// Absent for public clients.
    pub secret: Option<SecretHash>,
    /// Absent when an operator made it.
    pub owner: Option<UserId>,
    pub author: Author,
    /// An operator answered for it later, and nobody else has changed it since.
    pub vouched: bool,
    /// `None` while it is enabled.
    pub disabled_by: Option<Author>,
    pub created_at: Timestamp,
}

impl LiveClient {
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.disabled_by.is_none()
    }

    /// Whether an operator answers for the client: made it, let it in, or looked at it as it is now.
    #[must_use]
    pub const fn is_vouched(&self) -> bool {
        self.author.vouches() || self.vouched
    }
}

/// What grants hold on to: whether their client may be served, without a second look-up.
#[derive(Debug)]
pub(super) struct ClientCell {
    pub(super) id: ClientId,
    usable: AtomicBool,
    pairwise: AtomicBool,
    /// It is not as it was registered, so its scope may be narrower than it was.
    changed: AtomicBool,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Owner, author and time of registration; written once.
    registered: Option<(Option<UserId>, Author, Timestamp)>,
    metadata: Newest<Option<ClientMetadata>>,
    secret: Newest<Option<SecretHash>>,
    vouched: Newest<bool>,
    disabled_by: Newest<Option<Author>>,
    /// For ever.
    deleted: bool,
    quarantined: bool,
    current: Option<Arc<LiveClient>>,
}

impl ClientCell {
    pub(super) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    /// OpenID Connect Core 8.1.
    pub(super) fn is_pairwise(&self) -> bool {
        self.pairwise.load(Ordering::Acquire)
    }

    /// What is left of the scope of a token: what the client may still have now. Nothing when nothing is left.
    pub(super) fn left_of(&self, scope: &Arc<LiveScope>, scopes: &Scopes) -> Option<Arc<LiveScope>> {
        // Most clients never change, and then there is nothing to compare.
        if !self.changed.load(Ordering::Acquire) {
            return Some(Arc::clone(scope));
        }
        let state = self.state.read();
        let now = &state.current.as_ref()?.metadata.scope;
        if scope.is_subset_of(now) {
            return Some(Arc::clone(scope));
        }
        scope.left_within(now).map(|left| scopes.share(&left))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.write();
        change(&mut state);
        state.current = state.view(self.id).map(Arc::new);
        let pairwise = state.current.as_ref().is_some_and(|client| client.metadata.openid.is_pairwise());
        self.pairwise.store(pairwise, Ordering::Release);
        self.changed.store(state.metadata.sequence() > 1, Ordering::Release);
        self.usable.store(state.current.as_ref().is_some_and(|client| client.is_enabled()), Ordering::Release);
    }
}

impl State {
    fn view(&self, id: ClientId) -> Option<LiveClient> {
        let (owner, author, created_at) = self.registered?;
        let metadata = self.metadata.get().clone()?;
        let known = !self.deleted && !self.quarantined;
        known.then(|| LiveClient {
            id,
            metadata,
            secret: *self.secret.get(),
            owner,
            author,
            vouched: *self.vouched.get(),
            disabled_by: *self.disabled_by.get(),
            created_at,
        })
    }

    fn apply(&mut self, sequence: i64, event: &ClientEvent) {
        match event {
            ClientEvent::Registered { metadata, secret, owner, registration_access_token, by, at } => {
                let author = Author::of_registration(*by, owner.is_some(), registration_access_token.is_some());
                self.registered = Some((*owner, author, *at));
                self.metadata.set(sequence, Some(metadata.clone()));
                self.secret.set(sequence, *secret);
            }
            ClientEvent::Updated { metadata, vouched, by, .. } => {
                self.metadata.set(sequence, Some(metadata.clone()));
                if let Some(vouched) = vouch(*vouched, *by) {
                    self.vouched.set(sequence, vouched);
                }
            }
            ClientEvent::SecretRotated { secret, .. } => self.secret.set(sequence, Some(*secret)),
            ClientEvent::Disabled { by, .. } => self.disabled_by.set(sequence, Some(Author::of_change(*by))),
            ClientEvent::Enabled { .. } => self.disabled_by.set(sequence, None),
            ClientEvent::Deleted { .. } => self.deleted = true,
        }
    }
}

/// A client as its table has it.
pub(super) struct Stored {
    pub(super) client: LiveClient,
    pub(super) deleted: bool,
    pub(super) sequence: i64,
}

#[derive(Debug, Default)]
pub(super) struct Clients(RwLock<HashMap<ClientId, Arc<ClientCell>>>);

impl Clients {
    pub(super) fn get(&self, id: ClientId) -> Option<Arc<LiveClient>> {
        self.0.read().get(&id)?.state.read().current.clone()
    }

    /// The cell of a client, known or not yet.
    pub(super) fn cell(&self, id: ClientId) -> Arc<ClientCell> {
        if let Some(cell) = self.0.read().get(&id) {
            return Arc::clone(cell);
        }
        let new = || {
            let [usable, pairwise, changed] = [const { AtomicBool::new(false) }; 3];
            Arc::new(ClientCell { id, usable, pairwise, changed, state: RwLock::default() })
        };
        Arc::clone(self.0.write().entry(id).or_insert_with(new))
    }

    pub(super) fn apply(&self, id: ClientId, sequence: i64, event: &ClientEvent) {
        self.cell(id).change(|state| state.apply(sequence, event));
    }

    pub(super) fn quarantine(&self, id: ClientId) {
        self.cell(id).change(|state| state.quarantined = true);
    }

    pub(super) fn load(&self, stored: Stored) {
        let Stored { client, deleted, sequence } = stored;
        self.cell(client.id).change(|state| {
            state.registered = Some((client.owner, client.author, client.created_at));
            state.metadata.set(sequence, Some(client.metadata));
            state.secret.set(sequence, client.secret);
            state.vouched.set(sequence, client.vouched);
            state.disabled_by.set(sequence, client.disabled_by);
            state.deleted |= deleted;
        });
    }

    /// Every client that is found, by id.
    pub(super) fn all(&self) -> Vec<Arc<LiveClient>> {
        let mut all: Vec<_> = self.0.read().values().filter_map(|cell| cell.state.read().current.clone()).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }
}
