//! Ending all of somebody's grants or sessions, however many there are: for what follows from a disabled client, for the
//! account page and for the command line alike.
//!
//! The tables only find them; whether there is something to end is decided on each, and one that has ended already, or
//! whose stream is not there any more, needs nothing. New ones may be made meanwhile: who must not get any is stopped first.

use grantlog_domain::grant::{Grant, GrantCommand, GrantError, RevocationReason};
use grantlog_domain::session::{EndReason, Session, SessionCommand, SessionError};
use grantlog_domain::{GrantId, SessionId, UserId};
use grantlog_projections::db::DbError;
use grantlog_projections::feed::Cursor;
use grantlog_projections::tables::grants::{self, GrantsOf};
use grantlog_projections::tables::sessions;

use super::{CommandContext, ExecuteError, Store};

/// Why not all have ended. Doing it again goes on where this stopped.
#[derive(Debug, thiserror::Error)]
pub enum EndingError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("cannot end grant {0}: {1}")]
    Grant(GrantId, ExecuteError<GrantError>),
    #[error("cannot end session {0}: {1}")]
    Session(SessionId, ExecuteError<SessionError>),
}

impl Store {
    /// Revokes every living grant of a user or client that the table of grants has. Answers how many there were.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_grants(
        &self,
        of: GrantsOf,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<usize, EndingError> {
        self.end_grants_where(None, of, reason, by).await
    }

    /// Of those, only the grants that were opened before this place in the log.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_grants_before(
        &self,
        place: Cursor,
        of: GrantsOf,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<usize, EndingError> {
        self.end_grants_where(Some(place), of, reason, by).await
    }

    async fn end_grants_where(
        &self,
        before: Option<Cursor>,
        of: GrantsOf,
        reason: RevocationReason,
        by: &CommandContext,
    ) -> Result<usize, EndingError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = grants::living_after(self.db(), of, self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(*last);
            for grant_id in page {
                let id = grant_id.to_string();
                if let Some(place) = before
                    && self.began_at("grant", &id).await?.is_some_and(|opened| opened > place)
                {
                    continue;
                }
                let command = GrantCommand::Revoke { reason, at: self.0.clock.now() };
                match self.execute::<Grant>(&id, command, &by.correlated(&id)).await {
                    Ok(_) | Err(ExecuteError::Refused(_)) => count += 1,
                    Err(error) => return Err(EndingError::Grant(grant_id, error)),
                }
            }
        }
    }

    /// Where the first event of an aggregate stands; `None` when it is not in the log any more.
    async fn began_at(&self, aggregate_type: &str, id: &str) -> Result<Option<Cursor>, DbError> {
        let sql = "SELECT txid, position FROM events \
                   WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence = 1";
        let rows = self.db().fetch(sql, &[aggregate_type.into(), id.into()]).await?;
        rows.first().map(|row| Ok(Cursor { txid: row.int(0)?, position: row.int(1)? })).transpose()
    }

    /// Ends every session of a user that the table of sessions has, but `except`. Answers how many there were.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_sessions(
        &self,
        user_id: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<usize, EndingError> {
        self.end_sessions_where(None, user_id, except, reason, by).await
    }

    /// Of those, only the sessions that were started before this place in the log.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_sessions_before(
        &self,
        place: Cursor,
        user_id: UserId,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<usize, EndingError> {
        self.end_sessions_where(Some(place), user_id, None, reason, by).await
    }

    async fn end_sessions_where(
        &self,
        before: Option<Cursor>,
        user_id: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        by: &CommandContext,
    ) -> Result<usize, EndingError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = sessions::living_after(self.db(), user_id, self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(*last);
            for session_id in page.into_iter().filter(|id| Some(*id) != except) {
                let id = session_id.to_string();
                if let Some(place) = before
                    && self.began_at("session", &id).await?.is_some_and(|started| started > place)
                {
                    continue;
                }
                let command = SessionCommand::End { reason, at: self.0.clock.now() };
                match self.execute::<Session>(&id, command, &by.correlated(&id)).await {
                    Ok(_) | Err(ExecuteError::Refused(_)) => count += 1,
                    Err(error) => return Err(EndingError::Session(session_id, error)),
                }
            }
        }
    }
}

impl CommandContext {
    /// The same for what belongs to that grant or session.
    fn correlated(&self, id: &str) -> Self {
        Self { correlation: Some(id.to_owned()), ..self.clone() }
    }
}
