//! `grantlog session`: where users are signed in, signing them out, and which clients still have to hear of it.

use clap::{Args, Subcommand};
use grantlog_domain::session::{EndReason, Session as Aggregate, SessionCommand, SessionError};
use grantlog_domain::{ClientId, SessionId, UserId};
use grantlog_projections::tables::{Page, sessions};
use serde::Serialize;

use super::names::Names;
use super::opened::Opened;
use super::{CliError, output, read_models, user};
use crate::config::Settings;
use crate::oidc::backchannel::outbox;
use crate::store::ExecuteError;
use crate::store::vault::Vault;

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List who is signed in and where, the newest first
    List(List),
    /// End sessions; the clients that took part in them are told
    End(End),
    /// List which clients still have to be told that a session has ended, and which could not be told
    Deliveries(Deliveries),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only sessions of this user
    #[arg(long, value_name = "USERNAME|ID")]
    user: Option<String>,
    /// Only those behind this one in the list: the last one of the list before
    #[arg(long, value_name = "SESSION")]
    after: Option<SessionId>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct End {
    /// The sessions' ids
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<SessionId>,
}

#[derive(Debug, Args)]
pub(super) struct Deliveries {
    /// At most so many, the oldest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// A session as printed; times are RFC 3339 in UTC.
#[derive(Debug, Serialize)]
struct Shown {
    session_id: SessionId,
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    started_at: String,
    auth_time: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<String>,
}

/// A delivery as printed.
#[derive(Debug, Serialize)]
struct ShownDelivery {
    session_id: SessionId,
    client_id: ClientId,
    ended_at: String,
    attempts: i64,
    /// `null` when it was given up.
    next_at: Option<String>,
    last_error: Option<String>,
}

pub(super) async fn run(command: Session, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = Opened::open(settings).await?;
    match command {
        Session::List(list) => print_list(&opened, &opened.vault(settings).await?, &list, json).await,
        Session::End(end) => {
            for session_id in end.sessions {
                end_one(&opened, session_id).await?;
            }
            Ok(())
        }
        Session::Deliveries(list) => print_deliveries(&opened, list.limit, json).await,
    }
}

async fn print_list(opened: &Opened, vault: &Vault, list: &List, json: bool) -> Result<(), CliError> {
    read_models::catch_up(opened).await?;
    let page = Page { limit: list.limit.into(), offset: 0 };
    let user = match &list.user {
        Some(user) => Some(user::find(vault, user).await?),
        None => None,
    };
    let rows = sessions::list(opened.db(), user, list.after, opened.clock.now(), page).await?;
    let names = Names::of(opened, vault, rows.iter().map(|row| row.user_id), []).await?;
    let shown = |row: sessions::SessionRow| Shown {
        session_id: row.session_id,
        user_id: row.user_id,
        username: names.user(row.user_id),
        started_at: output::moment(row.started_at),
        auth_time: output::moment(row.auth_time),
        expires_at: output::moment(row.expires_at),
        source_address: row.source_address,
    };
    let shown: Vec<Shown> = rows.into_iter().map(shown).collect();
    if json {
        return output::json(&shown);
    }
    let row = |session: &Shown| {
        let address = session.source_address.clone().unwrap_or_default();
        let username = session.username.clone().unwrap_or_default();
        let (signed_in, until) = (session.auth_time.clone(), session.expires_at.clone());
        vec![session.session_id.to_string(), session.user_id.to_string(), username, signed_in, until, address]
    };
    let head = ["SESSION_ID", "USER_ID", "USER", "SIGNED IN", "UNTIL", "FROM"];
    output::table(&head, &shown.iter().map(row).collect::<Vec<_>>())
}

async fn end_one(opened: &Opened, session_id: SessionId) -> Result<(), CliError> {
    let command = SessionCommand::End { reason: EndReason::Admin, at: opened.clock.now() };
    match opened.store.execute::<Aggregate>(&session_id.to_string(), command, &opened.context()).await {
        Ok(_) => Ok(()),
        Err(ExecuteError::Refused(SessionError::NotFound)) => {
            Err(CliError::NotFound(format!("there is no session {session_id}")))
        }
        Err(error) => Err(error.into()),
    }
}

async fn print_deliveries(opened: &Opened, limit: u32, json: bool) -> Result<(), CliError> {
    let shown = |row: outbox::Pending| ShownDelivery {
        session_id: row.session_id,
        client_id: row.client_id,
        ended_at: output::moment(row.ended_at),
        attempts: row.attempts,
        next_at: row.next_at.map(output::moment),
        last_error: row.last_error,
    };
    let rows = outbox::list(opened.db(), limit.into()).await?;
    let shown: Vec<ShownDelivery> = rows.into_iter().map(shown).collect();
    if json {
        return output::json(&shown);
    }
    let row = |delivery: &ShownDelivery| {
        let next = delivery.next_at.clone().unwrap_or_else(|| "given up".to_owned());
        let error = output::printable(delivery.last_error.as_deref().unwrap_or_default());
        vec![
            delivery.session_id.to_string(),
            delivery.client_id.to_string(),
            delivery.ended_at.clone(),
            delivery.attempts.to_string(),
            next,
            error,
        ]
    };
    let head = ["SESSION_ID", "CLIENT_ID", "ENDED", "ATTEMPTS", "NEXT", "LAST ERROR"];
    output::table(&head, &shown.iter().map(row).collect::<Vec<_>>())
}
