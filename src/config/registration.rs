//! Who may register clients over HTTP, and as what (RFC 7591 1.2, 3).

use super::layers::{ConfigError, Value, Values};
use super::{
    ErrorRedirects, InitialAccessToken, RegistrationMode, RegistrationSettings, count, flag, number, parsed, text,
};
use crate::secrets::Secret;
use grantlog_domain::Scope;

/// Shortest token of the settings, in characters: what a program makes at random is longer.
const TOKEN_CHARS_MIN: usize = 32;
/// Longest name of one, in characters.
const NAME_CHARS_MAX: usize = 32;

/// Registrations in an hour from one address in a demo: all of a client's tests come from this machine.
const DEMO_PER_ADDRESS: u32 = 1000;

const PER_ADDRESS: &str = "registration.per_address";
const DEFAULT_SCOPE: &str = "registration.default_scope";
const SCOPE: &str = "a scope (RFC 6749 3.3)";
const TOKENS: &str = "registration.initial_access_tokens";

pub(super) fn read(values: &Values) -> Result<RegistrationSettings, ConfigError> {
    let Value::List(items) = values.value(TOKENS) else { unreachable!("a list by its kind") };
    let tokens = items.iter().map(|item| token(item)).collect::<Result<Vec<_>, _>>();
    let initial_access_tokens = tokens.map_err(|reason| values.refuse(TOKENS, reason))?;
    let mode = match text(values, "registration.mode") {
        _ if flag(values, "demo") => RegistrationMode::Open,
        "open" => RegistrationMode::Open,
        "token" if initial_access_tokens.is_empty() => {
            return Err(values.refuse("registration.mode", format!("{TOKENS} must name one at least")));
        }
        "token" => RegistrationMode::Token,
        _ => RegistrationMode::Off,
    };
    let scope: Scope = parsed(values, "registration.scope", SCOPE)?;
    let default_scope: Scope = match flag(values, "demo") && !values.is_given(DEFAULT_SCOPE) {
        true => scope.clone(),
        false => parsed(values, DEFAULT_SCOPE, SCOPE)?,
    };
    if values.is_given(DEFAULT_SCOPE) && !default_scope.is_subset_of(&scope) {
        return Err(values.refuse(DEFAULT_SCOPE, "must be within registration.scope".to_owned()));
    }
    let per_address = number(values, PER_ADDRESS);
    let is_tried = flag(values, "demo") && !values.is_given(PER_ADDRESS);
    Ok(RegistrationSettings {
        mode,
        initial_access_tokens,
        scope,
        default_scope,
        per_address: if is_tried { DEMO_PER_ADDRESS } else { per_address },
        per_hour: number(values, "registration.per_hour"),
        error_redirects: match text(values, "registration.error_redirects") {
            "follow" => ErrorRedirects::Follow,
            _ => ErrorRedirects::Ask,
        },
        unused_days: number(values, "registration.unused_days"),
        clients_max: count(values, "registration.clients_max"),
    })
}

/// Reads `NAME:TOKEN`; the error repeats nothing of it.
fn token(item: &str) -> Result<InitialAccessToken, &'static str> {
    let (name, token) = item.trim().split_once(':').ok_or("must be NAME:TOKEN")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(plain) {
        return Err("a name has 1 to 32 letters, digits, hyphens and underscores");
    }
    Ok(InitialAccessToken { name: name.to_owned(), token: Secret::new(bearer_token(token)?.to_owned()) })
}

/// Whether that can stand behind `Bearer` (RFC 6750 2.1), and nobody guesses it.
pub(super) fn bearer_token(text: &str) -> Result<&str, &'static str> {
    let bearer = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if text.len() >= TOKEN_CHARS_MIN && text.bytes().all(bearer) {
        return Ok(text);
    }
    Err("a token has at least 32 characters, those of RFC 6750 2.1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    const TOKEN: &str = "ci:0123456789abcdef0123456789abcdef";

    fn settings(flags: &[(&str, &str)]) -> Result<RegistrationSettings, ConfigError> {
        Settings::with(flags).map(|settings| settings.registration)
    }

    #[test]
    fn nobody_registers_unless_it_is_said_who_may() {
        assert_eq!(settings(&[]).unwrap().mode, RegistrationMode::Off);
        assert_eq!(settings(&[("demo", "true")]).unwrap().mode, RegistrationMode::Open);
        let refused = settings(&[("registration.mode", "token")]).unwrap_err().to_string();
        assert!(refused.contains(TOKENS), "{refused}");
        let read = settings(&[("registration.mode", "token"), (TOKENS, TOKEN)]).unwrap();
        assert_eq!((read.mode, read.initial_access_tokens[0].name.as_str()), (RegistrationMode::Token, "ci"));
    }

    #[test]
    fn in_a_demo_one_address_registers_more_unless_it_is_said_how_many() {
        let per_address = |flags: &[(&str, &str)]| settings(flags).unwrap().per_address;
        assert_eq!(per_address(&[]), 20);
        assert_eq!(per_address(&[("demo", "true")]), 1000);
        assert_eq!(per_address(&[("demo", "true"), (PER_ADDRESS, "20")]), 20);
    }

    #[test]
    fn who_names_no_scope_gets_the_default_and_in_a_demo_all() {
        let default = |flags: &[(&str, &str)]| settings(flags).map(|read| read.default_scope.to_string());
        assert_eq!(default(&[]).unwrap(), "email openid profile");
        assert_eq!(default(&[("demo", "true"), ("registration.scope", "openid phone")]).unwrap(), "openid phone");
        assert_eq!(default(&[("demo", "true"), (DEFAULT_SCOPE, "openid")]).unwrap(), "openid");
        assert!(default(&[("registration.scope", "openid")]).is_ok(), "the rest is left out");
        assert!(default(&[("registration.scope", "openid"), (DEFAULT_SCOPE, "email")]).is_err());
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused_and_none_is_printed() {
        for wrong in ["0123456789abcdef0123456789abcdef", "ci:short", ":0123456789abcdef0123456789abcdef", "c i:01"] {
            let refused = settings(&[(TOKENS, wrong)]).unwrap_err().to_string();
            assert!(!refused.contains(wrong.split(':').next_back().unwrap()), "{refused}");
        }
        assert!(!format!("{:?}", settings(&[(TOKENS, TOKEN)]).unwrap()).contains("0123456789"));
    }
}
