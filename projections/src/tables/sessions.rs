//! In which browsers is a user signed in? Asked by the account page. Reads every event of sessions; rows leave when they
//! have expired.

use grantlog_domain::session::{EndReason, SessionEvent};
use grantlog_domain::{Event, Recorded, SecretHash, SessionId, Timestamp, UserId};

use super::Page;
use crate::db::{Db, DbError, Row, Tx, Value};
use crate::table::{Column, FoldError, Table, follows, json};

pub const NAME: &str = "sessions";
pub const VERSION: i64 = 2;

/// One session, ended ones too until they would have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub session_id: SessionId,
    pub sequence: i64,
    pub user_id: UserId,
    /// Hash of the session cookie.
    pub cookie: SecretHash,
    /// OpenID Connect Core 2, `auth_time`.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    pub started_at: Timestamp,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// `signed_out`, `replaced`, `admin` or `user_disabled`.
    pub end_reason: Option<String>,
    /// Where it was started from, as far as the log has it.
    pub source_address: Option<String>,
}

#[derive(Debug)]
pub struct Sessions;

const fn spell(reason: EndReason) -> &'static str {
    match reason {
        EndReason::SignedOut => "signed_out",
        EndReason::Replaced => "replaced",
        EndReason::Admin => "admin",
        EndReason::UserDisabled => "user_disabled",
    }
}

impl Table for Sessions {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["session"];
    const COLUMNS: &'static [Column] = &[
        Column::text("session_id"),
        Column::int("sequence"),
        Column::text("user_id"),
        Column::text("cookie_hash"),
        Column::int("auth_time"),
        Column::text("amr"),
        Column::int("started_at"),
        Column::int("expires_at"),
        Column::int("ended_at").or_null(),
        Column::text("end_reason").or_null(),
        Column::text("source_address").or_null(),
    ];
    const KEY: usize = 1;
    const ORDER: &'static str = "session_id";
    const INDEXES: &'static [&'static str] = &["user_id", "expires_at"];
    const EXPIRES: Option<&'static str> = Some("expires_at");

    type Row = SessionRow;

    fn group(event: &Recorded) -> Option<String> {
        matches!(event.event, Event::Session(_)).then(|| event.aggregate_id.clone())
    }

    fn fold(rows: &mut Vec<SessionRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let Event::Session(event) = &recorded.event else { return Ok(()) };
        if let SessionEvent::Started { user_id, cookie, amr, expires_at, at } = event {
            if rows.is_empty() {
                rows.push(SessionRow {
                    session_id: recorded.aggregate_id.parse().map_err(|_| FoldError("not a session id".to_owned()))?,
                    sequence: recorded.sequence,
                    user_id: *user_id,
                    cookie: *cookie,
                    auth_time: *at,
                    amr: amr.clone(),
                    started_at: *at,
                    expires_at: *expires_at,
                    ended_at: None,
                    end_reason: None,
                    source_address: recorded.metadata.source_address.clone(),
                });
            }
            return Ok(());
        }
        // A row that has left is of no use any more.
        let Some(row) = rows.first_mut() else { return Ok(()) };
        if !follows(row.sequence, recorded)? {
            return Ok(());
        }
        row.sequence = recorded.sequence;
        match event {
            SessionEvent::Started { .. } => {}
            SessionEvent::Reauthenticated { cookie, amr, expires_at, at } => {
                row.cookie = *cookie;
                row.auth_time = *at;
                row.amr.clone_from(amr);
                row.expires_at = expires_at.unwrap_or(row.expires_at);
            }
            SessionEvent::Ended { reason, at } => {
                row.ended_at = Some(*at);
                row.end_reason = Some(spell(*reason).to_owned());
            }
        }
        Ok(())
    }

    fn read(row: &Row) -> Result<SessionRow, DbError> {
        Ok(SessionRow {
            session_id: row.parse(0)?,
            sequence: row.int(1)?,
            user_id: row.parse(2)?,
            cookie: row.parse(3)?,
            auth_time: Timestamp(row.int(4)?),
            amr: json(row.str(5)?)?,
            started_at: Timestamp(row.int(6)?),
            expires_at: Timestamp(row.int(7)?),
            ended_at: row.opt_int(8)?.map(Timestamp),
            end_reason: row.opt_text(9)?,
            source_address: row.opt_text(10)?,
        })
    }

    fn write(row: &SessionRow) -> Vec<Value> {
        vec![
            row.session_id.to_string().into(),
            row.sequence.into(),
            row.user_id.to_string().into(),
            row.cookie.to_string().into(),
            row.auth_time.0.into(),
            serde_json::to_string(&row.amr).unwrap_or_default().into(),
            row.started_at.0.into(),
            row.expires_at.0.into(),
            row.ended_at.map(|at| at.0).into(),
            row.end_reason.clone().into(),
            row.source_address.clone().into(),
        ]
    }
}

/// The user's sessions that have neither ended nor expired at `now`, the newest first.
pub async fn of_user(db: &Db, user: UserId, now: Timestamp, page: Page) -> Result<Vec<SessionRow>, DbError> {
    let mut rest = String::from(
        "WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY started_at DESC, session_id DESC",
    );
    let mut values = vec![user.to_string().into(), now.0.into()];
    page.push(&mut rest, &mut values);
    super::rows::<Sessions>(db, &rest, &values).await
}

/// Sessions that have neither ended nor expired at `now`, the newest first: of one user or of all, behind `after` in the list.
pub async fn list(
    db: &Db,
    user: Option<UserId>,
    after: Option<SessionId>,
    now: Timestamp,
    page: Page,
) -> Result<Vec<SessionRow>, DbError> {
    let mut rest = String::from("WHERE ended_at IS NULL AND expires_at > $1");
    let mut values = vec![now.0.into()];
    if let Some(user) = user {
        values.push(user.to_string().into());
        rest.push_str(&format!(" AND user_id = ${}", values.len()));
    }
    if let Some(after) = after {
        values.push(after.to_string().into());
        rest.push_str(&format!(
            " AND (started_at, session_id) < \
             (SELECT a.started_at, a.session_id FROM {NAME}_v{VERSION} a WHERE a.session_id = ${})",
            values.len()
        ));
    }
    rest.push_str(" ORDER BY started_at DESC, session_id DESC");
    page.push(&mut rest, &mut values);
    super::rows::<Sessions>(db, &rest, &values).await
}

/// Ids of the user's sessions that have neither ended nor expired at `now`, in the order of ids from behind `after`, at
/// most [`super::PAGE_MAX`]: for walking over all of them while they end.
pub async fn living_after(
    db: &Db,
    user: UserId,
    now: Timestamp,
    after: Option<SessionId>,
) -> Result<Vec<SessionId>, DbError> {
    let sql = format!(
        "SELECT session_id FROM {NAME}_v{VERSION} WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 \
         AND session_id > $3 ORDER BY session_id LIMIT $4"
    );
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let values = [user.to_string().into(), now.0.into(), after.into(), super::PAGE_MAX.into()];
    db.fetch(&sql, &values).await?.iter().map(|row| row.parse(0)).collect()
}

/// Those of all users whose cookie was hashed under that pepper, as [`living_after`].
pub async fn living_under_pepper(
    db: &Db,
    pepper: u16,
    now: Timestamp,
    after: Option<SessionId>,
) -> Result<Vec<SessionId>, DbError> {
    let sql = format!(
        "SELECT session_id FROM {NAME}_v{VERSION} WHERE cookie_hash LIKE '{pepper}.%' AND ended_at IS NULL \
         AND expires_at > $1 AND session_id > $2 ORDER BY session_id LIMIT $3"
    );
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let values = [now.0.into(), after.into(), super::PAGE_MAX.into()];
    db.fetch(&sql, &values).await?.iter().map(|row| row.parse(0)).collect()
}

/// How many those are.
pub async fn count_under_pepper(db: &Db, pepper: u16, now: Timestamp) -> Result<i64, DbError> {
    let sql = format!(
        "SELECT count(*) FROM {NAME}_v{VERSION} WHERE cookie_hash LIKE '{pepper}.%' AND ended_at IS NULL \
         AND expires_at > $1"
    );
    let rows = db.fetch(&sql, &[now.0.into()]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

pub(crate) async fn each_living(
    tx: &mut Tx,
    now: Timestamp,
    each: impl FnMut(SessionRow) + Send,
) -> Result<(), DbError> {
    super::each::<Sessions>(tx, "WHERE ended_at IS NULL AND expires_at > $1", &[now.0.into()], each).await
}
