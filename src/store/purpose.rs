//! What a database is for: a demonstration, in which anybody is anybody, or real use. It is marked once, by its first server,
//! and never served as the other.

use grantlog_domain::ClientId;

use super::Store;
use super::error::StoreError;

/// What a database is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Demo,
    Real,
}

/// What is known of a database that nobody has marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Nothing was ever appended.
    New,
    /// A demonstration was served from it, before such a thing was marked; `passwords`: and somebody has a password, which
    /// nobody has in a demonstration.
    Demo { passwords: bool },
    /// No demonstration ever was.
    Real,
}

impl Purpose {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Real => "real",
        }
    }
}

impl Store {
    /// What this database is marked as.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn purpose(&self) -> Result<Option<Purpose>, StoreError> {
        let rows = self.db().fetch("SELECT purpose FROM database_purpose", &[]).await?;
        let found = rows.first().map(|row| row.text(0)).transpose()?;
        Ok(found.map(|found| if found == Purpose::Demo.as_str() { Purpose::Demo } else { Purpose::Real }))
    }

    /// Marks a database that is not marked yet. Answers what it is marked as now: somebody else may have been first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn mark(&self, purpose: Purpose) -> Result<Purpose, StoreError> {
        let sql = "INSERT INTO database_purpose (only_row, purpose, marked_at) VALUES (1, $1, $2) \
                   ON CONFLICT (only_row) DO NOTHING";
        self.db().execute(sql, &[purpose.as_str().into(), self.0.clock.now().0.into()]).await?;
        Ok(self.purpose().await?.unwrap_or(purpose))
    }

    /// What an unmarked database looks like. Every demonstration made the client `demo` at its start.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn signs(&self, demo: ClientId) -> Result<Signs, StoreError> {
        let sql = "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM events) THEN 1 ELSE 0 END AS BIGINT), \
                   CAST(CASE WHEN EXISTS (SELECT 1 FROM events WHERE aggregate_type = 'client' AND aggregate_id = $1) \
                       THEN 1 ELSE 0 END AS BIGINT), \
                   CAST(CASE WHEN EXISTS (SELECT 1 FROM vault_users WHERE sealed_password IS NOT NULL) \
                       THEN 1 ELSE 0 END AS BIGINT)";
        let rows = self.db().fetch(sql, &[demo.to_string().into()]).await?;
        let Some(row) = rows.first() else { return Ok(Signs::New) };
        Ok(match (row.flag(0)?, row.flag(1)?, row.flag(2)?) {
            (_, true, passwords) => Signs::Demo { passwords },
            (false, false, false) => Signs::New,
            (..) => Signs::Real,
        })
    }

    /// Everybody who can sign in, by the vault.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn everybody(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.db().fetch("SELECT user_id FROM vault_users ORDER BY user_id", &[]).await?;
        Ok(rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?)
    }
}
