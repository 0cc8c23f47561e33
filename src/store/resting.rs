//! What still rests on a pepper and cannot be made anew, because only a hash of it is here: client secrets, registration
//! access tokens, sessions, and grants with their codes and tokens. The tables say what lives; they must have come to the
//! end of the log.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use grantlog_domain::grant::{Grant, GrantCommand, RevocationReason, Stage};
use grantlog_domain::session::{EndReason, Session, SessionCommand};
use grantlog_domain::{GrantId, SessionId, Timestamp};
use grantlog_projections::db::{DbError, Value};
use grantlog_projections::tables::{grants, sessions};

use super::{CommandContext, EndingError, ExecuteError, Store, StoreError};

/// Grants or sessions that are looked at or ended at the same time.
const AT_ONCE: usize = 64;

/// Living grants that rest on a pepper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestingGrants {
    /// With a code or a refresh token hashed under it, and those that have nothing else to live on.
    pub grants: i64,
    /// With an access token under it and a refresh token under a newer one: only that access token ends.
    pub access_tokens: i64,
}

/// How a grant rests on a pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rests {
    Wholly,
    ByAccessToken,
}

impl Store {
    /// How many living grants rest on that pepper. Walks over all that live.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn grants_under_pepper(&self, pepper: u16) -> Result<RestingGrants, StoreError> {
        let (mut resting, mut after) = (RestingGrants::default(), None);
        loop {
            let page = grants::all_living_after(self.db(), self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(resting) };
            after = Some(*last);
            for (_, rests) in self.resting(pepper, &page).await? {
                match rests {
                    Rests::Wholly => resting.grants += 1,
                    Rests::ByAccessToken => resting.access_tokens += 1,
                }
            }
        }
    }

    /// Revokes the living grants that rest wholly on that pepper, and tells `progress` of each. Doing it again goes on
    /// where it stopped.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_grants_under_pepper(
        &self,
        pepper: u16,
        by: &CommandContext,
        progress: &(dyn Fn() + Sync),
    ) -> Result<(), EndingError> {
        let mut after = None;
        loop {
            let page = grants::all_living_after(self.db(), self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            let resting = self.resting(pepper, &page).await.map_err(database)?;
            let wholly = resting.into_iter().filter(|(_, rests)| *rests == Rests::Wholly).map(|(id, _)| id);
            let end = |id: GrantId| async move {
                let command = GrantCommand::Revoke { reason: RevocationReason::Admin, at: self.0.clock.now() };
                let by = CommandContext { correlation: Some(id.to_string()), ..by.clone() };
                match self.execute::<Grant>(&id.to_string(), command, &by).await {
                    Ok(_) | Err(ExecuteError::Refused(_) | ExecuteError::Damaged(_)) => progress(),
                    Err(error) => return Err(EndingError::Grant(id, error)),
                }
                Ok(())
            };
            stream::iter(wholly.map(end)).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
    }

    /// Ends the living sessions whose cookie was hashed under that pepper, and tells `progress` of each.
    ///
    /// # Errors
    /// See [`EndingError`].
    pub async fn end_sessions_under_pepper(
        &self,
        pepper: u16,
        by: &CommandContext,
        progress: &(dyn Fn() + Sync),
    ) -> Result<(), EndingError> {
        let mut after = None;
        loop {
            let page = sessions::living_under_pepper(self.db(), pepper, self.0.clock.now(), after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            let end = |id: SessionId| async move {
                let command = SessionCommand::End { reason: EndReason::Admin, at: self.0.clock.now() };
                let by = CommandContext { correlation: Some(id.to_string()), ..by.clone() };
                match self.execute::<Session>(&id.to_string(), command, &by).await {
                    Ok(_) | Err(ExecuteError::Refused(_) | ExecuteError::Damaged(_)) => progress(),
                    Err(error) => return Err(EndingError::Session(id, error)),
                }
                Ok(())
            };
            stream::iter(page.into_iter().map(end)).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
    }

    /// Which of these grants rest on that pepper. Their events tell which may; the grant itself which do.
    async fn resting(&self, pepper: u16, page: &[GrantId]) -> Result<Vec<(GrantId, Rests)>, StoreError> {
        let places: Vec<String> = (1..=page.len()).map(|at| format!("${at}")).collect();
        let sql = format!(
            "SELECT DISTINCT aggregate_id FROM events WHERE aggregate_type = 'grant' AND aggregate_id IN ({}) \
             AND CAST(payload AS text) LIKE '%\":\"{pepper}.%'",
            places.join(", ")
        );
        let values: Vec<Value> = page.iter().map(|id| Value::Text(id.to_string())).collect();
        let rows = self.db().fetch(&sql, &values).await?;
        let ids = rows.iter().map(|row| row.parse(0)).collect::<Result<Vec<GrantId>, DbError>>()?;
        let now = self.0.clock.now();
        let look = |id: GrantId| async move {
            match self.load::<Grant>(&id.to_string()).await {
                Ok(loaded) => Ok(rests(&loaded.aggregate, pepper, now).map(|rests| (id, rests))),
                // It counts as ended.
                Err(StoreError::Damaged { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let looked = stream::iter(ids.into_iter().map(look)).buffer_unordered(AT_ONCE);
        looked.try_filter_map(async |resting| Ok(resting)).try_collect().await
    }
}

fn rests(grant: &Grant, pepper: u16, now: Timestamp) -> Option<Rests> {
    match grant.stage() {
        Stage::CodeIssued(issued) => {
            let code = issued.code.pepper == pepper && now < issued.code_expires_at;
            let token = issued.access_token.as_ref();
            let token = token.is_some_and(|token| token.hash.pepper == pepper && now < token.expires_at);
            (code || token).then_some(Rests::Wholly)
        }
        Stage::Open(tokens) => {
            let living = tokens.access_tokens.iter().filter(|held| !held.revoked && now < held.token.expires_at);
            let by_token = living.clone().any(|held| held.token.hash.pepper == pepper);
            match &tokens.refresh {
                Some(family) if family.current.pepper == pepper => Some(Rests::Wholly),
                Some(_) => by_token.then_some(Rests::ByAccessToken),
                None if living.clone().all(|held| held.token.hash.pepper == pepper) => {
                    by_token.then_some(Rests::Wholly)
                }
                None => by_token.then_some(Rests::ByAccessToken),
            }
        }
        Stage::Absent | Stage::Revoked { .. } => None,
    }
}

fn database(error: StoreError) -> EndingError {
    match error {
        StoreError::Database(error) => error.into(),
        other => EndingError::Database(DbError::Malformed(other.to_string())),
    }
}
