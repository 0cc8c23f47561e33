//! The database as commands use it: opened, up to date, with the secrets that belong to it.

use grantlog_domain::Actor;
use grantlog_projections::db::Db;
use grantlog_projections::log::Log;
use uuid::Uuid;

use super::{CliError, output};
use crate::clock::Clock;
use crate::config::{DatabaseKind, Settings};
use crate::entropy::Entropy;
use crate::secrets::Secrets;
use crate::store::vault::Vault;
use crate::store::{CommandContext, Store, StoreError, StoreOptions, warnings};

/// Connections of a command; it does one thing after the other.
const CONNECTIONS: u32 = 2;

pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) clock: Clock,
    entropy: Entropy,
}

impl Opened {
    /// Opens a database that exists and is up to date. It may be in use by a server at the same time.
    pub(super) async fn open(settings: &Settings) -> Result<Self, CliError> {
        let opened = Self::open_to_look(settings).await?;
        opened.secrets(settings).await?;
        Ok(opened)
    }

    /// The same without the peppers, for who shows the rows of the log as they are, whether somebody decided them or not.
    pub(super) async fn open_to_look(settings: &Settings) -> Result<Self, CliError> {
        let opened = Self::connect(settings, false).await?;
        opened.store.check().await?;
        Ok(opened)
    }

    /// The same for what may be somebody's first command: a SQLite file that is not there yet is made, as `serve` makes it.
    pub(super) async fn open_or_make(settings: &Settings) -> Result<Self, CliError> {
        match settings.database.kind() {
            DatabaseKind::Sqlite(file) => {
                let is_new = !file.exists();
                let opened = Self::connect(settings, is_new).await?;
                match opened.store.check().await {
                    // Another process may be making it.
                    Err(StoreError::OlderSchema { .. }) if is_new || opened.store.is_being_made().await? => {
                        opened.store.migrate(&mut |_| ()).await?;
                    }
                    Err(StoreError::OlderSchema { .. }) => opened.store.check().await?,
                    checked => checked?,
                }
                opened.secrets(settings).await?;
                if is_new {
                    output::message(&format!("made {}", settings.database));
                }
                Ok(opened)
            }
            DatabaseKind::Postgres => Self::open(settings).await,
        }
    }

    /// Opens a database whose schema may be old or missing. `create`: also a SQLite file that is not there yet.
    pub(super) async fn connect(settings: &Settings, create: bool) -> Result<Self, CliError> {
        for warning in warnings(&settings.database) {
            output::message(&format!("grantlog: {warning}"));
        }
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let options = StoreOptions { connections: CONNECTIONS, create, ..StoreOptions::from(&settings.store) };
        let store = Store::open(&settings.database, options, clock.clone(), entropy.clone()).await?;
        Ok(Opened { store, clock, entropy })
    }

    pub(super) fn db(&self) -> &Db {
        self.store.db()
    }

    /// The event log.
    pub(super) fn log(&self) -> &Log {
        self.store.log()
    }

    /// The peppers.
    pub(super) async fn secrets(&self, settings: &Settings) -> Result<Secrets, CliError> {
        Ok(self.store.open_secrets(&settings.pepper).await?)
    }

    pub(super) async fn vault(&self, settings: &Settings) -> Result<Vault, CliError> {
        let secrets = self.secrets(settings).await?;
        Ok(Vault::from_settings(settings, self.db().clone(), secrets, self.clock.clone())?)
    }

    /// A new identifier, UUID version 7.
    pub(super) fn new_id(&self) -> Uuid {
        self.entropy.uuid_v7(self.clock.now_millis())
    }

    /// Who gives the commands: somebody with access to the database.
    pub(super) fn context(&self) -> CommandContext {
        CommandContext { actor: Actor::Cli, request_id: None, correlation: None, source_address: None }
    }
}
