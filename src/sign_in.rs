//! Whether a name and a password are somebody's: for the sign-in page and the password grant alike, so that both count
//! the same failures and say the same.

#[cfg(test)]
mod tests;

use std::time::Duration;

use grantlog_domain::user::{Stage, User, UserCommand};
use grantlog_domain::{Actor, UserId};
use grantlog_projections::live::LiveUser;

use crate::app::App;
use crate::demo;
use crate::http::per_address::network;
use crate::http::request_id::RequestContext;
use crate::secrets::Secret;
use crate::secrets::password::PasswordError;
use crate::standing;
use crate::store::vault::{Attempt, Source, VaultError};
use crate::store::{ExecuteError, StoreError};

/// The password in the examples of a demonstration; any other is as good.
pub const DEMO_PASSWORD: &str = "valid";

/// Between two looks at whether a new user has arrived here.
const ARRIVAL_PAUSE: Duration = Duration::from_millis(5);

/// After this time somebody may try again who came when too many were waiting.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No such user, the wrong password, a user who is disabled, or a lock of the account: nobody learns which.
    #[error("user name or password is wrong")]
    Refused,
    /// Too many failures from there, or too much of that source or account is waiting. Says nothing about the account.
    #[error("too many attempts")]
    TooMany { retry_after: Duration },
    /// The store is down, or too many passwords are being checked.
    #[error("the store is not available")]
    Unavailable,
    /// For the log.
    #[error("{0}")]
    Fault(String),
}

/// What a name and a password prove (RFC 8176): nothing in a demo.
#[must_use]
pub fn amr(app: &App) -> Vec<String> {
    if app.settings.demo { Vec::new() } else { vec!["pwd".to_owned()] }
}

/// Where the passwords of a caller come from that speaks for itself.
#[must_use]
pub fn caller(context: &RequestContext) -> Source {
    Source::Address(network(context.caller))
}

/// Whose name and password these are. In a demonstration any name is somebody's (see [`demo_user`]) with any password.
///
/// # Errors
/// See [`SignInError`].
pub async fn check_password(
    app: &App,
    username: &str,
    password: Secret<String>,
    source: Source,
    context: &RequestContext,
) -> Result<UserId, SignInError> {
    // Nothing to guess, so nothing to count.
    if app.settings.demo {
        return enabled(app, demo_user(app, username, context).await?).await;
    }
    let attempt = app.vault.sign_in_allowed(username, source).await?;
    if let Attempt::SourceLocked { retry_after } = attempt {
        return Err(SignInError::TooMany { retry_after });
    }
    // Also while the account is locked: the time must not tell.
    let verified = app.vault.verify_password(username, password, source).await?;
    if let (Attempt::Allowed, Some(user_id)) = (attempt, verified) {
        match enabled(app, user_id).await {
            Ok(user_id) => {
                if app.vault.sign_in_succeeded(username, source).await? == Attempt::Allowed {
                    return Ok(user_id);
                }
            }
            Err(SignInError::Refused) => {}
            Err(error) => return Err(error),
        }
    }
    // Right or wrong: a right one behind a lock that did not count for its source would be told by that.
    app.vault.sign_in_failed(username, source).await?;
    Err(SignInError::Refused)
}

/// The user, unless disabled. One whom another process registered a moment ago is waited for, so that what is issued
/// now is active now.
///
/// # Errors
/// [`SignInError::Refused`]; [`SignInError::Unavailable`] when nobody knows.
pub async fn enabled(app: &App, user_id: UserId) -> Result<UserId, SignInError> {
    let stands = if !standing::is_fresh(app) || app.live.user(user_id).is_some() {
        standing::user_stands(app, user_id).await.map_err(|error| unread(&error))?
    } else {
        arriving(app, user_id).await?.is_some_and(|user| !user.disabled)
    };
    if stands { Ok(user_id) } else { Err(SignInError::Refused) }
}

async fn arriving(app: &App, user_id: UserId) -> Result<Option<LiveUser>, SignInError> {
    let loaded = app.store.load::<User>(&user_id.to_string()).await;
    let stage = loaded.map_err(|error| unread(&error))?.aggregate.stage();
    if stage != Stage::Enabled {
        return Ok(None);
    }
    let longest = app.settings.store.max_staleness;
    let arrived = async {
        loop {
            match app.live.user(user_id) {
                Some(user) => return user,
                None => tokio::time::sleep(ARRIVAL_PAUSE).await,
            }
        }
    };
    tokio::time::timeout(longest, arrived).await.map(Some).map_err(|_| SignInError::Unavailable)
}

fn unread(error: &StoreError) -> SignInError {
    match error {
        StoreError::Damaged { .. } => SignInError::Fault(error.to_string()),
        _ => SignInError::Unavailable,
    }
}

/// The user of that name in a demonstration, registered when new.
///
/// # Errors
/// [`SignInError::Refused`] when this is no demonstration, or no name; otherwise see [`SignInError`].
pub async fn demo_user(app: &App, username: &str, context: &RequestContext) -> Result<UserId, SignInError> {
    if !app.settings.demo {
        return Err(SignInError::Refused);
    }
    if let Some(user_id) = app.vault.find(username).await? {
        return Ok(user_id);
    }
    let user_id = UserId(app.new_id());
    match app.vault.register(user_id, username, None).await {
        Ok(()) => {}
        // Somebody with the same name was first.
        Err(VaultError::UsernameTaken) => return app.vault.find(username).await?.ok_or(SignInError::Refused),
        Err(error) => return Err(error.into()),
    }
    app.vault.set_claims(user_id, demo::claims(username, app.now())).await?;
    let by = app.command_context(Actor::System, context, None);
    match app.store.create::<User>(&user_id.to_string(), UserCommand::Register { at: app.now() }, &by).await {
        Ok(_) => Ok(user_id),
        Err(ExecuteError::Conflict | ExecuteError::Busy | ExecuteError::Unavailable(_)) => {
            Err(SignInError::Unavailable)
        }
        Err(error @ (ExecuteError::Refused(_) | ExecuteError::Damaged(_) | ExecuteError::Fault(_))) => {
            Err(SignInError::Fault(error.to_string()))
        }
    }
}

impl From<VaultError> for SignInError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::UsernameTaken
            | VaultError::Username
            | VaultError::Password(PasswordError::TooLong | PasswordError::TooShort | PasswordError::NotTyped) => {
                Self::Refused
            }
            VaultError::Password(PasswordError::TooMany) => Self::TooMany { retry_after: BUSY_RETRY_AFTER },
            VaultError::Password(PasswordError::Busy) | VaultError::Database(_) => Self::Unavailable,
            VaultError::Password(PasswordError::Settings | PasswordError::Damaged)
            | VaultError::Damaged { .. }
            | VaultError::KeyGeneration => Self::Fault(error.to_string()),
        }
    }
}
