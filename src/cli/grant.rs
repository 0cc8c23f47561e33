//! `grantlog grant`: look at grants and revoke them.

use clap::{Args, Subcommand};
use grantlog_domain::grant::{Grant as Aggregate, GrantCommand, RevocationReason, Stage};
use grantlog_domain::{ClientId, GrantId, UserId};
use grantlog_projections::tables::Page;
use grantlog_projections::tables::grants::{self, GrantFilter, GrantRow, GrantStage, GrantsOf};
use serde::Serialize;

use super::names::Names;
use super::opened::Opened;
use super::{CliError, output, read_models, user};
use crate::config::Settings;
use crate::store::vault::Vault;

#[derive(Debug, Subcommand)]
pub(super) enum Grant {
    /// List grants, the ones used last first
    List(List),
    /// Show one grant as the log tells it
    Show(Named),
    /// End grants and every token that came from them
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only grants of this user
    #[arg(long, value_name = "USERNAME|ID")]
    user: Option<String>,
    /// Only grants to this client
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<ClientId>,
    /// Also those that are revoked or expired
    #[arg(long)]
    all: bool,
    /// Only these: code_issued, open or revoked (with expired ones)
    #[arg(long, value_name = "STATUS", value_parser = ["code_issued", "open", "revoked"], hide_possible_values = true)]
    status: Option<String>,
    /// Only those behind this one in the list: the last one of the list before
    #[arg(long, value_name = "GRANT")]
    after: Option<GrantId>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The grant's id
    grant: GrantId,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grantlog grant revoke 0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a
  grantlog grant revoke --user 0199f7a2-... --client 0199f7a3-...   (all that this user allowed this client)")]
pub(super) struct Revoke {
    /// The grants' ids
    #[arg(required_unless_present_any = ["user", "client"], conflicts_with_all = ["user", "client"], value_name = "GRANT")]
    grants: Vec<GrantId>,
    /// Every living grant of this user (an id)
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Every living grant to this client; with --user, only that user's
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<ClientId>,
}

/// What `revoke --user` or `--client` did.
#[derive(Debug, Serialize)]
struct RevokedAll {
    /// How many grants ended.
    revoked: usize,
    /// How many cannot be read, and count as ended.
    damaged: usize,
}

/// A grant as printed; times are RFC 3339 in UTC.
#[derive(Debug, Serialize)]
struct Shown {
    grant_id: GrantId,
    client_id: ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    scope: String,
    /// `code_issued`, `open` or `revoked`.
    status: &'static str,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_reason: Option<String>,
}

pub(super) async fn run(command: Grant, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = Opened::open(settings).await?;
    match command {
        Grant::List(list) => print_list(&opened, &opened.vault(settings).await?, &list, json).await,
        Grant::Show(named) => show(&opened, named.grant, json).await,
        Grant::Revoke(revoke) => {
            if let Some(of) = revoke.all_of() {
                return revoke_all(&opened, of, json).await;
            }
            for grant in revoke.grants {
                load(&opened, grant).await?;
                let command = GrantCommand::Revoke { reason: RevocationReason::Admin, at: opened.clock.now() };
                opened.store.execute::<Aggregate>(&grant.to_string(), command, &opened.context()).await?;
                show(&opened, grant, json).await?;
            }
            Ok(())
        }
    }
}

impl Revoke {
    fn all_of(&self) -> Option<GrantsOf> {
        match (self.user, self.client) {
            (Some(user), Some(client)) => Some(GrantsOf::UserAtClient(user, client)),
            (Some(user), None) => Some(GrantsOf::User(user)),
            (None, Some(client)) => Some(GrantsOf::Client(client)),
            (None, None) => None,
        }
    }
}

async fn revoke_all(opened: &Opened, of: GrantsOf, json: bool) -> Result<(), CliError> {
    read_models::there(opened).await?;
    let ended = opened.store.end_grants(of, RevocationReason::Admin, &opened.context()).await?;
    output::tell_damaged(&ended);
    let (revoked, damaged) = (ended.count, ended.damaged.len());
    if json {
        return output::json(&RevokedAll { revoked, damaged });
    }
    output::fields(&[("revoked", revoked.to_string())])
}

async fn print_list(opened: &Opened, vault: &Vault, list: &List, json: bool) -> Result<(), CliError> {
    read_models::catch_up(opened).await?;
    let user = match &list.user {
        Some(user) => Some(user::find(vault, user).await?),
        None => None,
    };
    let stage = list.status.as_deref().and_then(|status| status.parse::<GrantStage>().ok());
    let living_at = (!list.all && stage.is_none()).then(|| opened.clock.now());
    let filter = GrantFilter { user, client: list.client, living_at, stage, after: list.after };
    let rows = grants::list(opened.db(), filter, Page { limit: list.limit.into(), offset: 0 }).await?;
    let mut shown: Vec<Shown> = rows.into_iter().map(Shown::from).collect();
    let (users, clients) = (shown.iter().filter_map(|grant| grant.user_id), shown.iter().map(|grant| grant.client_id));
    let names = Names::of(opened, vault, users, clients).await?;
    for grant in &mut shown {
        grant.username = grant.user_id.and_then(|user| names.user(user));
        grant.client_name = names.client(grant.client_id);
    }
    if json {
        return output::json(&shown);
    }
    let row = |grant: &Shown| {
        let user = grant.user_id.map(|user| user.to_string()).unwrap_or_default();
        vec![
            grant.grant_id.to_string(),
            grant.client_id.to_string(),
            grant.client_name.clone().unwrap_or_default(),
            user,
            grant.username.clone().unwrap_or_default(),
            grant.scope.clone(),
            grant.status.to_owned(),
            grant.expires_at.clone(),
        ]
    };
    let head = ["GRANT_ID", "CLIENT_ID", "CLIENT", "USER_ID", "USER", "SCOPE", "STATUS", "EXPIRES"];
    output::table(&head, &shown.iter().map(row).collect::<Vec<_>>())
}

impl From<GrantRow> for Shown {
    fn from(row: GrantRow) -> Self {
        Shown {
            grant_id: row.grant_id,
            client_id: row.client_id,
            client_name: None,
            user_id: row.user_id,
            username: None,
            scope: row.scope.to_string(),
            status: row.stage.as_str(),
            expires_at: output::moment(row.expires_at),
            revoked_reason: row.revoked_reason,
        }
    }
}

async fn load(opened: &Opened, grant_id: GrantId) -> Result<Shown, CliError> {
    let grant = opened.store.load::<Aggregate>(&grant_id.to_string()).await?.aggregate;
    let not_found = || CliError::NotFound(format!("there is no grant {grant_id}"));
    let authorization = grant.authorization().ok_or_else(not_found)?;
    let (status, revoked_reason) = match grant.stage() {
        Stage::Absent => return Err(not_found()),
        Stage::CodeIssued(_) => ("code_issued", None),
        Stage::Open(_) => ("open", None),
        Stage::Revoked { reason, .. } => ("revoked", Some(reason.to_string())),
    };
    Ok(Shown {
        grant_id,
        client_id: authorization.client_id,
        client_name: None,
        user_id: authorization.user_id,
        username: None,
        scope: authorization.scope.to_string(),
        status,
        expires_at: output::moment(authorization.expires_at),
        revoked_reason,
    })
}

async fn show(opened: &Opened, grant_id: GrantId, json: bool) -> Result<(), CliError> {
    let shown = load(opened, grant_id).await?;
    if json {
        return output::json(&shown);
    }
    output::fields(&[
        ("grant_id", shown.grant_id.to_string()),
        ("client_id", shown.client_id.to_string()),
        ("user_id", shown.user_id.map(|user| user.to_string()).unwrap_or_default()),
        ("scope", shown.scope),
        ("status", shown.status.to_owned()),
        ("expires", shown.expires_at),
        ("revoked_reason", shown.revoked_reason.unwrap_or_default()),
    ])
}
