//! Another name for a user, who stays the same user: passwords, sessions and grants are bound to the id.

use grantlog_domain::UserId;
use grantlog_projections::db::Value;

use super::users::Profile;
use super::{Vault, VaultError, names};

impl Vault {
    /// Gives the user that name; `false` when there is no such user in the vault. The old name is free then.
    ///
    /// # Errors
    /// [`VaultError::UsernameTaken`]; [`VaultError::Username`]; [`VaultError::Database`]; [`VaultError::Damaged`].
    pub async fn rename(&self, user_id: UserId, username: &str) -> Result<bool, VaultError> {
        let (indexes, of_before) = self.new_indexes(username)?;
        let Some((key, profile)) = self.key_and_profile(user_id).await? else { return Ok(false) };
        let profile = Profile { username: username.trim().to_owned(), ..profile };
        let sealed = self.seal_profile(&key, user_id, &profile)?;
        let of_before = of_before.into_iter().map(|index| (0, index));
        let (places, mut values) = names::any_of(&indexes.iter().cloned().chain(of_before).collect::<Vec<_>>());
        values.push(Value::Text(user_id.to_string()));
        let taken =
            format!("SELECT 1 FROM vault_users WHERE username_index IN ({places}) AND user_id <> ${}", values.len());
        let mut tx = self.0.db.begin().await?;
        let (index, _) = names::choose(&mut tx, indexes).await?;
        if !tx.fetch(&taken, &values).await?.is_empty() {
            return Err(VaultError::UsernameTaken);
        }
        let sql = "UPDATE vault_users SET username_index = $1, sealed_profile = $2, changed_at = $3 WHERE user_id = $4";
        let now = Value::Int(self.0.clock.now().0);
        let change = [Value::Text(index), Value::Text(sealed), now, Value::Text(user_id.to_string())];
        let changed = tx.execute(sql, &change).await.map_err(|error| match error.is_conflict() {
            // Somebody else took it a moment ago.
            true => VaultError::UsernameTaken,
            false => error.into(),
        })?;
        tx.commit().await?;
        Ok(changed > 0)
    }
}
