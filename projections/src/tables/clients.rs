//! Which clients are there, whose are they, what did they register? Asked by the home page, a client's page and
//! `grantlog client`. Reads every event of clients.

use std::collections::HashMap;

use grantlog_domain::client::{Author, ClientEvent, ClientMetadata, vouch};
use grantlog_domain::{ClientId, Event, Recorded, SecretHash, Timestamp, UserId};

use super::{Page, grants};
use crate::db::{Db, DbError, Row, Tx, Value};
use crate::table::{Column, FoldError, Table, follows, json};

pub const NAME: &str = "clients";
pub const VERSION: i64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientStage {
    Enabled,
    Disabled,
    Deleted,
}

impl ClientStage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

impl std::str::FromStr for ClientStage {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Enabled, Self::Disabled, Self::Deleted].into_iter().find(|stage| stage.as_str() == text).ok_or(())
    }
}

/// One client, deleted ones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    pub client_id: ClientId,
    pub sequence: i64,
    pub stage: ClientStage,
    /// Absent when an operator made it.
    pub owner: Option<UserId>,
    pub metadata: ClientMetadata,
    pub secret: Option<SecretHash>,
    pub author: Author,
    /// An operator answered for it later, and nobody else has changed it since.
    pub vouched: bool,
    /// Of one that is disabled.
    pub disabled_by: Option<Author>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

impl ClientRow {
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.stage == ClientStage::Enabled
    }

    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.stage == ClientStage::Deleted
    }
}

#[derive(Debug)]
pub struct Clients;

impl Table for Clients {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["client"];
    const COLUMNS: &'static [Column] = &[
        Column::text("client_id"),
        Column::int("sequence"),
        Column::text("stage"),
        Column::text("owner").or_null(),
        Column::text("client_name"),
        Column::text("metadata"),
        Column::text("secret_hash").or_null(),
        Column::text("author"),
        Column::int("vouched"),
        Column::text("disabled_by").or_null(),
        Column::int("created_at"),
        Column::int("changed_at"),
    ];
    const KEY: usize = 1;
    const ORDER: &'static str = "client_id";
    const INDEXES: &'static [&'static str] = &["owner", "created_at, client_id"];
    const EXPIRES: Option<&'static str> = None;

    type Row = ClientRow;

    fn group(event: &Recorded) -> Option<String> {
        matches!(event.event, Event::Client(_)).then(|| event.aggregate_id.clone())
    }

    fn fold(rows: &mut Vec<ClientRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let Event::Client(event) = &recorded.event else { return Ok(()) };
        if let ClientEvent::Registered { metadata, secret, owner, registration_access_token, by, at } = event {
            if rows.is_empty() {
                rows.push(ClientRow {
                    client_id: recorded.aggregate_id.parse().map_err(|_| FoldError("not a client_id".to_owned()))?,
                    sequence: recorded.sequence,
                    stage: ClientStage::Enabled,
                    owner: *owner,
                    metadata: metadata.clone(),
                    secret: *secret,
                    author: Author::of_registration(*by, owner.is_some(), registration_access_token.is_some()),
                    vouched: false,
                    disabled_by: None,
                    created_at: *at,
                    changed_at: *at,
                });
            }
            return Ok(());
        }
        let row = rows.first_mut().ok_or_else(|| FoldError("the client was never registered".to_owned()))?;
        if !follows(row.sequence, recorded)? {
            return Ok(());
        }
        row.sequence = recorded.sequence;
        row.changed_at = match event {
            ClientEvent::Registered { at, .. } => *at,
            ClientEvent::Updated { metadata, vouched, by, at } => {
                row.metadata = metadata.clone();
                row.vouched = vouch(*vouched, *by).unwrap_or(row.vouched);
                *at
            }
            ClientEvent::SecretRotated { secret, at, .. } => {
                row.secret = Some(*secret);
                *at
            }
            ClientEvent::Disabled { by, at } => {
                row.stage = ClientStage::Disabled;
                row.disabled_by = Some(Author::of_change(*by));
                *at
            }
            ClientEvent::Enabled { at, .. } => {
                row.stage = ClientStage::Enabled;
                row.disabled_by = None;
                *at
            }
            ClientEvent::Deleted { at, .. } => {
                row.stage = ClientStage::Deleted;
                *at
            }
        };
        Ok(())
    }

    fn read(row: &Row) -> Result<ClientRow, DbError> {
        Ok(ClientRow {
            client_id: row.parse(0)?,
            sequence: row.int(1)?,
            stage: row.parse(2)?,
            owner: row.opt_parse(3)?,
            metadata: json(row.str(5)?)?,
            secret: row.opt_parse(6)?,
            author: row.parse(7)?,
            vouched: row.flag(8)?,
            disabled_by: row.opt_parse(9)?,
            created_at: Timestamp(row.int(10)?),
            changed_at: Timestamp(row.int(11)?),
        })
    }

    fn write(row: &ClientRow) -> Vec<Value> {
        vec![
            row.client_id.to_string().into(),
            row.sequence.into(),
            row.stage.as_str().into(),
            row.owner.map(|owner| owner.to_string()).into(),
            row.metadata.client_name.as_str().into(),
            serde_json::to_string(&row.metadata).unwrap_or_default().into(),
            row.secret.map(|secret| secret.to_string()).into(),
            row.author.as_str().into(),
            i64::from(row.vouched).into(),
            row.disabled_by.map(Author::as_str).into(),
            row.created_at.0.into(),
            row.changed_at.0.into(),
        ]
    }
}

/// The client, unless it is unknown or deleted.
pub async fn find(db: &Db, id: ClientId) -> Result<Option<ClientRow>, DbError> {
    let rest = "WHERE client_id = $1 AND stage <> 'deleted'";
    Ok(super::rows::<Clients>(db, rest, &[id.to_string().into()]).await?.pop())
}

/// Clients that are not deleted, the newest first; those of one owner when `owner` says so.
pub async fn list(db: &Db, owner: Option<UserId>, page: Page) -> Result<Vec<ClientRow>, DbError> {
    let mut rest = String::from("WHERE stage <> 'deleted'");
    let mut values = Vec::new();
    if let Some(owner) = owner {
        values.push(owner.to_string().into());
        rest.push_str(" AND owner = $1");
    }
    rest.push_str(" ORDER BY created_at DESC, client_id DESC");
    page.push(&mut rest, &mut values);
    super::rows::<Clients>(db, &rest, &values).await
}

/// As [`list`], those of an owner with `part` in their names.
pub async fn search(db: &Db, owner: UserId, part: &str, page: Page) -> Result<Vec<ClientRow>, DbError> {
    let mut pattern = String::from("%");
    for character in part.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '~') {
            pattern.push('~');
        }
        pattern.push(character);
    }
    pattern.push('%');
    let mut rest = String::from(
        "WHERE stage <> 'deleted' AND owner = $1 AND lower(client_name) LIKE $2 ESCAPE '~' \
         ORDER BY created_at DESC, client_id DESC",
    );
    let mut values = vec![owner.to_string().into(), pattern.into()];
    page.push(&mut rest, &mut values);
    super::rows::<Clients>(db, &rest, &values).await
}

/// Clients that are not deleted and whose secret was hashed under that pepper, by id.
pub async fn secrets_under_pepper(db: &Db, pepper: u16) -> Result<Vec<ClientRow>, DbError> {
    let rest = format!("WHERE secret_hash LIKE '{pepper}.%' AND stage <> 'deleted' ORDER BY client_id");
    super::rows::<Clients>(db, &rest, &[]).await
}

/// Clients that are not deleted and whose registration access token (RFC 7592 3) was hashed under that pepper, by id. The
/// table does not hold it, so the log is asked.
pub async fn registered_under_pepper(db: &Db, pepper: u16) -> Result<Vec<ClientRow>, DbError> {
    let rest = format!(
        "WHERE stage <> 'deleted' AND client_id IN (SELECT aggregate_id FROM events \
         WHERE aggregate_type = 'client' AND event_type = 'client.registered' \
         AND CAST(payload AS text) LIKE '%\"registration_access_token\":\"{pepper}.%') ORDER BY client_id"
    );
    super::rows::<Clients>(db, &rest, &[]).await
}

/// Most names that are asked for at once.
const NAMES_MAX: usize = 500;

/// The names of clients, deleted ones too, for showing.
pub async fn names(db: &Db, ids: &[ClientId]) -> Result<HashMap<ClientId, String>, DbError> {
    let mut names = HashMap::with_capacity(ids.len());
    for some in ids.chunks(NAMES_MAX) {
        let places: Vec<String> = (1..=some.len()).map(|at| format!("${at}")).collect();
        let sql =
            format!("SELECT client_id, client_name FROM {NAME}_v{VERSION} WHERE client_id IN ({})", places.join(", "));
        let values: Vec<Value> = some.iter().map(|id| id.to_string().into()).collect();
        for row in db.fetch(&sql, &values).await? {
            names.insert(row.parse(0)?, row.text(1)?);
        }
    }
    Ok(names)
}

/// How many clients a user has.
pub async fn count(db: &Db, owner: UserId) -> Result<i64, DbError> {
    let rest = "WHERE owner = $1 AND stage <> 'deleted'";
    super::count::<Clients>(db, rest, &[owner.to_string().into()]).await
}

/// Those of these clients that have a grant in the table of grants, which keeps them for an hour after they have expired.
pub async fn with_grants(db: &Db, ids: &[ClientId]) -> Result<Vec<ClientId>, DbError> {
    let places: Vec<String> = (1..=ids.len()).map(|at| format!("${at}")).collect();
    let (own, grants) = (format!("{NAME}_v{VERSION}"), format!("{}_v{}", grants::NAME, grants::VERSION));
    let sql = format!(
        "SELECT c.client_id FROM {own} c WHERE c.client_id IN ({}) \
         AND EXISTS (SELECT 1 FROM {grants} g WHERE g.client_id = c.client_id)",
        places.join(", ")
    );
    let values: Vec<Value> = ids.iter().map(|id| id.to_string().into()).collect();
    db.fetch(&sql, &values).await?.iter().map(|row| row.parse(0)).collect()
}

pub(crate) async fn each(tx: &mut Tx, each: impl FnMut(ClientRow) + Send) -> Result<(), DbError> {
    super::each::<Clients>(tx, "", &[], each).await
}
