//! What the database knows of the peppers: from when on each is used, and which are retired. Rows never leave, so that an id
//! is never given twice.

use grantlog_domain::Timestamp;
use grantlog_projections::db::Value;

use super::{Store, StoreError, attest};
use crate::secrets::{KnownPepper, PepperSource, Secrets, SecretsError};

/// The kept key that names users and sessions to clients.
const IDENTIFIERS: &str = "identifiers";

impl Store {
    /// Opens the peppers, makes them at the first start, and lets the database know them so that their loss is noticed.
    /// From here on the log can be read and appended to.
    ///
    /// # Errors
    /// [`StoreError::Secrets`] with what to do.
    pub async fn open_secrets(&self, source: &PepperSource) -> Result<Secrets, StoreError> {
        let (known, now) = (self.peppers().await?, self.0.clock.now());
        let secrets = Secrets::open(source, &known, &self.0.entropy, now)?;
        for pepper in secrets.known_peppers() {
            // The first one is used at once; a later one waits until every server has it (`grantlog pepper rotate`).
            let used_from = if known.is_empty() { Value::Int(now.0) } else { Value::Null };
            self.0
                .log
                .execute(
                    "INSERT INTO peppers (pepper_id, check_value, created_at, used_from) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (pepper_id) DO NOTHING",
                    &[Value::Int(i64::from(pepper.id)), Value::Text(pepper.check_value), Value::Int(now.0), used_from],
                )
                .await?;
        }
        // Another node may have been first with other peppers.
        let known = self.peppers().await?;
        let secrets = Secrets::open(source, &known, &self.0.entropy, now)?;
        let sql = "SELECT sealed_key FROM vault_kept_keys WHERE purpose = $1";
        let kept = self.0.log.fetch(sql, &[Value::from(IDENTIFIERS)]).await?;
        let opened = kept.first().map(|row| Ok::<_, StoreError>(secrets.open_identifiers(row.str(0)?))).transpose()?;
        match opened {
            None if !secrets.has_pepper(secrets.first_pepper()) => Err(SecretsError::KeptKeyLost.into()),
            Some(false) => Err(SecretsError::KeptKeyLost.into()),
            None | Some(true) => {
                // Until then nobody can tell what in the log was decided.
                if attest::is_done(&self.0.log).await? {
                    self.0.log.open(secrets.mac_keys());
                }
                Ok(secrets)
            }
        }
    }

    /// The peppers that this database was ever used with, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn peppers(&self) -> Result<Vec<KnownPepper>, StoreError> {
        let sql = "SELECT pepper_id, check_value, used_from, retiring_at, retired_at FROM peppers ORDER BY pepper_id";
        let mut known = Vec::new();
        for row in self.0.log.fetch(sql, &[]).await? {
            known.push(KnownPepper {
                // An id that does not fit is unknown to any file, and so is reported as lost.
                id: u16::try_from(row.int(0)?).unwrap_or(0),
                check_value: row.text(1)?,
                used_from: row.opt_int(2)?.map(Timestamp),
                retiring_at: row.opt_int(3)?.map(Timestamp),
                retired_at: row.opt_int(4)?.map(Timestamp),
            });
        }
        Ok(known)
    }

    /// From `at` on, every server makes its hashes with that pepper, unless that was said already.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_pepper(&self, id: u16, at: Timestamp) -> Result<(), StoreError> {
        self.set_pepper("used_from", id, at).await
    }

    /// Names are not indexed under that pepper from now on, and a server that has no newer one stops.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_retiring(&self, id: u16, at: Timestamp) -> Result<(), StoreError> {
        self.set_pepper("retiring_at", id, at).await
    }

    /// That pepper is worth nothing from now on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn end_retiring(&self, id: u16, at: Timestamp) -> Result<(), StoreError> {
        self.set_pepper("retired_at", id, at).await
    }

    async fn set_pepper(&self, column: &'static str, id: u16, at: Timestamp) -> Result<(), StoreError> {
        let sql = format!("UPDATE peppers SET {column} = $1 WHERE pepper_id = $2 AND {column} IS NULL");
        self.0.log.execute(&sql, &[Value::Int(at.0), Value::Int(i64::from(id))]).await?;
        Ok(())
    }

    /// Keeps what names users and sessions to clients, sealed under the newest pepper, before the first one goes.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn keep_identifiers(&self, secrets: &Secrets) -> Result<(), StoreError> {
        let sql = "INSERT INTO vault_kept_keys (purpose, sealed_key, created_at) VALUES ($1, $2, $3) \
                   ON CONFLICT (purpose) DO UPDATE SET sealed_key = excluded.sealed_key";
        let sealed = Value::Text(secrets.seal_identifiers());
        self.0.log.execute(sql, &[Value::from(IDENTIFIERS), sealed, Value::Int(self.0.clock.now().0)]).await?;
        Ok(())
    }
}
