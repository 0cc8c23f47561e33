//! Retiring a pepper: what was sealed under it is sealed anew, and names are indexed anew. In steps, each one a
//! transaction; what is done is not found again, so it goes on where it was stopped. Servers that have both peppers notice
//! nothing.

use grantlog_domain::{ClientId, KeyId, UserId};
use grantlog_projections::db::{Row, Tx, Value};

use super::users::{key_context, open_profile};
use super::{Vault, VaultError, client_secrets, names, signing_keys};

/// Rows of one step.
pub const STEP: i64 = 500;

/// What the vault holds under a pepper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Keys of users.
    pub user_keys: i64,
    /// User names that are found under an index of it.
    pub usernames: i64,
    pub signing_keys: i64,
    /// Secrets of clients that sign with them.
    pub client_secrets: i64,
}

impl Held {
    #[must_use]
    pub const fn rows(self) -> i64 {
        self.user_keys + self.usernames + self.signing_keys + self.client_secrets
    }
}

/// What has been made anew.
#[derive(Debug, Default)]
pub struct Renewed {
    pub rows: i64,
    /// What could not be opened: nobody can.
    pub damaged: Vec<String>,
}

/// A table with something sealed in it.
struct Sealed {
    table: &'static str,
    /// What names a row, in the order in which rows are read.
    key: &'static str,
    column: &'static str,
    /// What it was sealed for, from the first part of the key.
    context: fn(&str) -> Option<String>,
}

const SEALED: [Sealed; 3] = [
    Sealed {
        table: "vault_user_keys",
        key: "user_id",
        column: "wrapped_key",
        context: |id| Some(key_context(id.parse::<UserId>().ok()?)),
    },
    Sealed {
        table: "vault_signing_keys",
        key: "key_id",
        column: "sealed_private_key",
        context: |id| Some(signing_keys::context(&KeyId(id.to_owned()))),
    },
    Sealed {
        table: "vault_client_secrets",
        key: "client_id",
        column: "sealed_secret",
        context: |id| Some(client_secrets::context(id.parse::<ClientId>().ok()?)),
    },
];

impl Vault {
    /// What is held under that pepper.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn held_under(&self, pepper: u16) -> Result<Held, VaultError> {
        let mut counts = [0; SEALED.len()];
        for (count, Sealed { table, column, .. }) in counts.iter_mut().zip(&SEALED) {
            *count = self.count(&format!("SELECT count(*) FROM {table} WHERE {column} LIKE '{pepper}.%'")).await?;
        }
        let usernames = format!("SELECT count(*) FROM vault_users u WHERE {}", self.indexed_under(pepper));
        let [user_keys, signing_keys, client_secrets] = counts;
        Ok(Held { user_keys, usernames: self.count(&usernames).await?, signing_keys, client_secrets })
    }

    /// Seals anew what is sealed under `pepper`, and indexes names anew; tells `progress` how many rows it has looked at.
    ///
    /// # Errors
    /// [`VaultError::Database`]. What was done until then is done.
    pub async fn renew(&self, pepper: u16, progress: &mut (dyn FnMut(i64) + Send)) -> Result<Renewed, VaultError> {
        let mut renewed = Renewed::default();
        for sealed in &SEALED {
            self.reseal(pepper, sealed, &mut renewed, progress).await?;
        }
        self.index_names(pepper, &mut renewed, progress).await?;
        Ok(renewed)
    }

    async fn reseal(
        &self,
        pepper: u16,
        of: &Sealed,
        renewed: &mut Renewed,
        progress: &mut (dyn FnMut(i64) + Send),
    ) -> Result<(), VaultError> {
        let Sealed { table, key, column, context } = of;
        let select = format!(
            "SELECT {key}, {column} FROM {table} WHERE {key} > $1 AND {column} LIKE '{pepper}.%' ORDER BY {key} LIMIT $2"
        );
        // Only over what was read: it may have been replaced or destroyed meanwhile.
        let update = format!("UPDATE {table} SET {column} = $1 WHERE {key} = $2 AND {column} = $3");
        let mut after = String::new();
        loop {
            let mut tx = self.0.db.begin().await?;
            let rows = tx.fetch(&select, &[Value::Text(after.clone()), Value::Int(STEP)]).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.text(0)?;
            for row in &rows {
                let (id, sealed) = (row.text(0)?, row.text(1)?);
                match context(&id).and_then(|context| self.0.secrets.reseal(&context, &sealed)) {
                    Some(new) => {
                        tx.execute(&update, &[Value::Text(new), Value::Text(id), Value::Text(sealed)]).await?;
                        renewed.rows += 1;
                    }
                    None => renewed.damaged.push(format!("{table} {id}")),
                }
            }
            tx.commit().await?;
            progress(count_of(&rows));
        }
    }

    async fn index_names(
        &self,
        pepper: u16,
        renewed: &mut Renewed,
        progress: &mut (dyn FnMut(i64) + Send),
    ) -> Result<(), VaultError> {
        let select = format!(
            "SELECT u.user_id, k.wrapped_key, u.sealed_profile, u.username_index FROM vault_users u \
             JOIN vault_user_keys k ON k.user_id = u.user_id \
             WHERE u.user_id > $1 AND {} ORDER BY u.user_id LIMIT $2",
            self.indexed_under(pepper)
        );
        let mut after = String::new();
        loop {
            let mut tx = self.0.db.begin().await?;
            let rows = tx.fetch(&select, &[Value::Text(after.clone()), Value::Int(STEP)]).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.text(0)?;
            for row in &rows {
                match self.new_index(&mut tx, row).await {
                    Ok(()) => renewed.rows += 1,
                    Err(VaultError::Damaged { what }) => renewed.damaged.push(what),
                    Err(error) => return Err(error),
                }
            }
            tx.commit().await?;
            progress(count_of(&rows));
        }
    }

    async fn new_index(&self, tx: &mut Tx, row: &Row) -> Result<(), VaultError> {
        let (user_id, key) = self.user_key(row)?;
        let profile = open_profile(&key, user_id, row.str(2)?)?;
        let (index, _) = names::choose(tx, self.same_indexes(&profile.username, row.str(3)?)?).await?;
        let sql = "UPDATE vault_users SET username_index = $1 WHERE user_id = $2 AND username_index = $3";
        tx.execute(sql, &[Value::Text(index), Value::Text(user_id.to_string()), Value::Text(row.text(3)?)]).await?;
        Ok(())
    }

    /// Forgets the failed sign-ins that were counted under older peppers: who failed does not stay to be guessed.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn forget_attempts_before(&self, at: grantlog_domain::Timestamp) -> Result<(), VaultError> {
        let sql = "DELETE FROM sign_in_attempts WHERE last_at < $1";
        self.0.db.execute(sql, &[Value::Int(at.0)]).await?;
        Ok(())
    }

    /// The condition of names whose index was made under that pepper.
    fn indexed_under(&self, pepper: u16) -> String {
        match pepper == self.0.secrets.first_pepper() {
            // They do not name it.
            true => "u.username_index NOT LIKE '%.%'".to_owned(),
            false => format!("u.username_index LIKE '{pepper}.%'"),
        }
    }

    async fn count(&self, sql: &str) -> Result<i64, VaultError> {
        let rows = self.0.db.fetch(sql, &[]).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0))
    }
}

fn count_of(rows: &[Row]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}
