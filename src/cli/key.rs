//! `grantlog key`: signing keys. Private halves stay in the vault and are never printed.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use grantlog_domain::signing_key::{Algorithm, SigningKey, Stage};
use grantlog_domain::{Actor, KeyId};
use serde::Serialize;

use super::opened::Opened;
use super::{CliError, output};
use crate::config::Settings;
use crate::oidc::keys::{HeldKey, KeyError, Keys};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// List signing keys
    List,
    /// Make the next key; it is published now, and a running server signs with it after keys.publish_seconds
    Rotate(Rotate),
    /// Sign with a key no longer, and with the next one at once; what it signed can still be verified
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// RS256, ES256, EdDSA or PS256 [default: all of them]
    #[arg(long, value_parser = PossibleValuesParser::new(Algorithm::ALL.iter().map(|alg| alg.as_str())).try_map(|alg| alg.parse::<Algorithm>()), hide_possible_values = true)]
    alg: Option<Algorithm>,
    /// Sign with the new key at once: for a key that is known to others. Clients that have not seen it yet refuse it
    #[arg(long)]
    now: bool,
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
    alg: &'static str,
    /// `created`, `active`, `retired` or `revoked`.
    status: &'static str,
}

pub(super) async fn run(command: Key, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = match command {
        Key::Rotate(_) => Opened::open_or_make(settings).await?,
        Key::List | Key::Retire(_) => Opened::open(settings).await?,
    };
    let keys = Keys {
        store: opened.store.clone(),
        vault: opened.vault(settings).await?,
        clock: opened.clock.clone(),
        actor: Actor::Cli,
    };
    match command {
        Key::List => {}
        Key::Rotate(rotate) => {
            for alg in Algorithm::ALL.iter().filter(|alg| rotate.alg.is_none_or(|only| only == **alg)) {
                if let Some(waiting) = keys.waiting(*alg).await?.filter(|_| !rotate.now) {
                    let (id, due) = (&waiting.id, waiting.due(&settings.keys));
                    output::message(&format!(
                        "{alg}: no key was made, because {id} waits since {}: a running server signs with it from {} on \
                         (keys.publish_seconds), and at once with --now",
                        output::moment(waiting.created_at),
                        output::moment(due),
                    ));
                }
                let next = keys.make_next(*alg).await?;
                if rotate.now {
                    keys.activate(&next).await?;
                }
            }
        }
        Key::Retire(retire) => {
            let kid = KeyId(retire.kid);
            if opened.store.load::<SigningKey>(&kid.0).await?.sequence == 0 {
                return Err(CliError::NotFound(format!("there is no key {kid}")));
            }
            keys.retire(&kid).await?;
        }
    }
    print(&keys.all().await?, json)
}

fn print(keys: &[HeldKey], json: bool) -> Result<(), CliError> {
    let shown = |key: &HeldKey| Shown { kid: key.id.0.clone(), alg: key.algorithm.as_str(), status: status(key.stage) };
    // The newest first.
    let keys: Vec<Shown> = keys.iter().rev().map(shown).collect();
    if json {
        return output::json(&keys);
    }
    let row = |key: &Shown| vec![key.kid.clone(), key.alg.to_owned(), key.status.to_owned()];
    output::table(&["KID", "ALG", "STATUS"], &keys.iter().map(row).collect::<Vec<_>>())
}

const fn status(stage: Stage) -> &'static str {
    match stage {
        Stage::Absent => "absent",
        Stage::Created => "created",
        Stage::Active => "active",
        Stage::Retired => "retired",
        Stage::Revoked => "revoked",
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Database(error) => error.into(),
            KeyError::Vault(error) => error.into(),
            KeyError::Refused(error) => error.into(),
        }
    }
}
