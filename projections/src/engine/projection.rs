//! The list of table projections, and what the engine can do with each of them.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;

use super::batch::{self, Quarantine};
use super::write;
use crate::db::{DbError, Tx};
use crate::feed::Stored;
use crate::table::{Column, Table};
use crate::tables::activity::Activity;
use crate::tables::clients::Clients;
use crate::tables::grants::Grants;
use crate::tables::keys::Keys;
use crate::tables::participants::Participants;
use crate::tables::sessions::Sessions;
use crate::tables::tokens::Tokens;
use crate::tables::users::Users;

/// A table projection without its row type.
#[async_trait]
pub trait Projection: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> i64;
    /// The types of the aggregates that it reads.
    fn aggregates(&self) -> &'static [&'static str];
    fn columns(&self) -> &'static [Column];
    /// How many of the first columns are the key.
    fn key(&self) -> usize;
    fn expires(&self) -> Option<&'static str>;
    /// The statement that makes a table of this projection.
    fn create(&self, table: &str, postgres: bool) -> String;
    /// Statements that make the table's indexes, as far as they are not there.
    fn indexes(&self, table: &str) -> Vec<String>;
    async fn take_in(
        &self,
        tx: &mut Tx,
        table: &str,
        events: &[Stored],
        quarantine: &mut Quarantine,
    ) -> Result<(), DbError>;
    async fn sweep(&self, tx: &mut Tx, table: &str, horizon: i64, limit: i64) -> Result<u64, DbError>;
}

struct Of<T>(PhantomData<T>);

#[async_trait]
impl<T: Table> Projection for Of<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn version(&self) -> i64 {
        T::VERSION
    }

    fn aggregates(&self) -> &'static [&'static str] {
        T::AGGREGATES
    }

    fn columns(&self) -> &'static [Column] {
        T::COLUMNS
    }

    fn key(&self) -> usize {
        T::KEY
    }

    fn expires(&self) -> Option<&'static str> {
        T::EXPIRES
    }

    fn create(&self, table: &str, postgres: bool) -> String {
        write::create::<T>(table, postgres)
    }

    fn indexes(&self, table: &str) -> Vec<String> {
        write::indexes::<T>(table)
    }

    async fn take_in(
        &self,
        tx: &mut Tx,
        table: &str,
        events: &[Stored],
        quarantine: &mut Quarantine,
    ) -> Result<(), DbError> {
        batch::take_in::<T>(tx, table, events, quarantine).await
    }

    async fn sweep(&self, tx: &mut Tx, table: &str, horizon: i64, limit: i64) -> Result<u64, DbError> {
        write::sweep::<T>(tx, table, horizon, limit).await
    }
}

/// The engine's side of a table.
#[must_use]
pub fn of<T: Table>() -> Arc<dyn Projection> {
    Arc::new(Of::<T>(PhantomData))
}

/// Every table projection of this version.
pub(crate) fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        of::<Clients>(),
        of::<Users>(),
        of::<Sessions>(),
        of::<Grants>(),
        of::<Tokens>(),
        of::<Keys>(),
        of::<Activity>(),
        of::<Participants>(),
    ]
}

pub(crate) fn named(name: &str) -> Option<Arc<dyn Projection>> {
    all().into_iter().find(|projection| projection.name() == name)
}

/// Whether this program has that version of a projection; a database may hold tables of others, during an update and after
/// the way back.
#[must_use]
pub fn is_known(name: &str, version: i64) -> bool {
    named(name).is_some_and(|projection| projection.version() == version)
}

/// The names of all table projections.
#[must_use]
pub fn names() -> Vec<&'static str> {
    all().iter().map(|projection| projection.name()).collect()
}
