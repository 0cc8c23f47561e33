//! Clients: all that a request needs to know of one (RFC 6749 2).
//!
//! Each fact keeps the sequence of the event that told it and yields only to a newer one, so the order of arrival does
//! not matter. A client that was deleted leaves its cell empty, which nothing brings back, and the cell leaves an hour later.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use grantlog_domain::client::{Author, ClientEvent, ClientMetadata, vouch};
use grantlog_domain::{ClientId, SecretHash, Timestamp, UserId};
use parking_lot::{Mutex, RwLock};

use super::ENDED_KEPT_SECONDS;
use super::newest::Newest;
use super::scopes::{LiveScope, Scopes};
use super::users::{UserCell, Users};
use crate::tables::clients::ClientRow;

/// A registered client; one that was deleted or is quarantined is not found at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveClient {
    pub id: ClientId,
    pub metadata: Arc<ClientMetadata>,
    /// Absent for public clients.
    pub secret: Option<SecretHash>,
    /// Absent when an operator made it.
    pub owner: Option<UserId>,
    standing: Standing,
    pub author: Author,
    /// An operator answered for it later, and nobody else has changed it since.
    pub vouched: bool,
    /// `None` while it is enabled.
    pub disabled_by: Option<Author>,
    pub created_at: Timestamp,
}

impl LiveClient {
    /// Whether it may be served now: nobody has disabled it, nor the user who owns it.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.disabled_by.is_none() && self.standing.is_given()
    }

    /// Whether nobody but itself let it in (RFC 7591 3).
    #[must_use]
    pub fn registered_itself(&self) -> bool {
        self.author == Author::Anonymous && !self.vouched
    }

    /// Whether an operator answers for the client: made it, let it in, or looked at it as it is now.
    #[must_use]
    pub const fn is_vouched(&self) -> bool {
        self.author.vouches() || self.vouched
    }
}

/// Whether the owner stands, as it is when it is asked.
#[derive(Clone, Default)]
struct Standing(Option<Arc<UserCell>>);

impl Standing {
    fn is_given(&self) -> bool {
        self.0.as_ref().is_none_or(|owner| owner.is_usable())
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        self.is_given() == other.is_given()
    }
}

impl Eq for Standing {}

impl fmt::Debug for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Standing({})", self.is_given())
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
    /// Set with the registration, before it is usable.
    owner: OnceLock<Arc<UserCell>>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Owner, author and time of registration; written once.
    registered: Option<(Option<UserId>, Author, Timestamp)>,
    metadata: Newest<Option<Arc<ClientMetadata>>>,
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
        self.usable.load(Ordering::Acquire) && self.owner.get().is_none_or(|owner| owner.is_usable())
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

    fn owned_by(&self, users: &Users, owner: UserId) {
        self.owner.get_or_init(|| users.cell(owner));
    }

    /// Gives back whether it counts as one that registered itself, before and after.
    fn change(&self, change: impl FnOnce(&mut State)) -> (bool, bool) {
        let mut state = self.state.write();
        let before = state.registered_itself();
        change(&mut state);
        if state.deleted {
            *state = State { deleted: true, ..State::default() };
        }
        state.current = state.view(self.id, self.owner.get()).map(Arc::new);
        let pairwise = state.current.as_ref().is_some_and(|client| client.metadata.openid.is_pairwise());
        self.pairwise.store(pairwise, Ordering::Release);
        self.changed.store(state.metadata.sequence() > 1, Ordering::Release);
        self.usable.store(state.current.as_ref().is_some_and(|client| client.disabled_by.is_none()), Ordering::Release);
        (before, state.registered_itself())
    }
}

impl State {
    fn registered_itself(&self) -> bool {
        self.current.as_ref().is_some_and(|client| client.registered_itself())
    }

    fn view(&self, id: ClientId, owned_by: Option<&Arc<UserCell>>) -> Option<LiveClient> {
        let (owner, author, created_at) = self.registered?;
        let metadata = self.metadata.get().clone()?;
        let known = !self.deleted && !self.quarantined;
        known.then(|| LiveClient {
            id,
            metadata,
            secret: *self.secret.get(),
            owner,
            standing: Standing(owned_by.cloned()),
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
                self.metadata.set(sequence, Some(Arc::new(metadata.clone())));
                self.secret.set(sequence, *secret);
            }
            ClientEvent::Updated { metadata, vouched, by, .. } => {
                self.metadata.set(sequence, Some(Arc::new(metadata.clone())));
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

#[derive(Debug, Default)]
pub(super) struct Clients {
    cells: RwLock<HashMap<ClientId, Arc<ClientCell>>>,
    /// Those that were deleted, in the order in which this process heard of it.
    deleted: Mutex<VecDeque<(Timestamp, ClientId)>>,
    registered_themselves: AtomicUsize,
}

impl Clients {
    pub(super) fn get(&self, id: ClientId) -> Option<Arc<LiveClient>> {
        self.cells.read().get(&id)?.state.read().current.clone()
    }

    /// The cell of a client, known or not yet.
    pub(super) fn cell(&self, id: ClientId) -> Arc<ClientCell> {
        if let Some(cell) = self.cells.read().get(&id) {
            return Arc::clone(cell);
        }
        let new = || {
            let [usable, pairwise, changed] = [const { AtomicBool::new(false) }; 3];
            Arc::new(ClientCell { id, usable, pairwise, changed, owner: OnceLock::new(), state: RwLock::default() })
        };
        Arc::clone(self.cells.write().entry(id).or_insert_with(new))
    }

    pub(super) fn apply(&self, users: &Users, id: ClientId, sequence: i64, event: &ClientEvent) {
        let cell = self.cell(id);
        if let ClientEvent::Registered { owner: Some(owner), .. } = event {
            cell.owned_by(users, *owner);
        }
        self.count(cell.change(|state| state.apply(sequence, event)));
        if let ClientEvent::Deleted { at, .. } = event {
            self.deleted.lock().push_back((*at, id));
        }
    }

    fn count(&self, (before, after): (bool, bool)) {
        match (before, after) {
            (false, true) => self.registered_themselves.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.registered_themselves.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }

    /// Whether a grant of that client is in memory: each holds on to its cell.
    pub(super) fn has_grants(&self, id: ClientId) -> bool {
        self.cells.read().get(&id).is_some_and(|cell| Arc::strong_count(cell) > 1)
    }

    /// How many are in memory, deleted ones too.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.cells.read().len()
    }

    /// How many living ones registered themselves.
    pub(super) fn registered_themselves(&self) -> usize {
        self.registered_themselves.load(Ordering::Relaxed)
    }

    /// Forgets those that were deleted long enough ago: only what is new since the last time is looked at.
    pub(super) fn sweep(&self, now: Timestamp) {
        let mut deleted = self.deleted.lock();
        let is_old = |(at, _): &(Timestamp, ClientId)| now.seconds_since(*at) > ENDED_KEPT_SECONDS;
        let mut old = Vec::new();
        while deleted.front().is_some_and(is_old) {
            old.extend(deleted.pop_front().map(|(_, id)| id));
        }
        drop(deleted);
        if old.is_empty() {
            return;
        }
        let mut cells = self.cells.write();
        old.iter().for_each(|id| drop(cells.remove(id)));
        if cells.capacity() > 64 && cells.len() < cells.capacity() / 4 {
            cells.shrink_to_fit();
        }
    }

    pub(super) fn quarantine(&self, id: ClientId) {
        self.count(self.cell(id).change(|state| state.quarantined = true));
    }

    /// One that was deleted is gone: the log behind the tables, read to its end before anybody is answered, says so again.
    pub(super) fn load(&self, users: &Users, row: ClientRow) {
        if row.is_deleted() {
            return;
        }
        let cell = self.cell(row.client_id);
        if let Some(owner) = row.owner {
            cell.owned_by(users, owner);
        }
        self.count(cell.change(|state| {
            state.registered = Some((row.owner, row.author, row.created_at));
            state.metadata.set(row.sequence, Some(Arc::new(row.metadata)));
            state.secret.set(row.sequence, row.secret);
            state.vouched.set(row.sequence, row.vouched);
            state.disabled_by.set(row.sequence, row.disabled_by);
        }));
    }

    /// Every client that is found, by id.
    pub(super) fn all(&self) -> Vec<Arc<LiveClient>> {
        let mut all: Vec<_> = self.cells.read().values().filter_map(|cell| cell.state.read().current.clone()).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }
}
