//! The metadata of clients beyond plain OAuth (RFC 7591 2), field by field: the one list behind registration over HTTP, the
//! command line and the form. What a field means and when it is refused says the domain (`grantlog_domain::client`).

mod table;

use grantlog_domain::client::{ClientError, ClientMetadata};
use serde_json::{Map, Value};

pub use table::FIELDS;

/// One field.
pub struct Field {
    /// As on the wire.
    pub name: &'static str,
    /// As a flag of `grantlog client`: the same with hyphens, a list in the singular.
    pub flag: &'static str,
    pub kind: Kind,
    /// For people, as the label in the form.
    pub title: &'static str,
    /// What it does, as one or two sentences.
    pub hint: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Texts,
    /// A whole number of seconds that 32 bits hold.
    Number,
    Flag,
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    Object,
}

/// The value of a field is of another kind. The text repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {shape}")]
pub struct WrongKind {
    pub name: &'static str,
    shape: String,
}

impl Kind {
    /// In words: "a list of texts".
    fn shape(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Number => format!("a whole number up to {}", u32::MAX),
            Self::Flag => "true or false".to_owned(),
            Self::Choice(words) => format!("one of {}", words().join(", ")),
            Self::Object => "a JSON object".to_owned(),
        }
    }

    /// Whether that JSON value is of this kind.
    pub fn check(self, name: &'static str, value: &Value) -> Result<(), WrongKind> {
        let fits = match self {
            Self::Text => value.is_string(),
            Self::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Self::Number => value.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
            Self::Flag => value.is_boolean(),
            Self::Choice(words) => value.as_str().is_some_and(|word| words().contains(&word)),
            Self::Object => value.is_object(),
        };
        if fits { Ok(()) } else { Err(WrongKind { name, shape: self.shape() }) }
    }
}

impl Field {
    /// The value that a person wrote: lists line by line. An empty text is `null`, no value at all.
    pub fn read(&self, text: &str) -> Result<Value, WrongKind> {
        let text = text.trim();
        let wrong = |_| WrongKind { name: self.name, shape: self.kind.shape() };
        let value = match self.kind {
            _ if text.is_empty() => return Ok(Value::Null),
            Kind::Text | Kind::Choice(_) => Value::from(text),
            Kind::Texts => text.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
            Kind::Number | Kind::Flag | Kind::Object => serde_json::from_str(text).map_err(wrong)?,
        };
        self.kind.check(self.name, &value)?;
        Ok(value)
    }

    /// The value as a person writes it; empty when there is none.
    pub fn written(&self, metadata: &Map<String, Value>) -> String {
        match metadata.get(self.name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
            Some(object @ Value::Object(_)) => serde_json::to_string_pretty(object).unwrap_or_default(),
            Some(other) => other.to_string(),
        }
    }
}

/// `metadata` as JSON (RFC 7591 2).
pub fn to_json(metadata: &ClientMetadata) -> Map<String, Value> {
    match serde_json::to_value(metadata) {
        Ok(Value::Object(members)) => members,
        // Made of texts, numbers and lists only.
        _ => Map::new(),
    }
}

/// `metadata` with other values in some of [`FIELDS`]; `null` takes a value away. Each value was checked by its kind.
pub fn changed(metadata: &ClientMetadata, changes: Map<String, Value>) -> Result<ClientMetadata, ClientError> {
    let mut members = to_json(metadata);
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    serde_json::from_value(Value::Object(members)).map_err(|_| ClientError::UnknownValue)
}

/// The one of [`FIELDS`] that a refusal is about, if it is about one.
pub fn field_of(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::WebUri(name)
        | ClientError::SecureUri(name)
        | ClientError::Text(name)
        | ClientError::NotVouched(name)
        | ClientError::Ceiling(name) => Some(name),
        ClientError::FrontchannelLogoutUri => Some("frontchannel_logout_uri"),
        ClientError::JwksTwice | ClientError::Jwks | ClientError::NoKeys => Some("jwks"),
        ClientError::SigningAlgorithm => Some("token_endpoint_auth_signing_alg"),
        ClientError::Sector => Some("sector_identifier_uri"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn blank() -> ClientMetadata {
        serde_json::from_value(json!({
            "client_name": "X", "grant_types": ["authorization_code"], "response_types": ["code"], "scope": "openid",
            "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "client_secret_basic",
            "application_type": "web",
        }))
        .expect("metadata")
    }

    /// A value that the field takes, as a person writes it.
    fn example(field: &Field) -> String {
        match field.kind {
            Kind::Text | Kind::Texts => "https://app.example/x".to_owned(),
            Kind::Number => "60".to_owned(),
            Kind::Flag => "true".to_owned(),
            Kind::Choice(words) => words().pop().expect("a word").to_owned(),
            Kind::Object => json!({ "keys": [{ "kty": "OKP" }] }).to_string(),
        }
    }

    #[test]
    fn every_field_is_one_of_the_metadata_and_comes_back_as_it_was_written() {
        for field in FIELDS {
            let value = field.read(&example(field)).expect("a value");
            let changes = Map::from_iter([(field.name.to_owned(), value.clone())]);
            let metadata = changed(&blank(), changes).expect("metadata");
            assert_eq!(to_json(&metadata).get(field.name), Some(&value), "{}", field.name);
            assert_eq!(field.read(&field.written(&to_json(&metadata))), Ok(value), "{}", field.name);
            let changes = Map::from_iter([(field.name.to_owned(), Value::Null)]);
            assert_eq!(changed(&metadata, changes), Ok(blank()), "{}", field.name);
        }
    }

    #[test]
    fn no_field_of_the_metadata_is_left_out() {
        let all = FIELDS.iter().map(|field| (field.name.to_owned(), field.read(&example(field)).expect("a value")));
        let full = to_json(&changed(&blank(), all.collect()).expect("metadata"));
        let listed: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
        let plain: BTreeSet<_> = to_json(&blank()).into_iter().map(|(name, _)| name).collect();
        let source = include_str!("../domain/src/client/openid.rs");
        let (_, fields) = source.split_once("pub struct OpenIdMetadata {").expect("the struct");
        let (fields, _) = fields.split_once("\n}").expect("its end");
        let named = fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
        assert_eq!(named.collect::<BTreeSet<_>>(), listed);
        assert_eq!(full.len(), listed.len() + plain.len());
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        for (name, wrong) in [
            ("default_max_age", "-1"),
            ("default_max_age", "soon"),
            ("require_auth_time", "yes"),
            ("subject_type", "private"),
            ("jwks", "[]"),
            ("jwks", "{"),
        ] {
            let field = FIELDS.iter().find(|field| field.name == name).expect("a field");
            assert_eq!(field.read(wrong).map_err(|error| error.name), Err(name), "{wrong}");
        }
    }
}
