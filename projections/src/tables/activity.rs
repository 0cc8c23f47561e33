//! What has a user done lately? Asked by the home page. Reads every event that names a user, or that a user caused;
//! keeps the last 20 of each user.

use grantlog_domain::client::ClientEvent;
use grantlog_domain::grant::GrantEvent;
use grantlog_domain::session::SessionEvent;
use grantlog_domain::user::UserEvent;
use grantlog_domain::{Actor, ClientId, Event, Recorded, Scope, UserId};

use crate::db::{Db, DbError, Row, Value};
use crate::feed::Cursor;
use crate::table::{Column, FoldError, Table};

pub const NAME: &str = "activity";
pub const VERSION: i64 = 1;

/// Rows kept of each user.
pub const ACTIVITY_MAX: usize = 20;

/// One event, as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    pub user_id: UserId,
    pub cursor: Cursor,
    pub sequence: i64,
    /// Unix milliseconds.
    pub recorded_at: i64,
    /// For example `grant.code_issued`.
    pub event_type: String,
    pub aggregate_id: String,
    /// The client that it is about, when the event names one.
    pub client_id: Option<ClientId>,
    /// What was allowed, when the event says so.
    pub scope: Option<Scope>,
    /// Why something ended, as the event spells it.
    pub reason: Option<String>,
    pub source_address: Option<String>,
}

#[derive(Debug)]
pub struct Activity;

impl Table for Activity {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["client", "user", "session", "grant"];
    const COLUMNS: &'static [Column] = &[
        Column::text("user_id"),
        Column::int("position"),
        Column::int("txid"),
        Column::int("sequence"),
        Column::int("recorded_at"),
        Column::text("event_type"),
        Column::text("aggregate_id"),
        Column::text("client_id").or_null(),
        Column::text("scope").or_null(),
        Column::text("reason").or_null(),
        Column::text("source_address").or_null(),
    ];
    const KEY: usize = 2;
    const ORDER: &'static str = "txid, position";
    const INDEXES: &'static [&'static str] = &[];
    const EXPIRES: Option<&'static str> = None;

    type Row = ActivityRow;

    fn group(event: &Recorded) -> Option<String> {
        user_of(event).map(|user| user.to_string())
    }

    fn opens(_: &Recorded) -> bool {
        false
    }

    fn fold(rows: &mut Vec<ActivityRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let cursor = Cursor { txid: recorded.txid, position: recorded.position };
        if rows.last().is_some_and(|newest| newest.cursor >= cursor) {
            return Ok(());
        }
        if matches!(recorded.event, Event::User(UserEvent::Erased { .. })) {
            rows.clear();
            return Ok(());
        }
        let Some(user_id) = user_of(recorded) else { return Ok(()) };
        if rows.len() >= ACTIVITY_MAX {
            rows.remove(0);
        }
        let (client_id, scope, reason) = details(recorded);
        rows.push(ActivityRow {
            user_id,
            cursor,
            sequence: recorded.sequence,
            recorded_at: recorded.recorded_at,
            event_type: recorded.event.event_type().to_owned(),
            aggregate_id: recorded.aggregate_id.clone(),
            client_id,
            scope,
            reason,
            source_address: recorded.metadata.source_address.clone(),
        });
        Ok(())
    }

    fn read(row: &Row) -> Result<ActivityRow, DbError> {
        let scope = row.opt_str(8)?.map(Scope::parse).transpose();
        Ok(ActivityRow {
            user_id: row.parse(0)?,
            cursor: Cursor { position: row.int(1)?, txid: row.int(2)? },
            sequence: row.int(3)?,
            recorded_at: row.int(4)?,
            event_type: row.text(5)?,
            aggregate_id: row.text(6)?,
            client_id: row.opt_parse(7)?,
            scope: scope.map_err(|error| DbError::Malformed(error.to_string()))?,
            reason: row.opt_text(9)?,
            source_address: row.opt_text(10)?,
        })
    }

    fn write(row: &ActivityRow) -> Vec<Value> {
        vec![
            row.user_id.to_string().into(),
            row.cursor.position.into(),
            row.cursor.txid.into(),
            row.sequence.into(),
            row.recorded_at.into(),
            row.event_type.as_str().into(),
            row.aggregate_id.as_str().into(),
            row.client_id.map(|id| id.to_string()).into(),
            row.scope.as_ref().map(ToString::to_string).into(),
            row.reason.clone().into(),
            row.source_address.clone().into(),
        ]
    }
}

/// Whose activity an event is: the one it names, or the one who caused it.
fn user_of(recorded: &Recorded) -> Option<UserId> {
    let named = match &recorded.event {
        Event::User(_) => recorded.aggregate_id.parse().ok(),
        Event::Session(SessionEvent::Started { user_id, .. }) => Some(*user_id),
        Event::Grant(GrantEvent::CodeIssued(issued)) => Some(issued.user_id),
        Event::Grant(GrantEvent::Opened(opened)) => opened.user_id,
        Event::Grant(GrantEvent::IdTokenIssued(issued)) => Some(issued.user_id),
        Event::Client(ClientEvent::Registered { owner, .. }) => *owner,
        _ => None,
    };
    named.or(match recorded.metadata.actor {
        Actor::User(user) => Some(user),
        Actor::Client(_)
        | Actor::Admin(_)
        | Actor::InitialAccessToken(_)
        | Actor::Anonymous
        | Actor::Cli
        | Actor::System => None,
    })
}

fn details(recorded: &Recorded) -> (Option<ClientId>, Option<Scope>, Option<String>) {
    match &recorded.event {
        Event::Client(_) => (recorded.aggregate_id.parse().ok(), None, None),
        Event::Grant(GrantEvent::CodeIssued(issued)) => (Some(issued.client_id), Some(issued.scope.clone()), None),
        Event::Grant(GrantEvent::Opened(opened)) => (Some(opened.client_id), Some(opened.scope.clone()), None),
        Event::Grant(GrantEvent::IdTokenIssued(issued)) => (Some(issued.client_id), Some(issued.scope.clone()), None),
        Event::Grant(GrantEvent::Revoked { reason, .. }) => (None, None, Some(reason.as_str().to_owned())),
        _ => (None, None, None),
    }
}

/// The user's last events, the newest first; at most [`ACTIVITY_MAX`].
pub async fn of_user(db: &Db, user: UserId) -> Result<Vec<ActivityRow>, DbError> {
    super::rows::<Activity>(db, "WHERE user_id = $1 ORDER BY txid DESC, position DESC", &[user.to_string().into()])
        .await
}
