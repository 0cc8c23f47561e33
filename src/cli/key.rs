//! `grantlog key`: signing keys. Private halves stay in the vault and are never printed.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use grantlog_domain::KeyId;
use grantlog_domain::signing_key::{Algorithm, SigningKey, SigningKeyCommand, Stage};
use serde::Serialize;

use super::opened::Opened;
use super::{CliError, event_log, output};
use crate::config::Settings;

/// Most keys that are looked at; every rotation makes one.
const KEYS_MAX: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// List signing keys
    List,
    /// Make a key, sign with it from now on, and retire those that signed before (they are still published)
    Rotate(Rotate),
    /// Sign with a key no longer; what it signed can still be verified
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// RS256, ES256 or EdDSA
    #[arg(long, default_value = "ES256", value_parser = PossibleValuesParser::new(Algorithm::ALL.iter().map(|alg| alg.as_str())).try_map(|alg| alg.parse::<Algorithm>()), hide_possible_values = true)]
    alg: Algorithm,
}

#[derive(Debug, Args)]
pub(super) struct Retire {
    /// The key's kid
    kid: String,
}

/// A key as printed.
#[derive(Debug, Serialize)]
struct Shown {
    kid: String,
    /// `created`, `active`, `retired` or `revoked`.
    status: &'static str,
}

pub(super) async fn run(command: Key, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = Opened::open(settings).await?;
    match command {
        Key::List => print(&keys(&opened).await?, json),
        Key::Rotate(rotate) => {
            rotate_to(&opened, settings, rotate.alg).await?;
            print(&keys(&opened).await?, json)
        }
        Key::Retire(retire) => {
            let at = opened.clock.now();
            change(&opened, &retire.kid, SigningKeyCommand::Retire { at }).await?;
            print(&keys(&opened).await?, json)
        }
    }
}

async fn rotate_to(opened: &Opened, settings: &Settings, alg: Algorithm) -> Result<(), CliError> {
    let before = keys(opened).await?;
    let made = opened.vault(settings).await?.create_signing_key(alg).await?;
    let KeyId(kid) = made.key_id;
    let create = SigningKeyCommand::Create { alg, public_jwk: made.public_jwk, at: opened.clock.now() };
    opened.store.create::<SigningKey>(&kid, create, &opened.context()).await?;
    change(opened, &kid, SigningKeyCommand::Activate { at: opened.clock.now() }).await?;
    // Only after the new one signs, so that there is always one that does.
    for old in before.iter().filter(|key| key.status == "active") {
        change(opened, &old.kid, SigningKeyCommand::Retire { at: opened.clock.now() }).await?;
    }
    Ok(())
}

async fn change(opened: &Opened, kid: &str, command: SigningKeyCommand) -> Result<(), CliError> {
    if opened.store.load::<SigningKey>(kid).await?.sequence == 0 {
        return Err(CliError::NotFound(format!("there is no key {kid}")));
    }
    opened.store.execute::<SigningKey>(kid, command, &opened.context()).await?;
    Ok(())
}

async fn keys(opened: &Opened) -> Result<Vec<Shown>, CliError> {
    let mut keys = Vec::new();
    for kid in event_log::newest_ids::<String>(opened.db(), "signing_key", KEYS_MAX).await? {
        let status = match opened.store.load::<SigningKey>(&kid).await?.aggregate.stage() {
            Stage::Absent => continue,
            Stage::Created => "created",
            Stage::Active => "active",
            Stage::Retired => "retired",
            Stage::Revoked => "revoked",
        };
        keys.push(Shown { kid, status });
    }
    Ok(keys)
}

fn print(keys: &[Shown], json: bool) -> Result<(), CliError> {
    if json {
        return output::json(&keys);
    }
    let rows: Vec<_> = keys.iter().map(|key| vec![key.kid.clone(), key.status.to_owned()]).collect();
    output::table(&["KID", "STATUS"], &rows)
}
