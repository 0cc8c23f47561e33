//! Ending all of somebody's grants or sessions, however many there are: for what follows from a disabled client, for the
//! account page and for the command line alike.
//!
//! The tables find most of them, and the log behind the tables' place the rest: a foreign transaction may hold the tables
//! back for as long as it is open, and what is acknowledged here holds at once. Whether there is something to end is
//! decided on each, and one that has ended already, or whose stream is not there any more, needs nothing. New ones may be
//! made meanwhile: who must not get any is stopped first.

use std::fmt;

use grantlog_domain::grant::{Authorization, Grant, GrantCommand, GrantError, RevocationReason};
use grantlog_domain::session::{EndReason, Session, SessionCommand, SessionError, Stage};
use grantlog_domain::{DecodeError, Event, GrantId, SessionId, UserId};
use grantlog_projections::checkpoint;
use grantlog_projections::db::DbError;
use grantlog_projections::feed::{Cursor, ahead};
use grantlog_projections::tables::grants::{self, GrantsOf};
use grantlog_projections::tables::sessions;

use super::{CommandContext, ExecuteError, Store, StoreError};

/// Why not all have ended. Doing it again goes on where this stopped.
#[derive(Debug, thiserror::Error)]
pub enum EndingError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("cannot end grant {0}: {1}")]
    Grant(GrantId, ExecuteError<GrantError>),
    #[error("cannot end session {0}: {1}")]
    Session(SessionId, ExecuteError<SessionError>),
    /// Another version may take it for living: it ends only there.
    #[error("cannot end {aggregate}: a newer version wrote its {event_type}")]
    Newer { aggregate: Aggregate, event_type: String },
}

/// A grant or session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    kind: &'static str,
    id: String,
}

impl fmt::Display for Aggregate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.kind, self.id)
    }
}

/// What has ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// How many ended now.
    pub count: usize,
    /// Those whose streams cannot be read. They count as ended everywhere already, and nothing can be decided on them.
    pub damaged: Vec<Aggregate>,
}

impl Store {
    /// Revokes every living grant of a user or client.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_grants(
        &self,
        of: GrantsOf,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<Ended, EndingError> {
        // Before the table is read: what it takes in meanwhile is then found twice, never not at all.
        let mut from = Some(self.reached(grants::NAME, grants::VERSION).await?);
        let mut ended = self.end_grants_where(None, of, reason, by).await?;
        while let Some(after) = from {
            let begun = ahead::begun_after(self.db(), after, "grant", &mentioned(of)).await?;
            from = begun.next;
            for id in begun.aggregate_ids {
                let Ok(grant_id) = id.parse::<GrantId>() else { continue };
                let grant = match self.load::<Grant>(&id).await {
                    Ok(loaded) => loaded.aggregate,
                    Err(StoreError::Damaged { reason, .. }) => {
                        self.pass_over(&mut ended, "grant", &id, &reason).await?;
                        continue;
                    }
                    Err(StoreError::Database(error)) => return Err(error.into()),
                    Err(other) => return Err(EndingError::Grant(grant_id, ExecuteError::Fault(other.to_string()))),
                };
                if grant.authorization().is_some_and(|authorization| belongs_to(authorization, of)) {
                    self.end_grant(&mut ended, grant_id, reason, by).await?;
                }
            }
        }
        Ok(ended)
    }

    /// Of those that the table of grants has, only the grants that were opened before this place in the log, which the
    /// table has reached.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_grants_before(
        &self,
        place: Cursor,
        of: GrantsOf,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<Ended, EndingError> {
        self.end_grants_where(Some(place), of, reason, by).await
    }

    async fn end_grants_where(
        &self,
        before: Option<Cursor>,
        of: GrantsOf,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<Ended, EndingError> {
        let (mut after, mut ended) = (None, Ended::default());
        loop {
            let page = grants::living_after(self.db(), of, self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(ended) };
            after = Some(*last);
            for grant_id in page {
                if let Some(place) = before
                    && self.began_at("grant", &grant_id.to_string()).await?.is_some_and(|opened| opened > place)
                {
                    continue;
                }
                self.end_grant(&mut ended, grant_id, reason, by).await?;
            }
        }
    }

    async fn end_grant(
        &self,
        ended: &mut Ended,
        grant_id: GrantId,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<(), EndingError> {
        let id = grant_id.to_string();
        let command = GrantCommand::Revoke { reason, at: self.0.clock.now() };
        match self.execute::<Grant>(&id, command, &by.correlated(&id)).await {
            Ok(executed) => ended.count += usize::from(!executed.events.is_empty()),
            Err(ExecuteError::Refused(_)) => {}
            Err(ExecuteError::Damaged(reason)) => self.pass_over(ended, "grant", &id, &reason).await?,
            Err(error) => return Err(EndingError::Grant(grant_id, error)),
        }
        Ok(())
    }

    /// Ends every session of a user but `except`.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_sessions(
        &self,
        user_id: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<Ended, EndingError> {
        // As with the grants.
        let mut from = Some(self.reached(sessions::NAME, sessions::VERSION).await?);
        let mut ended = self.end_sessions_where(None, user_id, except, reason, by).await?;
        while let Some(after) = from {
            let begun = ahead::begun_after(self.db(), after, "session", &[user_id.to_string()]).await?;
            from = begun.next;
            for id in begun.aggregate_ids {
                let Ok(session_id) = id.parse::<SessionId>() else { continue };
                let session = match self.load::<Session>(&id).await {
                    Ok(loaded) => loaded.aggregate,
                    Err(StoreError::Damaged { reason, .. }) => {
                        self.pass_over(&mut ended, "session", &id, &reason).await?;
                        continue;
                    }
                    Err(StoreError::Database(error)) => return Err(error.into()),
                    Err(other) => return Err(EndingError::Session(session_id, ExecuteError::Fault(other.to_string()))),
                };
                let is_theirs = matches!(session.stage(), Stage::Started(started) if started.user_id == user_id);
                if is_theirs && Some(session_id) != except {
                    self.end_session(&mut ended, session_id, reason, by).await?;
                }
            }
        }
        Ok(ended)
    }

    /// Of those that the table of sessions has, only the sessions that were started before this place in the log, which
    /// the table has reached.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_sessions_before(
        &self,
        place: Cursor,
        user_id: UserId,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<Ended, EndingError> {
        self.end_sessions_where(Some(place), user_id, None, reason, by).await
    }

    async fn end_sessions_where(
        &self,
        before: Option<Cursor>,
        user_id: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<Ended, EndingError> {
        let (mut after, mut ended) = (None, Ended::default());
        loop {
            let page = sessions::living_after(self.db(), user_id, self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(ended) };
            after = Some(*last);
            for session_id in page.into_iter().filter(|id| Some(*id) != except) {
                if let Some(place) = before
                    && self.began_at("session", &session_id.to_string()).await?.is_some_and(|started| started > place)
                {
                    continue;
                }
                self.end_session(&mut ended, session_id, reason, by).await?;
            }
        }
    }

    async fn end_session(
        &self,
        ended: &mut Ended,
        session_id: SessionId,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<(), EndingError> {
        let id = session_id.to_string();
        let command = SessionCommand::End { reason, at: self.0.clock.now() };
        match self.execute::<Session>(&id, command, &by.correlated(&id)).await {
            Ok(executed) => ended.count += usize::from(!executed.events.is_empty()),
            Err(ExecuteError::Refused(_)) => {}
            Err(ExecuteError::Damaged(reason)) => self.pass_over(ended, "session", &id, &reason).await?,
            Err(error) => return Err(EndingError::Session(session_id, error)),
        }
        Ok(())
    }

    /// How far the table that answers has come.
    async fn reached(&self, name: &str, version: i64) -> Result<Cursor, DbError> {
        let all = checkpoint::all(self.db()).await?;
        let active =
            all.into_iter().find(|(table, answers)| *answers && table.name == name && table.version == version);
        Ok(active.map_or(Cursor::START, |(table, _)| table.cursor))
    }

    /// Where the first event of an aggregate stands; `None` when it is not in the log any more.
    async fn began_at(&self, aggregate_type: &str, id: &str) -> Result<Option<Cursor>, DbError> {
        let sql = "SELECT txid, position FROM events \
                   WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence = 1";
        let rows = self.db().fetch(sql, &[aggregate_type.into(), id.into()]).await?;
        rows.first().map(|row| Ok(Cursor { txid: row.int(0)?, position: row.int(1)? })).transpose()
    }

    /// A stream that cannot be read keeps nobody else's from ending, if it is damaged and not only too new for us.
    async fn pass_over(
        &self,
        ended: &mut Ended,
        kind: &'static str,
        id: &str,
        reason: &str,
    ) -> Result<(), EndingError> {
        let aggregate = Aggregate { kind, id: id.to_owned() };
        if let Some(event_type) = self.of_newer_version(kind, id).await? {
            return Err(EndingError::Newer { aggregate, event_type });
        }
        if !ended.damaged.contains(&aggregate) {
            tracing::error!(%aggregate, reason, "cannot be ended: its stream is damaged, so it counts as ended");
            ended.damaged.push(aggregate);
        }
        Ok(())
    }

    /// An event type in a stream that this version does not know.
    async fn of_newer_version(&self, aggregate_type: &str, id: &str) -> Result<Option<String>, DbError> {
        let sql = "SELECT event_type, event_version, CAST(payload AS text) FROM events \
                   WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence";
        let rows = self.db().fetch(sql, &[aggregate_type.into(), id.into()]).await?;
        Ok(rows.iter().find_map(|row| {
            // What is not even text is damaged.
            let (event_type, version, payload) = (row.str(0).ok()?, row.str(1).ok()?, row.str(2).ok()?);
            match Event::decode(aggregate_type, event_type, version, payload) {
                Err(DecodeError::UnknownType(unknown)) => Some(unknown),
                Ok(_) | Err(DecodeError::Undecodable { .. }) => None,
            }
        }))
    }
}

/// The ids that the first event of each of these grants holds.
fn mentioned(of: GrantsOf) -> Vec<String> {
    match of {
        GrantsOf::Client(client_id) => vec![client_id.to_string()],
        GrantsOf::User(user_id) => vec![user_id.to_string()],
        GrantsOf::UserAtClient(user_id, client_id) => vec![user_id.to_string(), client_id.to_string()],
        GrantsOf::UserInSession(user_id, session_id) => vec![user_id.to_string(), session_id.to_string()],
    }
}

/// As the table of grants has it.
fn belongs_to(authorization: &Authorization, of: GrantsOf) -> bool {
    let Authorization { client_id, user_id, session_id, scope, .. } = authorization;
    match of {
        GrantsOf::Client(client) => *client_id == client,
        GrantsOf::User(user) => *user_id == Some(user),
        GrantsOf::UserAtClient(user, client) => *user_id == Some(user) && *client_id == client,
        GrantsOf::UserInSession(user, session) => {
            let lasts = !scope.contains("openid") || scope.contains("offline_access");
            *user_id == Some(user) && *session_id == Some(session) && !lasts
        }
    }
}

impl CommandContext {
    /// The same for what belongs to that grant or session.
    fn correlated(&self, id: &str) -> Self {
        Self { correlation: Some(id.to_owned()), ..self.clone() }
    }
}
