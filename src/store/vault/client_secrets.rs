//! Secrets of clients that sign with them (`client_secret_jwt`, OpenID Connect Core 9): a code can only be held against the
//! secret itself, so these are sealed. Of all other clients the log has a hash, and nobody has the secret.

use grantlog_domain::client::ClientMetadata;
use grantlog_domain::{ClientId, SecretHash};
use grantlog_projections::db::Value;

use super::{Vault, VaultError};
use crate::secrets::{Kind, Secret};

/// A secret whose client is not in the log after so many seconds was left behind by something that did not finish.
const UNFINISHED_SECONDS: i64 = 3600;
/// Rows that are looked at in one step.
const STEP: i64 = 500;

impl Vault {
    /// A new secret for that client and its hash for the log. It is kept here only when the client signs with it.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn mint_client_secret(
        &self,
        client_id: ClientId,
        metadata: &ClientMetadata,
    ) -> Result<(Secret<String>, SecretHash), VaultError> {
        let (secret, hash) = self.0.secrets.mint(Kind::ClientSecret, client_id.0);
        if !metadata.signs_with_secret() {
            return Ok((secret, hash));
        }
        let sealed = self.0.secrets.seal(&context(client_id), secret.expose().as_bytes());
        let sql = "INSERT INTO vault_client_secrets (client_id, secret_hash, sealed_secret, created_at) \
                   VALUES ($1, $2, $3, $4)";
        let now = Value::Int(self.0.clock.now().0);
        self.0.db.execute(sql, &[id(client_id), Value::Text(hash.to_string()), Value::Text(sealed), now]).await?;
        Ok((secret, hash))
    }

    /// The secret that the log has under that hash; `None` when it was not kept.
    ///
    /// # Errors
    /// [`VaultError::Damaged`]; [`VaultError::Database`].
    pub async fn client_secret(
        &self,
        client_id: ClientId,
        hash: &SecretHash,
    ) -> Result<Option<Secret<Vec<u8>>>, VaultError> {
        let sql = "SELECT sealed_secret FROM vault_client_secrets WHERE client_id = $1 AND secret_hash = $2";
        let rows = self.0.db.fetch(sql, &[id(client_id), Value::Text(hash.to_string())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let opened = self.0.secrets.unseal(&context(client_id), row.str(0)?);
        opened.map(Some).ok_or_else(|| VaultError::Damaged { what: format!("secret of client {client_id}") })
    }

    /// Destroys the secrets that no client has any more: replaced ones, and those of clients that were deleted or prove
    /// themselves in another way.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn forget_client_secrets(
        &self,
        is_current: impl Fn(ClientId, &SecretHash) -> bool,
    ) -> Result<(), VaultError> {
        let before = Value::Int(self.0.clock.now().0.saturating_sub(UNFINISHED_SECONDS));
        let sql = "SELECT client_id, secret_hash FROM vault_client_secrets \
                   WHERE created_at < $1 AND (client_id, secret_hash) > ($2, $3) \
                   ORDER BY client_id, secret_hash LIMIT $4";
        let mut after = (String::new(), String::new());
        loop {
            let values = [before.clone(), Value::Text(after.0), Value::Text(after.1), Value::Int(STEP)];
            let rows = self.0.db.fetch(sql, &values).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.text(0)?, last.text(1)?);
            for row in &rows {
                if !is_current(row.parse(0)?, &row.parse(1)?) {
                    let sql = "DELETE FROM vault_client_secrets WHERE client_id = $1 AND secret_hash = $2";
                    self.0.db.execute(sql, &[Value::Text(row.text(0)?), Value::Text(row.text(1)?)]).await?;
                }
            }
        }
    }
}

fn id(client_id: ClientId) -> Value {
    Value::Text(client_id.to_string())
}

pub(super) fn context(client_id: ClientId) -> String {
    format!("client_secret:{client_id}")
}
