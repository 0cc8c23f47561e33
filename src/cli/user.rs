//! `grantlog user`: make and manage users. Names and passwords are in the vault; the log knows the user by id.

use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand};
use grantlog_domain::UserId;
use grantlog_domain::grant::RevocationReason;
use grantlog_domain::session::EndReason;
use grantlog_domain::user::{Stage, UserCommand};
use grantlog_projections::tables::grants::GrantsOf;
use serde::Serialize;
use serde_json::{Map, Value};

use super::opened::Opened;
use super::user_list::{List, list_users};
use super::{CliError, output, read_models};
use crate::config::Settings;
use crate::oidc::claims;
use crate::secrets::Secret;
use crate::secrets::password::{Origin, PASSWORD_BYTES_MAX, check_new};
use crate::store::vault::Vault;

type Aggregate = grantlog_domain::user::User;

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a user; reads the password from standard input with --password-stdin
    #[command(after_help = "\
Examples:
  printf '%s' \"$PASSWORD\" | grantlog user create --username ann --password-stdin
  grantlog user create --username ben        (cannot sign in before `user set-password`)")]
    Create(Create),
    /// List users, the newest first
    #[command(after_help = "\
Examples:
  grantlog user list --name ann --status enabled
  grantlog user list --after 0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a        (the next ones)")]
    List(List),
    /// Show one user
    Show(Named),
    /// Set a user's password, read from standard input
    SetPassword(SetPassword),
    /// Set or remove what applications may learn of a user (OpenID Connect Core 5.1)
    #[command(after_help = "\
Examples:
  grantlog user update ann --claim name='Ann Example' --claim email=ann@example.org --claim email_verified=true
  grantlog user update ann --claim 'address={\"locality\":\"Paris\",\"country\":\"FR\"}' --remove-claim phone_number")]
    Update(Update),
    /// Refuse a user everything; their tokens are inactive from now on
    Disable(Named),
    /// Let a disabled user in again
    Enable(Named),
    /// Give a user another name to sign in with; sessions and grants stay
    Rename(Rename),
    /// Erase a user for ever: the key to all that is known of them is destroyed, their sessions and grants end, and the name
    /// is free
    Erase(Named),
}

#[derive(Debug, Args)]
pub(super) struct Rename {
    #[command(flatten)]
    named: Named,
    /// The new name; not case-sensitive
    #[arg(value_name = "NEW_NAME")]
    to: String,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The name to sign in with; not case-sensitive
    #[arg(long)]
    username: String,
    /// Read the password from standard input: its first line
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct SetPassword {
    #[command(flatten)]
    named: Named,
    /// Read the password from standard input: its first line
    #[arg(long, required = true)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The user's name or id
    #[arg(value_name = "USERNAME|ID")]
    user: String,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    named: Named,
    /// A claim and its value; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", required_unless_present = "removed")]
    claims: Vec<String>,
    /// A claim that goes; may be repeated
    #[arg(id = "removed", long = "remove-claim", value_name = "NAME")]
    removed: Vec<String>,
}

/// A user as printed.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) user_id: UserId,
    /// Absent when the user was erased.
    pub(super) username: Option<String>,
    /// `enabled`, `disabled` or `erased`.
    pub(super) status: &'static str,
    /// By name (OpenID Connect Core 5.1).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) claims: Map<String, Value>,
}

pub(super) async fn run(command: User, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = match command {
        User::Create(_) => Opened::open_or_make(settings).await?,
        _ => Opened::open(settings).await?,
    };
    let vault = opened.vault(settings).await?;
    match command {
        User::Create(create) => register(&opened, &vault, create, json).await,
        User::List(list) => list_users(&opened, &vault, &list, json).await,
        User::Show(named) => show(&opened, &vault, find(&vault, &named.user).await?, json).await,
        User::SetPassword(set) => {
            let user_id = find(&vault, &set.named.user).await?;
            if !vault.set_password(user_id, password_from_stdin()?, Origin::default()).await? {
                return Err(no_such_user(&set.named.user));
            }
            change(&opened, user_id, UserCommand::ChangeCredential { at: opened.clock.now() }).await?;
            end_sessions(&opened, user_id).await?;
            show(&opened, &vault, user_id, json).await
        }
        User::Update(update) => {
            let user_id = find(&vault, &update.named.user).await?;
            set_claims(&opened, &vault, user_id, &update).await?;
            show(&opened, &vault, user_id, json).await
        }
        User::Disable(named) => {
            let user_id = find(&vault, &named.user).await?;
            change(&opened, user_id, UserCommand::Disable { at: opened.clock.now() }).await?;
            show(&opened, &vault, user_id, json).await
        }
        User::Enable(named) => {
            let user_id = find(&vault, &named.user).await?;
            if status(&opened, user_id).await? == Some("disabled") {
                end_grants(&opened, user_id).await?;
            }
            change(&opened, user_id, UserCommand::Enable { at: opened.clock.now() }).await?;
            show(&opened, &vault, user_id, json).await
        }
        User::Rename(rename) => {
            let user_id = find(&vault, &rename.named.user).await?;
            if !vault.rename(user_id, &rename.to).await? {
                return Err(no_such_user(&rename.named.user));
            }
            let command = UserCommand::ChangeProfile { fields: vec!["username".to_owned()], at: opened.clock.now() };
            change(&opened, user_id, command).await?;
            show(&opened, &vault, user_id, json).await
        }
        User::Erase(named) => {
            let user_id = find(&vault, &named.user).await?;
            erase(&opened, &vault, user_id).await?;
            show(&opened, &vault, user_id, json).await
        }
    }
}

async fn register(opened: &Opened, vault: &Vault, create: Create, json: bool) -> Result<(), CliError> {
    let password = if create.password_stdin { Some(password_from_stdin()?) } else { None };
    let user_id = UserId(opened.new_id());
    // The name first: the log may only tell of users whose name is theirs.
    vault.register(user_id, &create.username, password).await?;
    let command = UserCommand::Register { at: opened.clock.now() };
    opened.store.create::<Aggregate>(&user_id.to_string(), command, &opened.context()).await?;
    show(opened, vault, user_id, json).await
}

async fn change(opened: &Opened, user_id: UserId, command: UserCommand) -> Result<(), CliError> {
    opened.store.execute::<Aggregate>(&user_id.to_string(), command, &opened.context()).await?;
    Ok(())
}

/// The log first, so that nobody is let in any more. What was cut off in between is finished when it is given again.
async fn erase(opened: &Opened, vault: &Vault, user_id: UserId) -> Result<(), CliError> {
    change(opened, user_id, UserCommand::Erase { at: opened.clock.now() }).await?;
    vault.erase(user_id).await?;
    read_models::there(opened).await?;
    output::tell_damaged(&opened.store.end_sessions(user_id, None, EndReason::UserDisabled, &opened.context()).await?);
    end_grants(opened, user_id).await
}

/// Who knew the old password may be signed in somewhere.
async fn end_sessions(opened: &Opened, user_id: UserId) -> Result<(), CliError> {
    read_models::there(opened).await?;
    output::tell_damaged(&opened.store.end_sessions(user_id, None, EndReason::Admin, &opened.context()).await?);
    Ok(())
}

/// What a server that had not heard of the disabling yet gave meanwhile must not come back with the user.
async fn end_grants(opened: &Opened, user_id: UserId) -> Result<(), CliError> {
    read_models::there(opened).await?;
    let (of, reason) = (GrantsOf::User(user_id), RevocationReason::UserDisabled);
    output::tell_damaged(&opened.store.end_grants(of, reason, &opened.context()).await?);
    Ok(())
}

/// By name, or else by id.
pub(super) async fn find(vault: &Vault, user: &str) -> Result<UserId, CliError> {
    match (vault.find(user).await?, user.parse::<UserId>()) {
        (Some(found), _) | (None, Ok(found)) => Ok(found),
        (None, Err(_)) => Err(no_such_user(user)),
    }
}

fn no_such_user(user: &str) -> CliError {
    CliError::NotFound(format!("there is no user {user}"))
}

pub(super) async fn status(opened: &Opened, user_id: UserId) -> Result<Option<&'static str>, CliError> {
    let user = opened.store.load::<Aggregate>(&user_id.to_string()).await?.aggregate;
    Ok(match user.stage() {
        Stage::Absent => None,
        Stage::Enabled => Some("enabled"),
        Stage::Disabled => Some("disabled"),
        Stage::Erased => Some("erased"),
    })
}

async fn show(opened: &Opened, vault: &Vault, user_id: UserId, json: bool) -> Result<(), CliError> {
    let Some(status) = status(opened, user_id).await? else { return Err(no_such_user(&user_id.to_string())) };
    let (username, claims) = match vault.profile(user_id).await? {
        Some(profile) => (Some(profile.username), profile.claims),
        None => (None, Map::new()),
    };
    let shown = Shown { user_id, username, status, claims };
    if json {
        return output::json(&shown);
    }
    let mut fields = vec![
        ("user_id", shown.user_id.to_string()),
        ("username", shown.username.unwrap_or_default()),
        ("status", shown.status.to_owned()),
    ];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.extend(shown.claims.iter().map(|(name, value)| (name.as_str(), text(value))));
    output::fields(&fields)
}

async fn set_claims(opened: &Opened, vault: &Vault, user_id: UserId, update: &Update) -> Result<(), CliError> {
    let mut changes = Vec::new();
    for given in &update.claims {
        let (name, text) =
            given.split_once('=').ok_or_else(|| CliError::Usage(format!("--claim {given}: must be NAME=VALUE")))?;
        let value = claims::parse(name, text).map_err(|error| CliError::Refused(format!("--claim {name}: {error}")))?;
        changes.push((name.to_owned(), Some(value)));
    }
    changes.extend(update.removed.iter().map(|name| (name.clone(), None)));
    let profile = vault.profile(user_id).await?.ok_or_else(|| no_such_user(&user_id.to_string()))?;
    let at = opened.clock.now();
    let (held, fields) = claims::changed(&profile.claims, changes, at);
    if fields.is_empty() {
        return Ok(());
    }
    vault.set_claims(user_id, held).await?;
    change(opened, user_id, UserCommand::ChangeProfile { fields, at }).await
}

/// The first line of standard input. On a terminal it is asked for; what is typed is seen.
fn password_from_stdin() -> Result<Secret<String>, CliError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::message("Password (it will be seen while you type):");
    }
    let mut line = String::new();
    // A line break, and one byte more, so that too long a password is noticed.
    let mut bounded = std::io::Read::take(stdin.lock(), PASSWORD_BYTES_MAX as u64 + 3);
    bounded.read_line(&mut line).map_err(|error| CliError::Usage(format!("cannot read the password: {error}")))?;
    let password = Secret::new(line);
    let text = password.expose().trim_end_matches(['\r', '\n']);
    check_new(text).map_err(|error| CliError::Refused(error.to_string()))?;
    Ok(Secret::new(text.to_owned()))
}
