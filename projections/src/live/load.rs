//! Loading the live models: from the tables as one snapshot has them, then from the log to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use grantlog_domain::{KeyId, Scope, Timestamp};

use super::clients::Stored as StoredClient;
use super::grants::{Issued, Parties};
use super::scopes::Scopes;
use super::{Live, LiveClient, LiveKey, LiveScope, LiveSession};
use crate::db::{Db, DbError, Tx};
use crate::feed::Cursor;
use crate::feed::eager::Eager;
use crate::tables::{clients, grants, keys, sessions, tokens, users};
use crate::{checkpoint, poison};

/// The tables that the live models are loaded from, next to that of the tokens.
const TABLES: [(&str, i64); 5] = [
    (clients::NAME, clients::VERSION),
    (users::NAME, users::VERSION),
    (sessions::NAME, sessions::VERSION),
    (grants::NAME, grants::VERSION),
    (keys::NAME, keys::VERSION),
];

impl Live {
    /// Fills the models and reads the log to its end; they are ready when this returns. [`Live::follow`] goes on from
    /// there.
    ///
    /// # Errors
    /// When the database is unavailable, or the log holds an event that this version does not know.
    pub async fn load(&self, db: &Db, now: Timestamp) -> Result<(), DbError> {
        let from = self.load_tables(db, now).await?;
        let began = Instant::now();
        let feed = Eager::start(db, from, |stored| {
            self.take_in(&stored).map_err(|unknown| DbError::Malformed(unknown.to_string()))
        })
        .await?;
        self.0.status.loaded(feed, began);
        Ok(())
    }

    /// Everything that stands at `now`. Answers from where to read the log: the table that is least far decides; for
    /// the others some events come twice, which changes nothing.
    async fn load_tables(&self, db: &Db, now: Timestamp) -> Result<Cursor, DbError> {
        // Tokens are many: they are loaded beside the rest. Each snapshot goes with the checkpoints seen in it.
        let (live, beside) = (self.clone(), db.clone());
        let tokens = tokio::spawn(async move {
            let mut tx = beside.begin_read().await?;
            let from = least(&mut tx, &[(tokens::NAME, tokens::VERSION)]).await?;
            if from.is_some() {
                live.load_tokens(&mut tx, now).await?;
            }
            tx.rollback().await?;
            Ok::<_, DbError>(from)
        });
        let mut tx = db.begin_read().await?;
        let from = least(&mut tx, &TABLES).await?;
        if from.is_some() {
            self.load_small(&mut tx, now).await?;
            self.load_grants(&mut tx, now).await?;
            for (aggregate_type, aggregate_id) in poison::aggregates(&mut tx).await? {
                self.quarantine(&aggregate_type, &aggregate_id);
            }
        }
        tx.rollback().await?;
        let tokens = tokens.await.map_err(|_| DbError::Malformed("loading the tokens panicked".to_owned()))??;
        Ok(from.zip(tokens).map_or(Cursor::START, |(from, tokens)| from.min(tokens)))
    }

    async fn load_small(&self, tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
        let inner = &*self.0;
        clients::each(tx, |row| {
            inner.clients.load(StoredClient {
                deleted: row.is_deleted(),
                sequence: row.sequence,
                client: LiveClient {
                    id: row.client_id,
                    enabled: row.is_enabled(),
                    metadata: row.metadata,
                    secret: row.secret,
                    owner: row.owner,
                    created_at: row.created_at,
                },
            });
        })
        .await?;
        users::each(tx, |row| inner.users.load(row.user_id, row.sequence, row.stage)).await?;
        sessions::each_living(tx, now, |row| {
            let session = LiveSession {
                id: row.session_id,
                user_id: row.user_id,
                cookie: row.cookie,
                auth_time: row.auth_time,
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

    async fn load_grants(&self, tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
        let (inner, around) = (&*self.0, self.0.around());
        let mut scopes = Spelled::default();
        grants::each_living(tx, now, |row| {
            let parties = Parties {
                client_id: row.client_id,
                user_id: row.user_id,
                consent: if row.is_consent { Some(scopes.get(&inner.scopes, row.scope)?) } else { None },
                expires_at: row.expires_at,
                code_expires_at: row.code_expires_at,
            };
            inner.grants.open(&around, row.grant_id, parties);
            if row.is_open {
                inner.grants.load_open(row.grant_id, row.refreshable);
            }
            Ok(())
        })
        .await
    }

    async fn load_tokens(&self, tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
        let inner = &*self.0;
        let mut scopes = Spelled::default();
        tokens::each_living(tx, now, |row| {
            let issued = Issued {
                sequence: row.issued_by,
                hash: row.token_hash,
                scope: scopes.get(&inner.scopes, row.scope)?,
                expires_at: row.expires_at,
                at: row.issued_at,
            };
            inner.grants.issue(row.grant_id, issued, false);
            Ok(())
        })
        .await
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
