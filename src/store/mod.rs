//! The store: the event log and the vault on SQLite or PostgreSQL.
//!
//! `open`, `turn`, `migrate`, `identity`, `attest`, `peppers` bring a database into use; `group_commit` is the way into the log; `repository` joins
//! cqrs-es to it; `execute` runs commands, `recent` spares it some reading; `ending` ends all of somebody's grants or
//! sessions, `resting` those that rest on a pepper; `vault` keeps what may not stand in the log. Read models are not here but in
//! the projections crate.

pub mod archive;
mod attest;
mod ending;
mod error;
mod execute;
pub mod group_commit;
mod identity;
mod latest;
mod migrate;
mod open;
mod options;
mod partitions;
mod peppers;
mod purpose;
mod recent;
mod repository;
mod resting;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
pub mod vault;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grantlog_domain::Recorded;
use grantlog_projections::db::Db;
use grantlog_projections::log::Log;
use grantlog_projections::read_models;

pub use self::attest::Attesting;
pub use self::ending::{Ended, EndingError};
pub use self::error::{AppendError, ExecuteError, StoreError};
pub use self::execute::{CommandContext, Executed, Loaded};
pub use self::migrate::Step;
pub use self::open::warnings;
pub use self::options::{EVENT_BYTES_MAX, StoreOptions};
pub use self::partitions::{Bound, Ensured, Partition, Range};
pub use self::purpose::{Purpose, Signs};
pub use self::resting::RestingGrants;

use self::group_commit::GroupCommit;
use self::recent::Recent;
use self::repository::Repository;
use self::turn::Turn;
use crate::clock::Clock;
use crate::config::{DatabaseKind, DatabaseUrl};
use crate::entropy::Entropy;
use crate::secrets::Secrets;

/// Longest wait for appends that are on their way when the store is closed.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether partitions are missing.
const PARTITIONS_EVERY: Duration = Duration::from_secs(3600);

/// Longest time for making them: a connection that died in silence must not be the end of it.
const PARTITIONS_MAX: Duration = Duration::from_secs(300);

/// Longest wait for another process that brings the same SQLite file up to date.
const MIGRATION_MAX: Duration = Duration::from_secs(600);

type Observer = Box<dyn Fn(&[Recorded]) + Send + Sync>;

/// The event log. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    log: Log,
    /// Of SQLite.
    file: Option<PathBuf>,
    group_commit: GroupCommit,
    repository: Repository,
    recent: Recent,
    observer: OnceLock<Observer>,
    clock: Clock,
    entropy: Entropy,
    options: StoreOptions,
}

impl Store {
    /// Connects. The schema is neither looked at nor changed: call [`Store::migrate`] or [`Store::check`] next.
    ///
    /// # Errors
    /// [`StoreError::Open`] with what is wrong and what helps.
    pub async fn open(
        url: &DatabaseUrl,
        options: StoreOptions,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StoreError> {
        let db = open::open(url, &options).await?;
        let (connect, file) = match url.kind() {
            DatabaseKind::Postgres => (Some(open::postgres_options(url)?), None),
            DatabaseKind::Sqlite(file) => (None, Some(file.clone())),
        };
        let log = Log::locked(db);
        let group_commit = GroupCommit::start(&log, connect.as_ref(), &options);
        let repository = Repository::new(&log, &group_commit);
        let recent = Recent::new();
        let observer = OnceLock::new();
        let inner = Inner { log, file, group_commit, repository, recent, observer, clock, entropy, options };
        Ok(Self(Arc::new(inner)))
    }

    /// Brings the schema up to date, then checks it as [`Store::check`] does. Answers how many migrations it applied.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`], [`StoreError::ChangedMigration`], [`StoreError::Migration`],
    /// [`StoreError::ForeignLog`].
    pub async fn migrate(&self, progress: &mut (dyn FnMut(&Step) + Send)) -> Result<usize, StoreError> {
        let _turn = match &self.0.file {
            Some(file) => Some(Turn::take(file, MIGRATION_MAX).await.ok_or(StoreError::BeingMigrated)?),
            None => None,
        };
        let applied = migrate::apply(&self.0.log, progress).await?;
        identity::check(&self.0.log).await?;
        latest::go_on_from(&self.0.log, &self.0.clock).await?;
        match read_models::other_owner(&self.0.log).await? {
            None => grantlog_projections::prepare_new(&self.0.log).await?,
            Some(owner) => tracing::info!(owner, "the read models are made by the role that they belong to"),
        }
        if attest::is_done(&self.0.log).await? {
            self.try_partitions().await;
        }
        Ok(applied)
    }

    /// Whether another process is making or changing the tables of this SQLite file, or nobody has made any.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn is_being_made(&self) -> Result<bool, StoreError> {
        let Some(file) = &self.0.file else { return Ok(false) };
        if Turn::take(file, Duration::ZERO).await.is_none() {
            return Ok(true);
        }
        let rows = self.db().fetch("SELECT count(*) FROM sqlite_master", &[]).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()? == Some(0))
    }

    /// Gives the events that were there before events had codes their own; answers how many those were. To be called
    /// behind [`Store::migrate`] and [`Store::open_secrets`]; there is something to do once in the life of a database.
    ///
    /// # Errors
    /// [`StoreError::Unattested`] when this role may not; [`StoreError::CodesLost`]; [`StoreError::Database`].
    pub async fn attest(
        &self,
        secrets: &Secrets,
        progress: &mut (dyn FnMut(Attesting) + Send),
    ) -> Result<u64, StoreError> {
        if attest::is_done(&self.0.log).await? {
            return Ok(0);
        }
        let known = self.peppers().await?;
        let count = attest::run(&self.0.log, secrets, &known, self.0.clock.now().0, progress).await?;
        self.0.log.open(secrets.mac_keys());
        self.try_partitions().await;
        Ok(count)
    }

    /// Makes the codes of events anew that were made under that pepper, with the newest. Answers how many are left, because
    /// this role may not change them (the owner of the events may).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn renew_codes(
        &self,
        pepper: u16,
        progress: &mut (dyn FnMut(Attesting) + Send),
    ) -> Result<u64, StoreError> {
        attest::renew(&self.0.log, pepper, progress).await
    }

    /// Makes the partitions that the next weeks need (PostgreSQL). Without them the default partition takes the events.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn ensure_partitions(&self) -> Result<Ensured, StoreError> {
        partitions::ensure(&self.0.log, self.0.clock.now_millis(), self.0.options.partition_days).await
    }

    /// The partitions of the grants' events, the oldest first and the default one last; none on SQLite.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        partitions::list(&self.0.log).await
    }

    /// For how many seconds from now new grants have a partition already; `None` on SQLite. Not positive: the default
    /// partition takes them.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn partitions_ahead_seconds(&self) -> Result<Option<i64>, StoreError> {
        if !self.0.log.is_postgres() {
            return Ok(None);
        }
        let ends = self.partitions().await?.into_iter().filter_map(|partition| partition.range).map(|range| range.to);
        let last = ends.map(Bound::millis).max().unwrap_or(0);
        Ok(Some((last - self.0.clock.now_millis()) / 1000))
    }

    /// As [`Store::ensure_partitions`], where a failure is only worth a warning.
    async fn try_partitions(&self) {
        match self.ensure_partitions().await {
            Ok(Ensured::Made(made)) if !made.is_empty() => tracing::info!(?made, "made partitions"),
            Ok(Ensured::NotAllowed) => {
                tracing::warn!(
                    "this role may not make partitions: the owner of the events has to, with grantlog migrate"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "no partitions were made; the default partition takes the events"),
        }
    }

    /// Makes partitions ahead for as long as the server runs.
    pub async fn keep_partitions(self) {
        loop {
            tokio::time::sleep(PARTITIONS_EVERY).await;
            if tokio::time::timeout(PARTITIONS_MAX, self.try_partitions()).await.is_err() {
                tracing::warn!("making partitions took too long; the default partition takes the events");
            }
        }
    }

    /// Checks that the schema is the one that this binary knows, and that the log is at home in this cluster.
    ///
    /// # Errors
    /// As [`Store::migrate`], [`StoreError::OlderSchema`] and [`StoreError::Unattested`].
    pub async fn check(&self) -> Result<(), StoreError> {
        migrate::check(&self.0.log).await?;
        identity::check(&self.0.log).await?;
        if !attest::is_done(&self.0.log).await? {
            return Err(StoreError::Unattested);
        }
        latest::go_on_from(&self.0.log, &self.0.clock).await
    }

    /// After a logical restore into another PostgreSQL cluster: lifts the new transaction ids above the restored ones.
    /// Every other process must be stopped. Answers the new bias, `None` when there was nothing to do.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn rebase(&self) -> Result<Option<i64>, StoreError> {
        migrate::check(&self.0.log).await?;
        identity::rebase(&self.0.log).await
    }

    /// Whether a pepper belongs to this database already.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn is_used(&self) -> Result<bool, StoreError> {
        Ok(!self.peppers().await?.is_empty())
    }

    /// Sets who sees the events that this process appends, before the caller hears of them: the live models. Once;
    /// a second observer is ignored.
    pub fn observe(&self, observer: impl Fn(&[Recorded]) + Send + Sync + 'static) {
        let _ = self.0.observer.set(Box::new(observer));
    }

    /// The database, for read models and the vault.
    #[must_use]
    pub fn db(&self) -> &Db {
        self.0.log.db()
    }

    /// The event log. Nothing is read of it or appended before [`Store::open_secrets`].
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// The way into the log below the aggregates, for tools and tests.
    #[must_use]
    pub fn group_commit(&self) -> &GroupCommit {
        &self.0.group_commit
    }

    /// Takes no more commands, and waits until the appends under way are answered.
    pub async fn close(&self) {
        self.0.group_commit.close(DRAIN_TIMEOUT).await;
    }
}
