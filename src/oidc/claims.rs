//! Claims about a user: OpenID Connect Core 5.1 (names and types), 5.4 (which scope opens which) and 5.5 (asked by name).

use grantlog_domain::{Scope, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::store::vault::Profile;

/// Longest text of a claim, in bytes.
pub const CLAIM_BYTES_MAX: usize = 1000;

/// What a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// An http or https address.
    Url,
    Flag,
    /// A day, or a year.
    Birthdate,
    /// OpenID Connect Core 5.1.1.
    Address,
    /// Set by this server alone.
    Own,
}

/// A claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub name: &'static str,
    pub scope: &'static str,
    pub kind: Kind,
    /// For people, as the end of "see your ...".
    pub words: &'static str,
}

const fn claim(name: &'static str, scope: &'static str, kind: Kind, words: &'static str) -> Claim {
    Claim { name, scope, kind, words }
}

/// The claim that is kept apart from the others.
const USERNAME: &str = "preferred_username";

/// Every claim that this server knows.
pub const CLAIMS: &[Claim] = &[
    claim("name", "profile", Kind::Text, "full name"),
    claim("family_name", "profile", Kind::Text, "family name"),
    claim("given_name", "profile", Kind::Text, "given name"),
    claim("middle_name", "profile", Kind::Text, "middle name"),
    claim("nickname", "profile", Kind::Text, "nickname"),
    claim(USERNAME, "profile", Kind::Own, "user name"),
    claim("profile", "profile", Kind::Url, "profile page"),
    claim("picture", "profile", Kind::Url, "picture"),
    claim("website", "profile", Kind::Url, "website"),
    claim("gender", "profile", Kind::Text, "gender"),
    claim("birthdate", "profile", Kind::Birthdate, "date of birth"),
    claim("zoneinfo", "profile", Kind::Text, "time zone"),
    claim("locale", "profile", Kind::Text, "language"),
    claim("updated_at", "profile", Kind::Own, "last change of your profile"),
    claim("email", "email", Kind::Text, "e-mail address"),
    claim("email_verified", "email", Kind::Flag, "e-mail address’s verification"),
    claim("address", "address", Kind::Address, "postal address"),
    claim("phone_number", "phone", Kind::Text, "phone number"),
    claim("phone_number_verified", "phone", Kind::Flag, "phone number’s verification"),
];

/// The members of an address (OpenID Connect Core 5.1.1).
const ADDRESS: [&str; 6] = ["formatted", "street_address", "locality", "region", "postal_code", "country"];

/// A value does not fit its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("there is no claim of that name that can be set")]
    Unknown,
    #[error("this must be a text of at most {CLAIM_BYTES_MAX} bytes without control characters")]
    Text,
    #[error("this must be an http or https address")]
    Url,
    #[error("this must be true or false")]
    Flag,
    #[error("this must be YYYY-MM-DD, with the year 0000 if it is not to be told, or YYYY")]
    Birthdate,
    #[error(
        "an address is a text, or JSON with any of formatted, street_address, locality, region, postal_code, country"
    )]
    Address,
}

/// The value of a claim, as the profile has it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Held<'a> {
    Text(&'a str),
    Value(&'a Value),
}

impl From<Held<'_>> for Value {
    fn from(held: Held<'_>) -> Self {
        match held {
            Held::Text(text) => text.into(),
            Held::Value(value) => value.clone(),
        }
    }
}

/// The claims of a user that these scopes open (5.4), and those that were named (5.5).
pub fn opened<'a>(
    scope: &'a Scope,
    named: &'a [String],
    profile: &'a Profile,
) -> impl Iterator<Item = (&'static str, Held<'a>)> {
    let open = |claim: &Claim| scope.contains(claim.scope) || named.iter().any(|name| name == claim.name);
    let username = (USERNAME, Held::Text(&profile.username));
    let claims = profile.claims.iter().map(|(name, value)| (name.as_str(), Held::Value(value)));
    // Over what the user has, which is less than there is.
    std::iter::once(username).chain(claims).filter_map(move |(name, held)| {
        let claim = CLAIMS.iter().find(|claim| claim.name == name).filter(|claim| open(claim))?;
        Some((claim.name, held))
    })
}

/// The same, to be put into a token.
#[must_use]
pub fn opened_by(scope: &Scope, named: &[String], profile: &Profile) -> Map<String, Value> {
    opened(scope, named, profile).map(|(name, held)| (name.to_owned(), held.into())).collect()
}

/// The value of a claim.
#[must_use]
pub fn held<'a>(profile: &'a Profile, name: &str) -> Option<Held<'a>> {
    match name {
        USERNAME => Some(Held::Text(&profile.username)),
        name => profile.claims.get(name).map(Held::Value),
    }
}

/// The claims after `changes` (`None` takes one away), and the names of those that are different then. A new e-mail
/// address or phone number is not verified, unless the change says so.
#[must_use]
pub fn changed(
    before: &Map<String, Value>,
    changes: Vec<(String, Option<Value>)>,
    at: Timestamp,
) -> (Map<String, Value>, Vec<String>) {
    let mut after = before.clone();
    let mut changed = Vec::new();
    for (name, value) in changes {
        if after.get(&name) == value.as_ref() {
            continue;
        }
        let verified = format!("{name}_verified");
        match value {
            Some(value) => after.insert(name.clone(), value),
            None => after.remove(&name),
        };
        changed.push(name);
        if after.get(&verified) == before.get(&verified) && after.remove(&verified).is_some() {
            changed.push(verified);
        }
    }
    if !changed.is_empty() {
        after.insert("updated_at".to_owned(), at.0.into());
    }
    (after, changed)
}

/// The value of a claim as somebody typed it.
///
/// # Errors
/// See [`ClaimError`].
pub fn parse(name: &str, text: &str) -> Result<Value, ClaimError> {
    let claim = CLAIMS.iter().find(|claim| claim.name == name).ok_or(ClaimError::Unknown)?;
    match claim.kind {
        Kind::Own => Err(ClaimError::Unknown),
        Kind::Text => plain(text).ok_or(ClaimError::Text),
        Kind::Url => {
            let web = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
            plain(text).filter(|_| web).ok_or(ClaimError::Url)
        }
        Kind::Flag => text.parse::<bool>().map(Value::from).map_err(|_| ClaimError::Flag),
        Kind::Birthdate => birthdate(text.trim()).ok_or(ClaimError::Birthdate),
        Kind::Address => address(text).ok_or(ClaimError::Address),
    }
}

fn plain(text: &str) -> Option<Value> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= CLAIM_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.into())
}

/// As OpenID Connect Core 5.1 spells it.
fn birthdate(text: &str) -> Option<Value> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let day = || time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).is_ok();
    let year = || text.len() == 4 && text.parse::<u16>().is_ok();
    (plain && (year() || (text.len() == 10 && day()))).then(|| text.into())
}

/// JSON, or lines that are the `formatted` address.
fn address(text: &str) -> Option<Value> {
    let text = text.trim();
    if text.is_empty() || text.len() > CLAIM_BYTES_MAX {
        return None;
    }
    if !text.starts_with('{') {
        let formatted = text.replace("\r\n", "\n");
        let printable = !formatted.chars().any(|char| char.is_control() && char != '\n');
        return printable.then(|| Value::Object(Map::from_iter([("formatted".to_owned(), formatted.into())])));
    }
    let members: Map<String, Value> = serde_json::from_str(text).ok()?;
    let known = members.iter().all(|(name, value)| ADDRESS.contains(&name.as_str()) && value.is_string());
    (known && !members.is_empty()).then_some(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scope_opens_its_own_claims_only() {
        let claims = json!({"name": "Ann", "email": "ann@example.org", "address": {"country": "FR"}});
        let profile = Profile { username: "ann".to_owned(), claims: claims.as_object().cloned().unwrap_or_default() };
        let opened = |scope: &str| Value::Object(opened_by(&Scope::parse(scope).expect("a scope"), &[], &profile));
        assert_eq!(opened("openid"), json!({}));
        assert_eq!(opened("openid email"), json!({"email": "ann@example.org"}));
        assert_eq!(opened("profile"), json!({"name": "Ann", "preferred_username": "ann"}));
        assert_eq!(opened("address"), json!({"address": {"country": "FR"}}));
        let named = ["email".to_owned(), "phone_number".to_owned()];
        let told = Value::Object(opened_by(&Scope::default(), &named, &profile));
        assert_eq!(told, json!({"email": "ann@example.org"}));
    }

    #[test]
    fn a_new_address_is_not_verified_unless_that_is_said() {
        let before = json!({"email": "a@example.org", "email_verified": true});
        let before = before.as_object().expect("an object");
        let new = ("email".to_owned(), Some(json!("b@example.org")));
        let verified = ("email_verified".to_owned(), Some(json!(false)));
        let (after, names) = changed(before, vec![new.clone()], Timestamp(7));
        assert_eq!(Value::Object(after), json!({"email": "b@example.org", "updated_at": 7}));
        assert_eq!(names, ["email", "email_verified"]);
        let (after, _) = changed(before, vec![verified, new], Timestamp(7));
        assert_eq!(after["email_verified"], json!(false));
        let same = ("email".to_owned(), Some(json!("a@example.org")));
        assert_eq!(changed(before, vec![same], Timestamp(7)), (before.clone(), Vec::new()));
    }

    #[test]
    fn a_value_is_of_the_kind_of_its_claim() {
        assert_eq!(parse("email_verified", "true"), Ok(json!(true)));
        assert_eq!(parse("address", "1 Road\r\nTown"), Ok(json!({"formatted": "1 Road\nTown"})));
        assert_eq!(parse("address", r#"{"country":"FR"}"#), Ok(json!({"country": "FR"})));
        for day in ["1990-02-28", "0000-12-24", "1990"] {
            assert_eq!(parse("birthdate", day), Ok(json!(day)));
        }
        for (name, text, error) in [
            ("sub", "x", ClaimError::Unknown),
            ("updated_at", "1", ClaimError::Unknown),
            ("name", "", ClaimError::Text),
            ("name", "a\u{7}", ClaimError::Text),
            ("picture", "javascript:alert(1)", ClaimError::Url),
            ("email_verified", "yes", ClaimError::Flag),
            ("birthdate", "1.2.1990", ClaimError::Birthdate),
            ("birthdate", "1990-02-30", ClaimError::Birthdate),
            ("birthdate", "-990", ClaimError::Birthdate),
            ("address", r#"{"planet":"x"}"#, ClaimError::Address),
            ("address", r#"{"country":{}}"#, ClaimError::Address),
        ] {
            assert_eq!(parse(name, text), Err(error), "{name} {text}");
        }
        assert_eq!(parse("name", &"x".repeat(CLAIM_BYTES_MAX + 1)), Err(ClaimError::Text));
    }
}
