//! Which users are there, and may they sign in? Asked by `grantlog user`. No personal data: that is in the vault. Reads
//! every event of users.

use grantlog_domain::user::{Stage, UserEvent};
use grantlog_domain::{Event, Recorded, Timestamp, UserId};

use super::Page;
use crate::db::{Db, DbError, Row, Tx, Value};
use crate::table::{Column, FoldError, Table, follows};

pub const NAME: &str = "users";
pub const VERSION: i64 = 1;

/// One user, erased ones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub user_id: UserId,
    pub sequence: i64,
    /// Enabled, Disabled or Erased.
    pub stage: Stage,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

#[derive(Debug)]
pub struct Users;

const fn spell(stage: Stage) -> &'static str {
    match stage {
        Stage::Absent => "absent",
        Stage::Enabled => "enabled",
        Stage::Disabled => "disabled",
        Stage::Erased => "erased",
    }
}

impl Table for Users {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["user"];
    const COLUMNS: &'static [Column] = &[
        Column::text("user_id"),
        Column::int("sequence"),
        Column::text("stage"),
        Column::int("created_at"),
        Column::int("changed_at"),
    ];
    const KEY: usize = 1;
    const ORDER: &'static str = "user_id";
    const INDEXES: &'static [&'static str] = &["created_at, user_id"];
    const EXPIRES: Option<&'static str> = None;

    type Row = UserRow;

    fn group(event: &Recorded) -> Option<String> {
        matches!(event.event, Event::User(_)).then(|| event.aggregate_id.clone())
    }

    fn fold(rows: &mut Vec<UserRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let Event::User(event) = &recorded.event else { return Ok(()) };
        let (stage, at) = match event {
            UserEvent::Registered { at } => {
                if rows.is_empty() {
                    rows.push(UserRow {
                        user_id: recorded.aggregate_id.parse().map_err(|_| FoldError("not a user id".to_owned()))?,
                        sequence: recorded.sequence,
                        stage: Stage::Enabled,
                        created_at: *at,
                        changed_at: *at,
                    });
                }
                return Ok(());
            }
            UserEvent::ProfileChanged { at, .. } | UserEvent::CredentialChanged { at } => (None, at),
            UserEvent::Disabled { at } => (Some(Stage::Disabled), at),
            UserEvent::Enabled { at } => (Some(Stage::Enabled), at),
            UserEvent::Erased { at } => (Some(Stage::Erased), at),
        };
        let row = rows.first_mut().ok_or_else(|| FoldError("the user was never registered".to_owned()))?;
        if follows(row.sequence, recorded)? {
            row.sequence = recorded.sequence;
            row.stage = stage.unwrap_or(row.stage);
            row.changed_at = *at;
        }
        Ok(())
    }

    fn read(row: &Row) -> Result<UserRow, DbError> {
        let stage = match row.str(2)? {
            "enabled" => Stage::Enabled,
            "disabled" => Stage::Disabled,
            "erased" => Stage::Erased,
            _ => return Err(DbError::Malformed("unknown stage of a user".to_owned())),
        };
        Ok(UserRow {
            user_id: row.parse(0)?,
            sequence: row.int(1)?,
            stage,
            created_at: Timestamp(row.int(3)?),
            changed_at: Timestamp(row.int(4)?),
        })
    }

    fn write(row: &UserRow) -> Vec<Value> {
        vec![
            row.user_id.to_string().into(),
            row.sequence.into(),
            spell(row.stage).into(),
            row.created_at.0.into(),
            row.changed_at.0.into(),
        ]
    }
}

pub async fn find(db: &Db, id: UserId) -> Result<Option<UserRow>, DbError> {
    Ok(super::rows::<Users>(db, "WHERE user_id = $1", &[id.to_string().into()]).await?.pop())
}

/// Users that are not erased, the newest first.
pub async fn list(db: &Db, page: Page) -> Result<Vec<UserRow>, DbError> {
    let mut rest = String::from("WHERE stage <> 'erased' ORDER BY created_at DESC, user_id DESC");
    let mut values = Vec::new();
    page.push(&mut rest, &mut values);
    super::rows::<Users>(db, &rest, &values).await
}

pub(crate) async fn each(tx: &mut Tx, each: impl FnMut(UserRow) + Send) -> Result<(), DbError> {
    super::each::<Users>(tx, "", &[], each).await
}
