//! The scope words that this server knows: RFC 6749 3.3, OpenID Connect Core 3.1.2.1, 5.4 and 11.
//!
//! Those of OpenID Connect mean something to the server itself; what any other word means, is between clients and their APIs.
//! A word is known where the settings or the client's own registration have it. What other clients registered is theirs,
//! and nobody finds out about it by asking.

use grantlog_domain::{OFFLINE_ACCESS, Scope};

use crate::oidc::claims::CLAIMS;

/// `scopes_supported` (RFC 8414 2).
#[must_use]
pub fn supported() -> Vec<&'static str> {
    let mut scopes = vec!["openid"];
    scopes.extend(CLAIMS.iter().map(|claim| claim.scope));
    scopes.dedup();
    scopes.push(OFFLINE_ACCESS);
    scopes
}

/// Without the words that are neither of OpenID Connect nor in one of these.
#[must_use]
pub fn known(scope: &Scope, others: &[&Scope]) -> Scope {
    let supported = supported();
    scope.filtered(|word| supported.contains(&word) || others.iter().any(|other| other.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_left_out() {
        let scope = |text| Scope::parse(text).expect("a scope");
        let known = known(&scope("openid email groups read admin"), &[&scope("read"), &scope("admin")]);
        assert_eq!(known, scope("openid email read admin"));
    }
}
