//! The fields of a client's form that most clients leave empty: one for each of [`FIELDS`], folded away.

use grantlog_domain::client::{ClientError, ClientMetadata};
use serde_json::{Map, Value};

use crate::app::App;
use crate::client_fields::{FIELDS, Field, Kind, field_of, to_json};
use crate::http::form::Parameters;
use crate::oidc::id_token::may_be_unsigned;
use crate::oidc::sector;

/// One field with what stands in it.
#[derive(Clone)]
pub struct Further {
    field: &'static Field,
    pub text: String,
    pub error: Option<String>,
}

impl std::fmt::Debug for Further {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {:?}", self.field.name, self.text)
    }
}

impl Further {
    pub fn name(&self) -> &'static str {
        self.field.name
    }

    pub fn title(&self) -> &'static str {
        self.field.title
    }

    pub fn hint(&self) -> String {
        match self.field.kind {
            Kind::Texts => format!("{} One on each line.", self.field.hint),
            _ => self.field.hint.to_owned(),
        }
    }

    pub fn is_flag(&self) -> bool {
        matches!(self.field.kind, Kind::Flag)
    }

    pub fn has_lines(&self) -> bool {
        matches!(self.field.kind, Kind::Texts | Kind::Object)
    }

    /// What can be chosen; none where it is written.
    pub fn words(&self) -> Vec<&'static str> {
        if let Kind::Choice(words) = self.field.kind { words() } else { Vec::new() }
    }
}

pub fn empty() -> Vec<Further> {
    FIELDS.iter().map(|field| Further { field, text: String::new(), error: None }).collect()
}

/// Writes what a client has.
pub fn fill(further: &mut [Further], metadata: &ClientMetadata) {
    let metadata = to_json(metadata);
    for one in further {
        one.text = one.field.written(&metadata);
    }
}

/// Writes what a browser sent.
pub fn take(further: &mut [Further], parameters: &Parameters) {
    for one in further {
        one.text = parameters.get(one.field.name).unwrap_or_default().to_owned();
    }
}

/// The values, if all of them are of their kind.
pub fn read(further: &mut [Further]) -> Option<Map<String, Value>> {
    let mut values = Map::new();
    for one in further.iter_mut() {
        match one.field.read(&one.text) {
            Ok(Value::Null) => {}
            Ok(value) => {
                values.insert(one.field.name.to_owned(), value);
            }
            Err(error) => one.error = Some(format!("{error}.")),
        }
    }
    further.iter().all(|one| one.error.is_none()).then_some(values)
}

/// Puts a refusal beside its field, if it is one of these.
pub fn refuse(further: &mut [Further], error: &ClientError, words: Option<&str>) -> bool {
    match (field_of(error), words) {
        (Some(name), Some(words)) => complain(further, name, words.to_owned()),
        _ => false,
    }
}

/// Says beside a field what is wrong with it, if it is one of these.
pub fn complain(further: &mut [Further], name: &str, words: String) -> bool {
    let Some(one) = further.iter_mut().find(|one| one.field.name == name) else { return false };
    one.error = Some(words);
    true
}

/// What the settings, and the document of its sector, say of a client; `before` is what it was.
///
/// # Errors
/// The field that is wrong, and why.
pub async fn check(
    app: &App,
    metadata: &ClientMetadata,
    before: Option<&ClientMetadata>,
) -> Result<(), (&'static str, String)> {
    if metadata.openid.id_token_alg().is_none() && !may_be_unsigned(&app.settings) {
        return Err(("id_token_signed_response_alg", "ID tokens are always signed here".to_owned()));
    }
    let checked = sector::check(app.remote(), metadata, before).await;
    checked.map_err(|error| ("sector_identifier_uri", error.to_string()))
}
