//! Digests of what people were shown, each kept once: all who allow a client the same have the same one.

use std::collections::HashSet;
use std::sync::Arc;

use grantlog_domain::grant::ConsentDigest;
use parking_lot::RwLock;

#[derive(Debug, Default)]
pub(super) struct Digests(RwLock<HashSet<Arc<ConsentDigest>>>);

impl Digests {
    pub(super) fn share(&self, digest: &ConsentDigest) -> Arc<ConsentDigest> {
        if let Some(shared) = self.0.read().get(digest) {
            return Arc::clone(shared);
        }
        let mut digests = self.0.write();
        if let Some(shared) = digests.get(digest) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(*digest);
        digests.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets those that no grant has any more.
    pub(super) fn sweep(&self) {
        self.0.write().retain(|shared| Arc::strong_count(shared) > 1);
    }
}
