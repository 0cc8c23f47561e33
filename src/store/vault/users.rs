//! Users in the vault: the name (found through a blind index), the password hash, the profile.

use std::collections::HashMap;
use std::fmt;

use grantlog_domain::UserId;
use grantlog_projections::db::{Row, Value};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Source, Vault, VaultError, known_as, names};
use crate::secrets::Secret;
use crate::secrets::password::{Origin, Verified};
use crate::secrets::sealing::{KEY_BYTES, SealingKey};

/// The most characters of a user name.
pub const USERNAME_CHARACTERS_MAX: usize = 128;
/// A name whose user has no events after this many seconds was left behind by a registration that did not finish;
/// somebody else may have it. A registration itself gives up long before.
pub const REGISTRATION_SECONDS_MAX: i64 = 60;
/// The most users whose names are looked up at once.
const USERNAMES_MAX: usize = 500;

/// Where a new name may stand: its index for each pepper, and those under which somebody of before may have the very same.
pub(super) type NewName = (Vec<(u16, String)>, Vec<String>);

/// Personal data of one user.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// As it was typed at registration.
    pub username: String,
    /// By claim name (OpenID Connect Core 5.1).
    #[serde(default)]
    pub claims: serde_json::Map<String, serde_json::Value>,
}

impl fmt::Debug for Profile {
    /// Without the data: it must not reach a log.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Profile(..)")
    }
}

impl Vault {
    /// Takes the name for `user_id`, before `user.registered` is appended; with a password when there is one.
    ///
    /// # Errors
    /// [`VaultError::UsernameTaken`]; [`VaultError::Username`]; [`VaultError::Password`]; [`VaultError::Database`].
    pub async fn register(
        &self,
        user_id: UserId,
        username: &str,
        password: Option<Secret<String>>,
    ) -> Result<(), VaultError> {
        let (indexes, of_before) = self.new_indexes(username)?;
        let inner = &self.0;
        let bytes = Zeroizing::new(inner.secrets.entropy().bytes::<KEY_BYTES>());
        let key = SealingKey::from_bytes(bytes.as_slice()).ok_or(VaultError::KeyGeneration)?;
        let wrapped = inner.secrets.seal(&key_context(user_id), bytes.as_slice());
        let profile = Profile { username: username.trim().to_owned(), ..Profile::default() };
        let profile = self.seal_profile(&key, user_id, &profile)?;
        let password = match password {
            Some(password) => Value::Text(self.hash_and_seal(&key, user_id, password, Origin::default()).await?),
            None => Value::Null,
        };
        let (id, now) = (Value::Text(user_id.to_string()), inner.clock.now().0);
        let mut tx = inner.db.begin().await?;
        let (index, mut others) = names::choose(&mut tx, indexes).await?;
        others.extend(of_before);
        for index in others.iter().chain([&index]) {
            for table in ["vault_user_keys", "vault_users"] {
                let sql = format!(
                    "DELETE FROM {table} WHERE user_id IN (SELECT u.user_id FROM vault_users u \
                     WHERE u.username_index = $1 AND u.created_at < $2 AND NOT EXISTS \
                     (SELECT 1 FROM events e WHERE e.aggregate_type = 'user' AND e.aggregate_id = u.user_id))"
                );
                let before = Value::Int(now - REGISTRATION_SECONDS_MAX);
                tx.execute(&sql, &[Value::Text(index.clone()), before]).await?;
            }
        }
        let inserted = tx
            .execute(
                "INSERT INTO vault_users (user_id, username_index, sealed_profile, sealed_password, created_at, changed_at) \
                 VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (username_index) DO NOTHING",
                &[id.clone(), Value::Text(index), Value::Text(profile), password, Value::Int(now)],
            )
            .await?;
        if inserted == 0 || names::is_taken(&mut tx, &others).await? {
            return Err(VaultError::UsernameTaken);
        }
        tx.execute(
            "INSERT INTO vault_user_keys (user_id, wrapped_key, created_at) VALUES ($1, $2, $3)",
            &[id, Value::Text(wrapped), Value::Int(now)],
        )
        .await?;
        Ok(tx.commit().await?)
    }

    /// Who has that name.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn find(&self, username: &str) -> Result<Option<UserId>, VaultError> {
        let Ok(indexes) = self.username_indexes(username) else { return Ok(None) };
        let (places, values) = names::any_of(&indexes);
        let sql = format!("SELECT user_id, username_index FROM vault_users WHERE username_index IN ({places})");
        let rows = self.0.db.fetch(&sql, &values).await?;
        Ok(names::first(&rows, 1, &indexes).map(|row| row.parse(0)).transpose()?)
    }

    /// Whose name and password these are. Takes the same time whether the name or the password is wrong. They come from
    /// `source`, which shares the processors with others.
    ///
    /// # Errors
    /// [`VaultError::Password`] when too many are waiting, of that source or account or of all; [`VaultError::Database`]; [`VaultError::Damaged`].
    pub async fn verify_password(
        &self,
        username: &str,
        password: Secret<String>,
        source: Source,
    ) -> Result<Option<UserId>, VaultError> {
        let origin = self.origin(username, source);
        // A name that cannot exist is looked for all the same, under an index that nobody has.
        let indexes = self.username_indexes(username).unwrap_or_else(|_| vec![(0, String::new())]);
        let (places, values) = names::any_of(&indexes);
        let sql = format!(
            "SELECT u.user_id, k.wrapped_key, u.sealed_password, u.username_index FROM vault_users u \
             JOIN vault_user_keys k ON k.user_id = u.user_id WHERE u.username_index IN ({places})"
        );
        let rows = self.0.db.fetch(&sql, &values).await?;
        let Some(row) = names::first(&rows, 3, &indexes) else {
            self.0.passwords.verify(password, None, origin).await?;
            return Ok(None);
        };
        let (user_id, key) = self.user_key(row)?;
        let sealed = row.opt_text(2)?;
        let stored = match &sealed {
            Some(sealed) => Some(open_text(&key, &password_context(user_id), sealed)?),
            None => None,
        };
        match self.0.passwords.verify(password, stored, origin).await? {
            Verified::No => Ok(None),
            Verified::Yes { rehashed } => {
                if let (Some(hash), Some(old)) = (rehashed, sealed) {
                    let new = key.seal(&password_context(user_id), hash.expose().as_bytes(), self.0.secrets.entropy());
                    // Only over the hash that was verified: the password may have changed meanwhile.
                    let sql = "UPDATE vault_users SET sealed_password = $1 WHERE user_id = $2 AND sealed_password = $3";
                    let values = [Value::Text(new), Value::Text(user_id.to_string()), Value::Text(old)];
                    self.0.db.execute(sql, &values).await?;
                }
                Ok(Some(user_id))
            }
        }
    }

    /// Sets the password; `false` when there is no such user in the vault. `origin`: for whom it is hashed, when others wait
    /// to hash in this process.
    ///
    /// # Errors
    /// [`VaultError::Password`]; [`VaultError::Database`]; [`VaultError::Damaged`].
    pub async fn set_password(
        &self,
        user_id: UserId,
        password: Secret<String>,
        origin: Origin,
    ) -> Result<bool, VaultError> {
        let Some((key, _)) = self.key_and_profile(user_id).await? else { return Ok(false) };
        let sealed = self.hash_and_seal(&key, user_id, password, origin).await?;
        self.change(user_id, "sealed_password", sealed).await
    }

    /// Personal data of a user; `None` when there is none, or no more.
    ///
    /// # Errors
    /// [`VaultError::Database`]; [`VaultError::Damaged`].
    pub async fn profile(&self, user_id: UserId) -> Result<Option<Profile>, VaultError> {
        Ok(self.key_and_profile(user_id).await?.map(|(_, profile)| profile))
    }

    /// Replaces the claims of a user; the name stays. `false` when there is no such user in the vault.
    ///
    /// # Errors
    /// [`VaultError::Database`]; [`VaultError::Damaged`].
    pub async fn set_claims(
        &self,
        user_id: UserId,
        claims: serde_json::Map<String, serde_json::Value>,
    ) -> Result<bool, VaultError> {
        let Some((key, profile)) = self.key_and_profile(user_id).await? else { return Ok(false) };
        let sealed = self.seal_profile(&key, user_id, &Profile { claims, ..profile })?;
        self.change(user_id, "sealed_profile", sealed).await
    }

    /// The names of users, for showing. Users who are not in the vault, or no more, are left out.
    ///
    /// # Errors
    /// [`VaultError::Database`]; [`VaultError::Damaged`].
    pub async fn usernames(&self, users: &[UserId]) -> Result<HashMap<UserId, String>, VaultError> {
        let mut names = HashMap::with_capacity(users.len());
        for some in users.chunks(USERNAMES_MAX) {
            let places: Vec<String> = (1..=some.len()).map(|at| format!("${at}")).collect();
            let sql = format!("{SELECT_PROFILE} WHERE u.user_id IN ({})", places.join(", "));
            let values: Vec<Value> = some.iter().map(|user| Value::Text(user.to_string())).collect();
            for row in self.0.db.fetch(&sql, &values).await? {
                let (user_id, key) = self.user_key(&row)?;
                names.insert(user_id, open_profile(&key, user_id, row.str(2)?)?.username);
            }
        }
        Ok(names)
    }

    /// Destroys the user's key and rows. What was sealed cannot be read any more, not even from a backup of the sealed
    /// rows alone. The name becomes free. Nothing happens when it was done already.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn erase(&self, user_id: UserId) -> Result<(), VaultError> {
        let id = [Value::Text(user_id.to_string())];
        let mut tx = self.0.db.begin().await?;
        tx.execute("DELETE FROM vault_user_keys WHERE user_id = $1", &id).await?;
        tx.execute("DELETE FROM vault_users WHERE user_id = $1", &id).await?;
        Ok(tx.commit().await?)
    }

    /// The indexes of a new name.
    pub(super) fn new_indexes(&self, username: &str) -> Result<NewName, VaultError> {
        let form = known_as::form(username).ok_or(VaultError::Username)?;
        let of_before = known_as::form_of_before(username).filter(|before| *before != form);
        let of_before = of_before.map(|before| self.0.secrets.username_indexes(&before)).unwrap_or_default();
        let of_before = of_before.into_iter().map(|(_, index)| index).collect();
        Ok((self.0.secrets.username_indexes(&form), of_before))
    }

    /// Under which a name is looked for, one or two for each pepper: who had the very same before goes first.
    pub(super) fn username_indexes(&self, username: &str) -> Result<Vec<(u16, String)>, VaultError> {
        let (before, form) = (known_as::form_of_before(username), known_as::form(username));
        let forms = if before == form { [None, form] } else { [before, form] };
        let indexes: Vec<_> = forms.iter().flatten().flat_map(|form| self.0.secrets.username_indexes(form)).collect();
        if indexes.is_empty() { Err(VaultError::Username) } else { Ok(indexes) }
    }

    /// Of a name that is found under `index`: the same form under every pepper.
    pub(super) fn same_indexes(&self, username: &str, index: &str) -> Result<Vec<(u16, String)>, VaultError> {
        let forms = [known_as::form_of_before(username), known_as::form(username)];
        let mut indexes = forms.iter().flatten().map(|form| self.0.secrets.username_indexes(form));
        let same = indexes.find(|indexes| indexes.iter().any(|(_, held)| held == index));
        same.ok_or_else(|| damaged("a user name that is found under what it is not".to_owned()))
    }

    pub(super) async fn key_and_profile(&self, user_id: UserId) -> Result<Option<(SealingKey, Profile)>, VaultError> {
        let sql = format!("{SELECT_PROFILE} WHERE u.user_id = $1");
        let rows = self.0.db.fetch(&sql, &[Value::Text(user_id.to_string())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (_, key) = self.user_key(row)?;
        let profile = open_profile(&key, user_id, row.str(2)?)?;
        Ok(Some((key, profile)))
    }

    /// From a row that begins with the user's id and wrapped key.
    pub(super) fn user_key(&self, row: &Row) -> Result<(UserId, SealingKey), VaultError> {
        let user_id: UserId = row.parse(0)?;
        let key = self
            .0
            .secrets
            .unseal(&key_context(user_id), row.str(1)?)
            .and_then(|bytes| SealingKey::from_bytes(bytes.expose()))
            .ok_or_else(|| damaged(format!("key of user {user_id}")))?;
        Ok((user_id, key))
    }

    async fn hash_and_seal(
        &self,
        key: &SealingKey,
        user_id: UserId,
        password: Secret<String>,
        origin: Origin,
    ) -> Result<String, VaultError> {
        let hash = self.0.passwords.hash(password, origin).await?;
        Ok(key.seal(&password_context(user_id), hash.expose().as_bytes(), self.0.secrets.entropy()))
    }

    pub(super) fn seal_profile(
        &self,
        key: &SealingKey,
        user_id: UserId,
        profile: &Profile,
    ) -> Result<String, VaultError> {
        let text = serde_json::to_vec(profile).map_err(|_| damaged(format!("profile of user {user_id}")))?;
        Ok(key.seal(&profile_context(user_id), &Zeroizing::new(text), self.0.secrets.entropy()))
    }

    async fn change(&self, user_id: UserId, column: &'static str, sealed: String) -> Result<bool, VaultError> {
        let sql = format!("UPDATE vault_users SET {column} = $1, changed_at = $2 WHERE user_id = $3");
        let now = Value::Int(self.0.clock.now().0);
        let changed = self.0.db.execute(&sql, &[Value::Text(sealed), now, Value::Text(user_id.to_string())]).await?;
        Ok(changed > 0)
    }
}

const SELECT_PROFILE: &str = "SELECT u.user_id, k.wrapped_key, u.sealed_profile FROM vault_users u \
                              JOIN vault_user_keys k ON k.user_id = u.user_id";

pub(super) fn open_profile(key: &SealingKey, user_id: UserId, sealed: &str) -> Result<Profile, VaultError> {
    key.open(&profile_context(user_id), sealed)
        .and_then(|text| serde_json::from_slice(text.expose()).ok())
        .ok_or_else(|| damaged(format!("profile of user {user_id}")))
}

fn open_text(key: &SealingKey, context: &str, sealed: &str) -> Result<Secret<String>, VaultError> {
    key.open(context, sealed)
        .and_then(|text| String::from_utf8(text.expose().clone()).ok())
        .map(Secret::new)
        .ok_or_else(|| damaged(context.to_owned()))
}

pub(super) fn key_context(user_id: UserId) -> String {
    format!("user_key:{user_id}")
}

fn profile_context(user_id: UserId) -> String {
    format!("profile:{user_id}")
}

fn password_context(user_id: UserId) -> String {
    format!("password:{user_id}")
}

const fn damaged(what: String) -> VaultError {
    VaultError::Damaged { what }
}
