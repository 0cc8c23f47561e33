//! A client as the log tells it, and how it is printed: with the names of RFC 7591.

use grantlog_domain::client::{Author, Registration, Stage};
use grantlog_domain::{ClientId, Timestamp};
use serde_json::{Map, Value, json};

use super::opened::Opened;
use super::{CliError, event_log, output};
use crate::secrets::Secret;

type Aggregate = grantlog_domain::client::Client;

/// A client as the log tells it.
pub(super) struct Registered {
    client_id: ClientId,
    pub(super) registration: Registration,
    /// `None` while it is enabled.
    pub(super) disabled_by: Option<Author>,
    issued_at: Timestamp,
}

pub(super) async fn load(opened: &Opened, client_id: ClientId) -> Result<Registered, CliError> {
    let client = opened.store.load::<Aggregate>(&client_id.to_string()).await?.aggregate;
    let (registration, disabled_by) = match client.stage() {
        Stage::Enabled(registration) => (registration.as_ref().clone(), None),
        Stage::Disabled(registration, by) => (registration.as_ref().clone(), Some(*by)),
        Stage::Absent | Stage::Deleted => {
            return Err(CliError::NotFound(format!("there is no client {client_id}")));
        }
    };
    let issued_at = event_log::began(opened.db(), "client", &client_id.to_string()).await?;
    Ok(Registered { client_id, registration, disabled_by, issued_at })
}

pub(super) async fn show(
    opened: &Opened,
    client_id: ClientId,
    secret: Option<Secret<String>>,
    json: bool,
) -> Result<(), CliError> {
    let document = document(&load(opened, client_id).await?, secret.as_ref())?;
    if json {
        return output::json(&document);
    }
    let pairs: Vec<_> = document.iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
    output::fields(&pairs)?;
    if secret.is_some() {
        output::message("The client_secret is shown only now; it cannot be read again.");
    }
    Ok(())
}

/// The client as RFC 7591 3.2.1 answers it, and `enabled`. The secret is there only when it was just made.
pub(super) fn document(
    registered: &Registered,
    secret: Option<&Secret<String>>,
) -> Result<Map<String, Value>, CliError> {
    let Registered { client_id, registration, disabled_by, issued_at } = registered;
    let mut document = Map::new();
    document.insert("client_id".into(), json!(client_id));
    document.insert("client_id_issued_at".into(), json!(issued_at));
    if let Some(secret) = secret {
        document.insert("client_secret".into(), json!(secret.expose()));
        document.insert("client_secret_expires_at".into(), json!(0));
    }
    match serde_json::to_value(&registration.metadata) {
        Ok(Value::Object(metadata)) => document.extend(metadata),
        _ => return Err(CliError::Failed("the registration cannot be written as JSON".into())),
    }
    if let Some(owner) = registration.owner {
        document.insert("owner".into(), json!(owner));
    }
    document.insert("author".into(), json!(registration.author));
    document.insert("vouched".into(), json!(registration.is_vouched()));
    document.insert("enabled".into(), json!(disabled_by.is_none()));
    if let Some(by) = disabled_by {
        document.insert("disabled_by".into(), json!(by));
    }
    Ok(document)
}

/// A JSON value for people: lists separated by blanks, texts without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
