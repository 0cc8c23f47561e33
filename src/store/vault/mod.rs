//! The vault: what may not stand in the log. Passwords, personal data, private keys, and the counting of failed sign-ins.
//! Mutable rows, sealed; erasing a user destroys the key that everything of theirs is sealed with.
//!
//! `users` names, passwords and profiles; `signing_keys` private halves; `client_secrets` those that are signed with;
//! `known_as` which names are one name; `assertions` what clients may use once; `attempts` slows guessing down; `names` and `retire` what rotating peppers
//! means for all of this.

mod assertions;
mod attempts;
mod client_secrets;
mod known_as;
mod names;
mod rename;
mod retire;
mod signing_keys;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use grantlog_projections::db::{Db, DbError};

pub use self::attempts::{ATTEMPT_ROWS_MAX, Attempt, SignInLimits, Source};
pub use self::retire::{Held, Renewed};
pub use self::signing_keys::{NewSigningKey, Signer};
pub use self::users::{Profile, REGISTRATION_SECONDS_MAX, USERNAME_CHARACTERS_MAX};

use crate::clock::Clock;
use crate::config::Settings;
use crate::secrets::Secrets;
use crate::secrets::password::{PasswordError, PasswordSettings, Passwords};

/// The vault. Clones share it.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    db: Db,
    secrets: Secrets,
    passwords: Passwords,
    clock: Clock,
    limits: SignInLimits,
    /// Sign-ins that failed here.
    failures: AtomicU64,
}

/// Why the vault could not do it. Holds nothing personal.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("this user name is taken, or looks like one that is")]
    UsernameTaken,
    #[error(
        "a user name has 1 to {USERNAME_CHARACTERS_MAX} characters: letters and digits of one direction, ASCII punctuation, and \
         one blank between two words (RFC 8265 3)"
    )]
    Username,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Database(#[from] DbError),
    /// A row was changed from outside, moved, or sealed with a pepper that is not here.
    #[error("the vault's {what} cannot be opened")]
    Damaged { what: String },
    #[error("a key could not be made")]
    KeyGeneration,
}

impl Vault {
    /// The vault of the database `db`.
    #[must_use]
    pub fn new(db: Db, secrets: Secrets, passwords: Passwords, clock: Clock, limits: SignInLimits) -> Self {
        Self(Arc::new(Inner { db, secrets, passwords, clock, limits, failures: AtomicU64::default() }))
    }

    /// The vault as the settings of sign-in say.
    ///
    /// # Errors
    /// [`VaultError::Password`] when the password settings are out of range.
    pub fn from_settings(settings: &Settings, db: Db, secrets: Secrets, clock: Clock) -> Result<Self, VaultError> {
        let sign_in = &settings.sign_in;
        let passwords = PasswordSettings { threads: sign_in.concurrent_password_checks, ..PasswordSettings::default() };
        let passwords = Passwords::new(passwords, secrets.entropy())?;
        let limits = SignInLimits {
            per_account: sign_in.attempts_per_account,
            per_address: sign_in.attempts_per_address,
            per_client: sign_in.attempts_per_client,
            rows: ATTEMPT_ROWS_MAX,
            lock: sign_in.lock,
        };
        Ok(Self::new(db, secrets, passwords, clock, limits))
    }
}
