//! `grantlog session`: where users are signed in, signing them out, and which clients still have to hear of it.

use clap::{Args, Subcommand};
use grantlog_domain::session::{EndReason, Session as Aggregate, SessionCommand, SessionError};
use grantlog_domain::{ClientId, SessionId, UserId};
use grantlog_projections::tables::{Page, sessions};
use serde::Serialize;

use super::opened::Opened;
use super::{CliError, output, read_models};
use crate::config::Settings;
use crate::oidc::backchannel::outbox;
use crate::store::ExecuteError;

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List where a user is signed in, the newest first
    List(List),
    /// End sessions; the clients that took part in them are told
    End(End),
    /// List which clients still have to be told that a session has ended, and which could not be told
    Deliveries(Deliveries),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: UserId,
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
        Session::List(list) => print_list(&opened, &list, json).await,
        Session::End(end) => {
            for session_id in end.sessions {
                end_one(&opened, session_id).await?;
            }
            Ok(())
        }
        Session::Deliveries(list) => print_deliveries(&opened, list.limit, json).await,
    }
}

async fn print_list(opened: &Opened, list: &List, json: bool) -> Result<(), CliError> {
    read_models::catch_up(opened).await?;
    let page = Page { limit: list.limit.into(), offset: 0 };
    let rows = sessions::of_user(opened.db(), list.user, opened.clock.now(), page).await?;
    let shown = |row: sessions::SessionRow| Shown {
        session_id: row.session_id,
        user_id: row.user_id,
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
        vec![session.session_id.to_string(), session.auth_time.clone(), session.expires_at.clone(), address]
    };
    output::table(&["SESSION_ID", "SIGNED IN", "UNTIL", "FROM"], &shown.iter().map(row).collect::<Vec<_>>())
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
