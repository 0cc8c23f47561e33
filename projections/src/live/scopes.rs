//! Scopes, each kept once however many tokens have it.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use grantlog_domain::Scope;
use parking_lot::RwLock;

/// A scope with its text (RFC 6749 3.3), so that an answer need not build it.
#[derive(Debug, PartialEq, Eq)]
pub struct LiveScope {
    pub scope: Scope,
    pub text: String,
}

impl Deref for LiveScope {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Shared(Arc<LiveScope>);

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.scope.hash(state);
    }
}

impl Borrow<Scope> for Shared {
    fn borrow(&self) -> &Scope {
        &self.0.scope
    }
}

#[derive(Debug, Default)]
pub(super) struct Scopes(RwLock<HashSet<Shared>>);

impl Scopes {
    pub(super) fn share(&self, scope: &Scope) -> Arc<LiveScope> {
        if let Some(shared) = self.0.read().get(scope) {
            return Arc::clone(&shared.0);
        }
        let mut scopes = self.0.write();
        if let Some(shared) = scopes.get(scope) {
            return Arc::clone(&shared.0);
        }
        let shared = Arc::new(LiveScope { scope: scope.clone(), text: scope.to_string() });
        scopes.insert(Shared(Arc::clone(&shared)));
        shared
    }

    /// Forgets scopes that no token has any more; clients can name any number of different ones.
    pub(super) fn sweep(&self) {
        self.0.write().retain(|shared| Arc::strong_count(&shared.0) > 1);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.read().len()
    }
}
