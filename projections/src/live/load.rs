//! Loading the live models: from the tables as one snapshot has them, then from the log to its end.

use std::collections::HashMap;
use std::sync::Arc;

use grantlog_domain::{KeyId, Scope, Timestamp};
use parking_lot::Mutex;

use super::grants::{Issued, Parties, shared_claims};
use super::scopes::Scopes;
use super::{Live, LiveKey, LiveScope, LiveSession};
use crate::db::{Block, DbError, Scan, Tx};
use crate::feed::Cursor;
use crate::feed::Fault;
use crate::feed::eager::Eager;
use crate::log::Log;
use crate::tables::grants::LivingGrant;
use crate::tables::tokens::LivingToken;
use crate::tables::{clients, grants, keys, sessions, tokens, users};
use crate::ticks::Tick;
use crate::{checkpoint, poison};

/// The small tables that the live models are loaded from; those of grants and tokens are large.
const TABLES: [(&str, i64); 4] = [
    (clients::NAME, clients::VERSION),
    (users::NAME, users::VERSION),
    (sessions::NAME, sessions::VERSION),
    (keys::NAME, keys::VERSION),
];

impl Live {
    /// Fills the models and reads the log to its end; they are ready when this returns. [`Live::follow`] goes on from
    /// there.
    ///
    /// # Errors
    /// When the database is unavailable, or the log holds an event that this version does not know.
    pub async fn load(&self, log: &Log, now: Timestamp) -> Result<(), DbError> {
        let from = self.load_tables(log, now).await?;
        let began = Tick::now();
        let (live, unsettled) = (self.clone(), Arc::new(Mutex::new(Vec::new())));
        let under_unknown_keys = Arc::clone(&unsettled);
        let feed = Eager::start(log, from, move |entries| {
            let mut events = 0;
            for entry in entries.iter() {
                let entry = entry?;
                match live.take_in_entry(&entry) {
                    Ok(applied) => events += u64::from(applied),
                    Err(Fault::UnknownKey(_)) => under_unknown_keys.lock().push(entry.stored()),
                    Err(unknown) => return Err(DbError::Malformed(unknown.to_string())),
                }
            }
            live.0.status.counted(events);
            Ok(())
        })
        .await?;
        let unsettled = std::mem::take(&mut *unsettled.lock());
        for stored in log.settle_all(unsettled).await? {
            self.take_in(&stored).map_err(|unknown| DbError::Malformed(unknown.to_string()))?;
        }
        self.0.status.loaded(feed, began);
        Ok(())
    }

    /// Everything that stands at `now`. Answers from where to read the log: the table that is least far decides; for
    /// the others some events come twice, which changes nothing. Each part has a snapshot, and the checkpoints in it.
    async fn load_tables(&self, db: &Log, now: Timestamp) -> Result<Cursor, DbError> {
        let parts = tokio::try_join!(self.load_small(db, now), self.load_grants(db, now), self.load_tokens(db, now))?;
        // Last, so that nothing is missed that one of the tables could not take in.
        let mut tx = db.begin_long_read().await?;
        for (aggregate_type, aggregate_id) in poison::aggregates(&mut tx).await? {
            self.quarantine(&aggregate_type, &aggregate_id);
        }
        tx.rollback().await?;
        Ok(match parts {
            (Some(small), Some(grants), Some(tokens)) => small.min(grants).min(tokens),
            // A table is not there yet: all of the log.
            _ => Cursor::START,
        })
    }

    async fn load_small(&self, db: &Log, now: Timestamp) -> Result<Option<Cursor>, DbError> {
        let mut tx = db.begin_long_read().await?;
        let from = least(&mut tx, &TABLES).await?;
        if from.is_some() {
            self.load_rows(&mut tx, now).await?;
        }
        tx.rollback().await?;
        Ok(from)
    }

    async fn load_rows(&self, tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
        let inner = &*self.0;
        clients::each(tx, |row| inner.clients.load(&inner.users, row)).await?;
        users::each(tx, |row| inner.users.load(row.user_id, row.sequence, row.stage)).await?;
        sessions::each_living(tx, now, |row| {
            let session = LiveSession {
                id: row.session_id,
                user_id: row.user_id,
                cookie: row.cookie,
                auth_time: row.auth_time,
                amr: row.amr.into(),
                expires_at: row.expires_at,
            };
            inner.sessions.load(&session, row.sequence);
        })
        .await?;
        keys::each(tx, |row| {
            inner.keys.load(LiveKey {
                id: KeyId(row.key_id),
                algorithm: row.algorithm,
                public_jwk: row.public_jwk,
                stage: row.stage,
                created_at: row.created_at,
            });
        })
        .await
    }

    async fn load_grants(&self, db: &Log, now: Timestamp) -> Result<Option<Cursor>, DbError> {
        let mut scan = Scan::open(db).await?;
        scan.begin().await?;
        let from = checkpoint::active_in(&mut scan, grants::NAME, grants::VERSION).await?;
        if from.is_some() {
            let live = self.clone();
            scan.for_each(grants::living(now), move |block| live.load_grants_of(block)).await?;
        }
        Ok(from.map(|(_, cursor)| cursor))
    }

    fn load_grants_of(&self, block: &Block) -> Result<(), DbError> {
        let (inner, around, mut scopes) = (&*self.0, self.0.around(), Spelled::default());
        for row in block.rows() {
            let row = LivingGrant::read(row)?;
            let parties = Parties {
                client_id: row.client_id,
                user_id: row.user_id,
                consent: if row.is_consent { Some(scopes.get(&inner.scopes, row.scope)?) } else { None },
                claims: shared_claims(&row.claims),
                shown: around.shown(row.consent.as_ref()),
                expires_at: row.expires_at,
                code_expires_at: row.code_expires_at,
            };
            inner.grants.open(&around, row.grant_id, parties);
            if row.is_open {
                inner.grants.load_open(row.grant_id, row.refreshable);
            }
        }
        Ok(())
    }

    async fn load_tokens(&self, db: &Log, now: Timestamp) -> Result<Option<Cursor>, DbError> {
        let mut scan = Scan::open(db).await?;
        scan.begin().await?;
        let from = checkpoint::active_in(&mut scan, tokens::NAME, tokens::VERSION).await?;
        if from.is_some() {
            let live = self.clone();
            scan.for_each(tokens::living(now), move |block| live.load_tokens_of(block)).await?;
        }
        Ok(from.map(|(_, cursor)| cursor))
    }

    fn load_tokens_of(&self, block: &Block) -> Result<(), DbError> {
        let (inner, mut scopes) = (&*self.0, Spelled::default());
        for row in block.rows() {
            let row = LivingToken::read(row)?;
            let issued = Issued {
                sequence: row.issued_by,
                hash: row.token_hash,
                scope: scopes.get(&inner.scopes, row.scope)?,
                expires_at: row.expires_at,
                at: row.issued_at,
            };
            inner.grants.issue(row.grant_id, issued, false);
        }
        Ok(())
    }
}

/// Where the least far of these tables stands; `None` when one of them is not there yet.
async fn least(tx: &mut Tx, tables: &[(&str, i64)]) -> Result<Option<Cursor>, DbError> {
    let mut least = None;
    for (name, version) in tables {
        let Some(active) = checkpoint::active(tx, name, *version).await? else { return Ok(None) };
        least = Some(least.map_or(active.cursor, |least: Cursor| least.min(active.cursor)));
    }
    Ok(least)
}

/// Scopes by their text: a few of them stand in a great many rows.
#[derive(Default)]
struct Spelled(HashMap<String, Arc<LiveScope>>);

impl Spelled {
    fn get(&mut self, scopes: &Scopes, text: &str) -> Result<Arc<LiveScope>, DbError> {
        if let Some(scope) = self.0.get(text) {
            return Ok(Arc::clone(scope));
        }
        let scope = Scope::parse(text).map_err(|error| DbError::Malformed(error.to_string()))?;
        let shared = scopes.share(&scope);
        self.0.insert(text.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }
}
