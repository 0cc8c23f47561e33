//! Loading the live models: from the tables as one snapshot has them, then from the log to its end.

use std::time::Instant;

use grantlog_domain::grant::AccessToken;
use grantlog_domain::{KeyId, Timestamp};

use super::clients::Stored as StoredClient;
use super::grants::{Issued, Parties};
use super::{Live, LiveClient, LiveKey, LiveSession};
use crate::db::{Db, DbError, Tx};
use crate::feed::Cursor;
use crate::feed::eager::Eager;
use crate::tables::grants::GrantStage;
use crate::tables::{clients, grants, keys, sessions, tokens, users};
use crate::{checkpoint, poison};

/// The tables that the live models are loaded from.
const TABLES: [(&str, i64); 6] = [
    (clients::NAME, clients::VERSION),
    (users::NAME, users::VERSION),
    (sessions::NAME, sessions::VERSION),
    (grants::NAME, grants::VERSION),
    (tokens::NAME, tokens::VERSION),
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
        let mut tx = db.begin_read().await?;
        let mut from = None;
        for (name, version) in TABLES {
            let Some(active) = checkpoint::active(&mut tx, name, version).await? else { return Ok(Cursor::START) };
            from = Some(from.map_or(active.cursor, |least: Cursor| least.min(active.cursor)));
        }
        self.load_small(&mut tx, now).await?;
        self.load_grants(&mut tx, now).await?;
        for (aggregate_type, aggregate_id) in poison::aggregates(&mut tx).await? {
            self.quarantine(&aggregate_type, &aggregate_id);
        }
        tx.rollback().await?;
        Ok(from.unwrap_or(Cursor::START))
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
        grants::each_living(tx, now, |row| {
            let parties = Parties {
                client_id: row.client_id,
                user_id: row.user_id,
                consent: row.is_consent().then_some(&row.scope),
                expires_at: row.expires_at,
            };
            inner.grants.open(&around, row.grant_id, &parties, row.code_expires_at);
            if row.stage == GrantStage::Open {
                inner.grants.load_open(row.grant_id, row.refreshable);
            }
        })
        .await?;
        tokens::each_living(tx, now, |row| {
            let token = AccessToken { hash: row.token_hash, scope: row.scope, expires_at: row.expires_at };
            let issued = Issued { sequence: row.issued_by, token: &token, at: row.issued_at };
            inner.grants.issue(&around, row.grant_id, &issued, false);
        })
        .await
    }
}
