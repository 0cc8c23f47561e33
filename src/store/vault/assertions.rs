//! What is used once: assertions (RFC 7523 3, `jti`), and sign-ins that a request asks for. The row of the database that only
//! one can make is what says, on whatever node, that it is shown for the first time.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::{ClientId, Timestamp};
use grantlog_projections::db::Value;

use super::{Vault, VaultError};

/// Expired rows that are removed in one step.
const STEP: i64 = 1000;

impl Vault {
    /// Notes the use of an assertion that expires at `expires_at`. `false` when it was used before.
    ///
    /// # Errors
    /// [`VaultError::Database`]: then it is not known.
    pub async fn use_assertion(
        &self,
        client_id: ClientId,
        jti: &str,
        expires_at: Timestamp,
    ) -> Result<bool, VaultError> {
        self.use_once(&format!("{client_id} {jti}"), expires_at).await
    }

    /// Notes the use of something that is worth nothing after `expires_at`. `false` when it was used before. Every kind of
    /// thing is spelled so that it cannot be one of another kind.
    ///
    /// # Errors
    /// [`VaultError::Database`]: then it is not known.
    pub async fn use_once(&self, what: &str, expires_at: Timestamp) -> Result<bool, VaultError> {
        let name = URL_SAFE_NO_PAD.encode(digest(&SHA256, what.as_bytes()));
        let sql = "INSERT INTO used_assertions (assertion, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        Ok(self.0.db.execute(sql, &[Value::Text(name), Value::Int(expires_at.0)]).await? == 1)
    }

    /// Forgets those that have expired by `before`: they are refused for that.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn forget_assertions(&self, before: Timestamp) -> Result<(), VaultError> {
        let sql = "DELETE FROM used_assertions WHERE assertion IN \
                   (SELECT assertion FROM used_assertions WHERE expires_at < $1 LIMIT $2)";
        while self.0.db.execute(sql, &[Value::Int(before.0), Value::Int(STEP)]).await? > 0 {}
        Ok(())
    }
}
