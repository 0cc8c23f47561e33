//! The scope words that this server knows: RFC 6749 3.3, OpenID Connect Core 3.1.2.1, 5.4 and 11.
//!
//! Those of OpenID Connect mean something to the server itself; what any other word means, is between clients and their APIs.
//! A word is known where the settings or the client's own registration have it. What other clients registered is theirs,
//! and nobody finds out about it by asking.

use grantlog_domain::client::ClientMetadata;
use grantlog_domain::{OFFLINE_ACCESS, Scope, UserId};

use crate::app::App;
use crate::oidc::claims::CLAIMS;
use crate::store::StoreError;
use crate::store::vault::VaultError;

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

/// Of `scope`, what this client is registered for now and this user may have (`oauth.user_scopes`).
///
/// # Errors
/// See [`of_user`].
pub async fn allowed(app: &App, scope: &Scope, client: &ClientMetadata, user_id: UserId) -> Result<Scope, StoreError> {
    of_user(app, &scope.filtered(|word| client.scope.contains(word)), user_id).await
}

/// Of `scope`, what this user may have (`oauth.user_scopes`).
///
/// # Errors
/// When the names cannot be looked up. Nothing is, as long as the scope has no word that is for some users only.
pub async fn of_user(app: &App, scope: &Scope, user_id: UserId) -> Result<Scope, StoreError> {
    let mut withheld = Vec::new();
    for rule in app.settings.oauth.user_scopes.iter().filter(|rule| scope.contains(&rule.scope)) {
        if !is_named(app, &rule.names, user_id).await? {
            withheld.push(rule.scope.as_str());
        }
    }
    Ok(scope.filtered(|word| !withheld.contains(&word)))
}

/// Whether it depends on the user how much of `scope` may be given.
#[must_use]
pub fn depends_on_user(app: &App, scope: &Scope) -> bool {
    app.settings.oauth.user_scopes.iter().any(|rule| scope.contains(&rule.scope))
}

async fn is_named(app: &App, names: &[String], user_id: UserId) -> Result<bool, StoreError> {
    for name in names {
        match app.vault.find(name).await {
            Ok(named) if named == Some(user_id) => return Ok(true),
            Err(VaultError::Database(error)) => return Err(error.into()),
            // Somebody else, nobody, or no name that anybody could have.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(false)
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
