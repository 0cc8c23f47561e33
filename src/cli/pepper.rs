//! `grantlog pepper`: the keys outside the database, their rotation, and what rests on each.

use clap::{Args, Subcommand};
use grantlog_domain::Timestamp;
use grantlog_projections::tables::{clients, sessions};
use serde::Serialize;
use serde_json::json;

use super::opened::Opened;
use super::{CliError, output, pepper_retire, read_models};
use crate::config::Settings;
use crate::peppers::TAKE_OVER_SECONDS;
use crate::secrets::{KnownPepper, PepperSource, Secrets, pepper_file};
use crate::store::vault::{Held, Vault};

#[derive(Debug, Subcommand)]
pub(super) enum Pepper {
    /// List the peppers, since when each is used, and what still rests on it
    List,
    /// Add a new pepper to the pepper file; servers that can read it make their hashes with it some seconds later
    Rotate(Rotate),
    /// Leave nothing that rests on an older pepper, so that it is worth nothing and can leave the file
    Retire(pepper_retire::Retire),
}

#[derive(Debug, Args)]
#[command(after_help = "\
With servers on several machines: rotate --prepare, copy the pepper file to each of them, rotate.")]
pub(super) struct Rotate {
    /// Only add it to the file; it is used when `rotate` is said again
    #[arg(long)]
    prepare: bool,
}

/// A pepper as printed; times are RFC 3339 in UTC.
#[derive(Debug, Serialize)]
struct Shown {
    id: u16,
    /// `known`, `used`, `older`, `retiring` or `retired`.
    status: &'static str,
    used_from: Option<String>,
    retired_at: Option<String>,
    /// Whether it is in the file or the environment.
    here: bool,
    /// Absent when it is retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    rests: Option<Rests>,
}

/// What rests on a pepper.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rests {
    /// Of clients that do not sign with them.
    pub(super) client_secrets: i64,
    pub(super) registration_access_tokens: i64,
    pub(super) grants: i64,
    /// Of grants that can be refreshed under a newer pepper.
    pub(super) access_tokens: i64,
    pub(super) sessions: i64,
    /// What can be made anew.
    pub(super) vault: VaultRests,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct VaultRests {
    user_keys: i64,
    usernames: i64,
    signing_keys: i64,
    client_secrets: i64,
}

impl From<Held> for VaultRests {
    fn from(held: Held) -> Self {
        let Held { user_keys, usernames, signing_keys, client_secrets } = held;
        Self { user_keys, usernames, signing_keys, client_secrets }
    }
}

impl Rests {
    /// How much of it cannot be made anew.
    pub(super) const fn lasting(&self) -> i64 {
        self.client_secrets + self.registration_access_tokens + self.grants + self.access_tokens + self.sessions
    }

    /// In words, what cannot be made anew; empty when there is none.
    pub(super) fn told(&self) -> String {
        let counts = [
            (self.client_secrets, "client secrets"),
            (self.registration_access_tokens, "registration access tokens"),
            (self.grants, "grants"),
            (self.access_tokens, "access tokens of other grants"),
            (self.sessions, "sessions"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        told.collect::<Vec<_>>().join(", ")
    }
}

pub(super) async fn run(command: Pepper, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = Opened::open(settings).await?;
    match command {
        Pepper::List => list(&opened, settings, json).await,
        Pepper::Rotate(command) => rotate(&opened, settings, &command, json).await,
        Pepper::Retire(command) => pepper_retire::run(&opened, settings, &command, json).await,
    }
}

/// What rests on that pepper. The tables must have come to the end of the log.
pub(super) async fn rests(opened: &Opened, vault: &Vault, id: u16) -> Result<Rests, CliError> {
    let held = vault.held_under(id).await?;
    let grants = opened.store.grants_under_pepper(id).await?;
    Ok(Rests {
        client_secrets: count(pepper_retire::bare_secrets(opened, vault, id).await?.len()),
        registration_access_tokens: count(clients::registered_under_pepper(opened.db(), id).await?.len()),
        grants: grants.grants,
        access_tokens: grants.access_tokens,
        sessions: sessions::count_under_pepper(opened.db(), id, opened.clock.now()).await?,
        vault: held.into(),
    })
}

fn count(all: usize) -> i64 {
    i64::try_from(all).unwrap_or(i64::MAX)
}

async fn list(opened: &Opened, settings: &Settings, json: bool) -> Result<(), CliError> {
    let secrets = opened.secrets(settings).await?;
    let vault = opened.vault(settings).await?;
    read_models::catch_up(opened).await?;
    let mut all = Vec::new();
    for pepper in opened.store.peppers().await? {
        let rests = if pepper.retired_at.is_none() { Some(rests(opened, &vault, pepper.id).await?) } else { None };
        all.push(Shown {
            id: pepper.id,
            status: status(&pepper, &secrets),
            used_from: pepper.used_from.map(output::moment),
            retired_at: pepper.retired_at.map(output::moment),
            here: secrets.has_pepper(pepper.id),
            rests,
        });
    }
    if json {
        return output::json(&all);
    }
    let row = |pepper: &Shown| {
        let rests = pepper.rests.map(|rests| {
            let vault = rests.vault;
            let sealed = vault.user_keys + vault.usernames + vault.signing_keys + vault.client_secrets;
            let told = rests.told();
            match (told.is_empty(), sealed) {
                (true, 0) => "nothing".to_owned(),
                (true, sealed) => format!("{sealed} rows of the vault"),
                (false, sealed) => format!("{told}, {sealed} rows of the vault"),
            }
        });
        let since = pepper.used_from.clone().unwrap_or_default();
        vec![pepper.id.to_string(), pepper.status.to_owned(), since, rests.unwrap_or_default()]
    };
    output::table(&["ID", "STATUS", "USED FROM", "WHAT RESTS ON IT"], &all.iter().map(row).collect::<Vec<_>>())
}

fn status(pepper: &KnownPepper, secrets: &Secrets) -> &'static str {
    match pepper {
        _ if pepper.retired_at.is_some() => "retired",
        _ if pepper.retiring_at.is_some() => "retiring",
        _ if pepper.id == secrets.newest_pepper() => "used",
        _ if pepper.id < secrets.newest_pepper() => "older",
        _ => "known",
    }
}

async fn rotate(opened: &Opened, settings: &Settings, command: &Rotate, json: bool) -> Result<(), CliError> {
    let secrets = opened.secrets(settings).await?;
    let known = opened.store.peppers().await?;
    let newest = known.iter().map(|pepper| pepper.id).max().unwrap_or(0);
    let waiting = known.iter().find(|pepper| pepper.id == newest && pepper.used_from.is_none());
    let id = match waiting {
        Some(waiting) => waiting.id,
        None => add(settings, newest, &secrets)?,
    };
    if command.prepare {
        return told(id, None, json);
    }
    if waiting.is_none() {
        // Lets the database know it.
        opened.secrets(settings).await?;
    }
    let at = opened.clock.now().plus_seconds(TAKE_OVER_SECONDS);
    opened.store.use_pepper(id, at).await?;
    told(id, Some(at), json)
}

/// Adds a line to the file. Answers the new id.
fn add(settings: &Settings, newest: u16, secrets: &Secrets) -> Result<u16, CliError> {
    let id = newest.checked_add(1).ok_or_else(|| CliError::Refused("there is no higher id for a pepper".to_owned()))?;
    match &settings.pepper {
        PepperSource::File(path) => {
            pepper_file::add(path, id, secrets.entropy()).map_err(|error| CliError::Failed(error.to_string()))?;
            Ok(id)
        }
        PepperSource::Text(_) => Err(CliError::Refused(format!(
            "the peppers come from the environment (GRANTLOG_PEPPER), which only you can change: add `;{id} KEY` to it \
             for every server, where KEY is what this prints: openssl rand 32 | basenc --base64url | tr -d =\n\
             restart the servers one after the other, then say `grantlog pepper rotate` again: it is used from then on"
        ))),
    }
}

fn told(id: u16, used_from: Option<Timestamp>, json: bool) -> Result<(), CliError> {
    if json {
        return output::json(&json!({ "id": id, "used_from": used_from.map(output::moment) }));
    }
    match used_from {
        None => output::line(&format!(
            "pepper {id} is in the file and not used yet; when every server has the file, say: grantlog pepper rotate"
        )),
        Some(at) => output::line(&format!(
            "pepper {id} is used from {} on. Keep a backup of the pepper file. What rests on the older ones: grantlog \
             pepper list; to be rid of them: grantlog pepper retire ID",
            output::moment(at)
        )),
    }
}
