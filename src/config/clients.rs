//! Who makes clients on the pages, and which scopes exist and for whom (RFC 6749 3.3).

use std::collections::HashSet;

use grantlog_domain::Scope;

use super::layers::{ConfigError, Value, Values};
use super::settings::UserScope;
use super::{ClientSettings, flag, number, parsed, text};
use crate::oauth::scopes;

/// Most names that one scope is for.
const NAMES_MAX: usize = 64;

const MADE_BY: &str = "clients.made_by";
const SCOPES: &str = "oauth.scopes";
const USER_SCOPES: &str = "oauth.user_scopes";

pub(super) fn read(values: &Values) -> Result<ClientSettings, ConfigError> {
    let is_tried = flag(values, "demo") && !values.is_given(MADE_BY);
    let user_scope = parsed(values, "clients.user_scope", "a scope (RFC 6749 3.3)")?;
    Ok(ClientSettings {
        made_by_users: is_tried || text(values, MADE_BY) == "users",
        user_scope,
        per_user: number(values, "clients.per_user"),
        per_user_hour: number(values, "clients.per_user_hour"),
    })
}

/// The scopes that may be registered at all, those of OpenID Connect among them; `None`: any.
pub(super) fn scopes(values: &Values) -> Result<Option<Scope>, ConfigError> {
    let words = list(values, SCOPES);
    if words.is_empty() {
        return Ok(None);
    }
    let known = scopes::supported().into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let known = Scope::parse(&known).map_err(|error| values.refuse(SCOPES, error.to_string()))?;
    for key in ["clients.user_scope", "registration.scope"] {
        let given: Scope = parsed(values, key, "a scope (RFC 6749 3.3)")?;
        if !given.is_subset_of(&known) {
            return Err(values.refuse(key, format!("must be among those of OpenID Connect and of {SCOPES}")));
        }
    }
    Ok(Some(known))
}

pub(super) fn user_scopes(values: &Values) -> Result<Vec<UserScope>, ConfigError> {
    let mut seen = HashSet::new();
    let read = |item: &String| {
        let (scope, names) = item.trim().split_once(": ").ok_or("must be SCOPE: NAME NAME")?;
        let scope = scope.trim().to_owned();
        let is_word = Scope::parse(&scope).is_ok_and(|parsed| parsed.tokens().count() == 1);
        if !is_word || scope == "openid" {
            return Err("needs one scope word, not openid, before the names");
        }
        let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
        if names.is_empty() || names.len() > NAMES_MAX {
            return Err("needs 1 to 64 names");
        }
        if !seen.insert(scope.clone()) {
            return Err("names a scope twice");
        }
        Ok(UserScope { scope, names })
    };
    let rules: Result<Vec<_>, _> = list(values, USER_SCOPES).iter().map(read).collect();
    rules.map_err(|reason| values.refuse(USER_SCOPES, reason))
}

fn list<'a>(values: &'a Values, key: &str) -> &'a [String] {
    match values.value(key) {
        Value::List(items) => items,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn users_make_clients_in_a_demo_or_where_it_is_said() {
        let by_users = |flags: &[(&str, &str)]| Settings::with(flags).unwrap().clients.made_by_users;
        assert!(!by_users(&[]));
        assert!(by_users(&[("clients.made_by", "users")]));
        assert!(by_users(&[("demo", "true")]));
        assert!(!by_users(&[("demo", "true"), ("clients.made_by", "nobody")]));
    }

    #[test]
    fn what_others_may_register_is_among_what_exists() {
        let scopes = |flags: &[(&str, &str)]| Settings::with(flags).map(|settings| settings.oauth.scopes);
        assert_eq!(scopes(&[]).unwrap(), None);
        let known = scopes(&[("oauth.scopes", "read,write")]).unwrap().unwrap();
        assert!(known.contains("read") && known.contains("openid") && !known.contains("admin"));
        for key in ["clients.user_scope", "registration.scope"] {
            let refused = scopes(&[("oauth.scopes", "read"), (key, "openid admin")]).unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
        }
        assert!(scopes(&[("oauth.scopes", "a\"b")]).is_err());
    }

    #[test]
    fn a_scope_is_for_those_who_are_named() {
        let rules = |text| Settings::with(&[("oauth.user_scopes", text)]).map(|settings| settings.oauth.user_scopes);
        let rules_of_two = rules("admin: ann ben, payments:write: ann").unwrap();
        let read: Vec<_> = rules_of_two.iter().map(|rule| (rule.scope.as_str(), rule.names.join(" "))).collect();
        assert_eq!(read, [("admin", "ann ben".to_owned()), ("payments:write", "ann".to_owned())]);
        for wrong in ["admin", "admin:", ": ann", "a b: ann", "openid: ann", "admin: ann,admin: ben"] {
            assert!(rules(wrong).is_err(), "{wrong}");
        }
    }
}
