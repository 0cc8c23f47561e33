//! Users: whether a token may speak for one, and which living grants hold their consent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantlog_domain::user::{Stage, UserEvent};
use grantlog_domain::{GrantId, UserId};
use parking_lot::{Mutex, RwLock};

use super::newest::Newest;

/// A registered user. Names and claims are in the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveUser {
    /// May not sign in, and no token speaks for them.
    pub disabled: bool,
    /// Gone for ever; implies disabled.
    pub erased: bool,
}

/// What grants hold on to.
#[derive(Debug)]
pub(super) struct UserCell {
    pub(super) id: UserId,
    usable: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: Newest<Stage>,
    erased: bool,
    quarantined: bool,
    /// Sequence of the newest change of the profile that this process saw.
    profile_version: i64,
    /// Grants that the user allowed on the consent page, in the order of their ids, which is that of time.
    consents: Vec<GrantId>,
}

impl State {
    fn view(&self) -> Option<LiveUser> {
        if self.erased {
            return Some(LiveUser { disabled: true, erased: true });
        }
        match self.stage.get() {
            Stage::Absent => None,
            Stage::Enabled => Some(LiveUser { disabled: self.quarantined, erased: false }),
            Stage::Disabled | Stage::Erased => Some(LiveUser { disabled: true, erased: false }),
        }
    }
}

impl UserCell {
    pub(super) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    pub(super) fn add_consent(&self, grant: GrantId) {
        let consents = &mut self.state.lock().consents;
        if let Err(at) = consents.binary_search(&grant) {
            consents.insert(at, grant);
        }
    }

    pub(super) fn remove_consent(&self, grant: GrantId) {
        let consents = &mut self.state.lock().consents;
        if let Ok(at) = consents.binary_search(&grant) {
            consents.remove(at);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        self.usable.store(state.view().is_some_and(|user| !user.disabled), Ordering::Release);
    }
}

#[derive(Debug, Default)]
pub(super) struct Users(RwLock<HashMap<UserId, Arc<UserCell>>>);

impl Users {
    pub(super) fn profile_version(&self, id: UserId) -> i64 {
        self.0.read().get(&id).map_or(0, |cell| cell.state.lock().profile_version)
    }

    pub(super) fn get(&self, id: UserId) -> Option<LiveUser> {
        self.0.read().get(&id)?.state.lock().view()
    }

    /// The user's newest grants of the consent page, at most `most`, the newest first.
    pub(super) fn consents(&self, id: UserId, most: usize) -> Vec<GrantId> {
        let users = self.0.read();
        let Some(cell) = users.get(&id) else { return Vec::new() };
        cell.state.lock().consents.iter().rev().take(most).copied().collect()
    }

    /// The cell of a user, known or not yet.
    pub(super) fn cell(&self, id: UserId) -> Arc<UserCell> {
        if let Some(cell) = self.0.read().get(&id) {
            return Arc::clone(cell);
        }
        let new = || Arc::new(UserCell { id, usable: AtomicBool::new(false), state: Mutex::default() });
        Arc::clone(self.0.write().entry(id).or_insert_with(new))
    }

    pub(super) fn apply(&self, id: UserId, sequence: i64, event: &UserEvent) {
        let stage = match event {
            UserEvent::Registered { .. } | UserEvent::Enabled { .. } => Stage::Enabled,
            UserEvent::Disabled { .. } => Stage::Disabled,
            UserEvent::Erased { .. } => Stage::Erased,
            UserEvent::ProfileChanged { .. } => {
                return self.cell(id).change(|state| state.profile_version = state.profile_version.max(sequence));
            }
            UserEvent::CredentialChanged { .. } => return,
        };
        self.load(id, sequence, stage);
    }

    pub(super) fn load(&self, id: UserId, sequence: i64, stage: Stage) {
        self.cell(id).change(|state| {
            state.erased |= stage == Stage::Erased;
            state.stage.set(sequence, stage);
        });
    }

    pub(super) fn quarantine(&self, id: UserId) {
        self.cell(id).change(|state| state.quarantined = true);
    }

    /// Every user that is found, by id.
    pub(super) fn all(&self) -> Vec<(UserId, LiveUser)> {
        let mut all: Vec<_> =
            self.0.read().values().filter_map(|cell| cell.state.lock().view().map(|user| (cell.id, user))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}
