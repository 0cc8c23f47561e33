//! The event log as it is read: the database, and the keys that say which of its events were decided.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::db::{Db, DbError};
use crate::feed::{Fault, Stored};
use crate::mac::{Content, MacKeys, Verdict};

/// A database and the keys of its log. Clones share the keys.
#[derive(Clone, Debug)]
pub struct Log {
    db: Db,
    keys: Arc<Keys>,
}

/// What readers of the log verify with. Nothing is read before the keys are there.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: OnceLock<MacKeys>,
    /// Events that were met and nobody decided.
    forged: AtomicU64,
}

impl Log {
    /// A log that can be read as soon as it is opened; see [`Self::open`].
    #[must_use]
    pub fn locked(db: Db) -> Self {
        Self { db, keys: Arc::default() }
    }

    /// A log and its keys.
    #[must_use]
    pub fn new(db: Db, keys: MacKeys) -> Self {
        let log = Self::locked(db);
        log.open(keys);
        log
    }

    /// Says which keys are its own. Once; later ones are ignored.
    pub fn open(&self, keys: MacKeys) {
        let _ = self.keys.keys.set(keys);
    }

    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// # Errors
    /// [`DbError::Malformed`] before [`Self::open`].
    pub fn keys(&self) -> Result<&MacKeys, DbError> {
        self.keys.get()
    }

    pub(crate) fn shared_keys(&self) -> Result<Arc<Keys>, DbError> {
        self.keys.get()?;
        Ok(Arc::clone(&self.keys))
    }

    /// How many events were met that nobody decided, each as often as it was met.
    #[must_use]
    pub fn forged(&self) -> u64 {
        self.keys.forged.load(Ordering::Relaxed)
    }

    /// Whether the event was decided. For who reads rows by themselves.
    ///
    /// # Errors
    /// [`Fault::Forged`], [`Fault::UnknownKey`]; see [`Self::settle`].
    pub fn verify(&self, content: &Content<'_>, mac: Option<&str>) -> Result<(), Fault> {
        match self.keys.get() {
            Ok(_) => self.keys.verify(content, mac),
            Err(error) => Err(Fault::Undecodable(error.to_string())),
        }
    }

    /// The same log over connections of its own; see [`Db::apart`].
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        Self { db: self.db.apart(connections), keys: Arc::clone(&self.keys) }
    }

    /// Finds out about a code under a key that is not here. When the database knows the key it is a newer one of another
    /// node, and the reader has to stop there. Otherwise somebody made it up.
    ///
    /// # Errors
    /// When the database is unavailable.
    pub async fn settle(&self, fault: &mut Fault) -> Result<(), DbError> {
        if let Fault::UnknownKey(id) = fault {
            let sql = "SELECT pepper_id FROM peppers WHERE pepper_id = $1 AND retired_at IS NULL";
            if self.db.fetch(sql, &[i64::from(*id).into()]).await?.is_empty() {
                self.keys.forged.fetch_add(1, Ordering::Relaxed);
                *fault = Fault::Forged;
            }
        }
        Ok(())
    }

    /// The same for rows.
    pub(crate) async fn settle_all(&self, mut events: Vec<Stored>) -> Result<Vec<Stored>, DbError> {
        for stored in &mut events {
            if let Err(fault) = &mut stored.event {
                self.settle(fault).await?;
            }
        }
        Ok(events)
    }
}

impl Keys {
    fn get(&self) -> Result<&MacKeys, DbError> {
        let closed = || DbError::Malformed("the log is read before its keys are there".to_owned());
        self.keys.get().ok_or_else(closed)
    }

    pub(crate) fn verify(&self, content: &Content<'_>, mac: Option<&str>) -> Result<(), Fault> {
        // Those who read have looked whether the keys are there.
        match self.keys.get().map_or(Verdict::Forged, |keys| keys.verify(content, mac)) {
            Verdict::Genuine(_) => Ok(()),
            Verdict::UnknownKey(id) => Err(Fault::UnknownKey(id)),
            Verdict::Forged => {
                self.forged.fetch_add(1, Ordering::Relaxed);
                Err(Fault::Forged)
            }
        }
    }
}

impl Deref for Log {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}
