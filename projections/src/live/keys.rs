//! Signing keys: what the key set publishes (RFC 7517 5) and which key signs.

use std::collections::BTreeMap;
use std::sync::Arc;

use grantlog_domain::signing_key::{Algorithm, SigningKeyEvent, Stage};
use grantlog_domain::{KeyId, Timestamp};
use parking_lot::RwLock;
use serde_json::{Map, Value};

/// A published key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveKey {
    pub id: KeyId,
    pub algorithm: Algorithm,
    /// The public JWK (RFC 7517 4).
    pub public_jwk: Map<String, Value>,
    /// Created, Active or Retired.
    pub stage: Stage,
    pub created_at: Timestamp,
}

#[derive(Debug, Default)]
struct Entry {
    created: Option<(Algorithm, Map<String, Value>, Timestamp)>,
    /// Only goes forward, whatever the order of arrival.
    stage: Stage,
    quarantined: bool,
}

#[derive(Debug, Default)]
pub(super) struct Keys(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<KeyId, Entry>,
    published: Arc<[LiveKey]>,
}

impl Inner {
    fn change(&mut self, id: &KeyId, change: impl FnOnce(&mut Entry)) {
        change(self.entries.entry(id.clone()).or_default());
        let mut published: Vec<LiveKey> = self.entries.iter().filter_map(|(id, entry)| entry.view(id)).collect();
        published.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        self.published = published.into();
    }
}

impl Entry {
    fn view(&self, id: &KeyId) -> Option<LiveKey> {
        let (algorithm, public_jwk, created_at) = self.created.as_ref()?;
        if self.quarantined || self.stage == Stage::Revoked {
            return None;
        }
        Some(LiveKey {
            id: id.clone(),
            algorithm: *algorithm,
            public_jwk: public_jwk.clone(),
            stage: self.stage,
            created_at: *created_at,
        })
    }

    fn advance(&mut self, stage: Stage) {
        if rank(stage) > rank(self.stage) {
            self.stage = stage;
        }
    }
}

const fn rank(stage: Stage) -> u8 {
    match stage {
        Stage::Absent => 0,
        Stage::Created => 1,
        Stage::Active => 2,
        Stage::Retired => 3,
        Stage::Revoked => 4,
    }
}

impl Keys {
    /// The newest first.
    pub(super) fn published(&self) -> Arc<[LiveKey]> {
        Arc::clone(&self.0.read().published)
    }

    pub(super) fn apply(&self, id: &KeyId, event: &SigningKeyEvent) {
        self.0.write().change(id, |entry| match event {
            SigningKeyEvent::Created { alg, public_jwk, at } => {
                entry.created = Some((*alg, public_jwk.clone(), *at));
                entry.advance(Stage::Created);
            }
            SigningKeyEvent::Activated { .. } => entry.advance(Stage::Active),
            SigningKeyEvent::Retired { .. } => entry.advance(Stage::Retired),
            SigningKeyEvent::Revoked { .. } => entry.advance(Stage::Revoked),
        });
    }

    pub(super) fn load(&self, key: LiveKey) {
        self.0.write().change(&key.id, |entry| {
            entry.created = Some((key.algorithm, key.public_jwk, key.created_at));
            entry.advance(key.stage);
        });
    }

    pub(super) fn quarantine(&self, id: &KeyId) {
        self.0.write().change(id, |entry| entry.quarantined = true);
    }
}
