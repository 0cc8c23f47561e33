//! Which signing keys are there, and in which stage? Asked by `grantlog key list`. Reads every event of signing keys.

use grantlog_domain::signing_key::{Algorithm, SigningKeyEvent, Stage};
use grantlog_domain::{Event, Recorded, Timestamp};
use serde_json::{Map, Value as Json};

use crate::db::{Db, DbError, Row, Tx, Value};
use crate::table::{Column, FoldError, Table, follows, json};

pub const NAME: &str = "keys";
pub const VERSION: i64 = 1;

/// Most keys of one list.
const KEYS_MAX: i64 = 1000;

/// One signing key, revoked ones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// `kid` (RFC 7517 4.5).
    pub key_id: String,
    pub sequence: i64,
    pub algorithm: Algorithm,
    pub stage: Stage,
    /// The public JWK (RFC 7517 4).
    pub public_jwk: Map<String, Json>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

#[derive(Debug)]
pub struct Keys;

const fn spell(stage: Stage) -> &'static str {
    match stage {
        Stage::Absent => "absent",
        Stage::Created => "created",
        Stage::Active => "active",
        Stage::Retired => "retired",
        Stage::Revoked => "revoked",
    }
}

impl Table for Keys {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["signing_key"];
    const COLUMNS: &'static [Column] = &[
        Column::text("key_id"),
        Column::int("sequence"),
        Column::text("algorithm"),
        Column::text("stage"),
        Column::text("public_jwk"),
        Column::int("created_at"),
        Column::int("changed_at"),
    ];
    const KEY: usize = 1;
    const ORDER: &'static str = "key_id";
    const INDEXES: &'static [&'static str] = &[];
    const EXPIRES: Option<&'static str> = None;

    type Row = KeyRow;

    fn group(event: &Recorded) -> Option<String> {
        matches!(event.event, Event::SigningKey(_)).then(|| event.aggregate_id.clone())
    }

    fn fold(rows: &mut Vec<KeyRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let Event::SigningKey(event) = &recorded.event else { return Ok(()) };
        let (stage, at) = match event {
            SigningKeyEvent::Created { alg, public_jwk, at } => {
                if rows.is_empty() {
                    rows.push(KeyRow {
                        key_id: recorded.aggregate_id.clone(),
                        sequence: recorded.sequence,
                        algorithm: *alg,
                        stage: Stage::Created,
                        public_jwk: public_jwk.clone(),
                        created_at: *at,
                        changed_at: *at,
                    });
                }
                return Ok(());
            }
            SigningKeyEvent::Activated { at } => (Stage::Active, *at),
            SigningKeyEvent::Retired { at } => (Stage::Retired, *at),
            SigningKeyEvent::Revoked { at } => (Stage::Revoked, *at),
        };
        let row = rows.first_mut().ok_or_else(|| FoldError("the key was never created".to_owned()))?;
        if follows(row.sequence, recorded)? {
            row.sequence = recorded.sequence;
            row.stage = stage;
            row.changed_at = at;
        }
        Ok(())
    }

    fn read(row: &Row) -> Result<KeyRow, DbError> {
        let stage = match row.str(3)? {
            "created" => Stage::Created,
            "active" => Stage::Active,
            "retired" => Stage::Retired,
            "revoked" => Stage::Revoked,
            _ => return Err(DbError::Malformed("unknown stage of a key".to_owned())),
        };
        Ok(KeyRow {
            key_id: row.text(0)?,
            sequence: row.int(1)?,
            algorithm: row.parse(2)?,
            stage,
            public_jwk: json(row.str(4)?)?,
            created_at: Timestamp(row.int(5)?),
            changed_at: Timestamp(row.int(6)?),
        })
    }

    fn write(row: &KeyRow) -> Vec<Value> {
        vec![
            row.key_id.as_str().into(),
            row.sequence.into(),
            row.algorithm.as_str().into(),
            spell(row.stage).into(),
            serde_json::to_string(&row.public_jwk).unwrap_or_default().into(),
            row.created_at.0.into(),
            row.changed_at.0.into(),
        ]
    }
}

/// Every key, the newest first; at most 1000.
pub async fn list(db: &Db) -> Result<Vec<KeyRow>, DbError> {
    super::rows::<Keys>(db, "ORDER BY created_at DESC, key_id DESC LIMIT $1", &[KEYS_MAX.into()]).await
}

pub(crate) async fn each(tx: &mut Tx, each: impl FnMut(KeyRow) + Send) -> Result<(), DbError> {
    super::each::<Keys>(tx, "", &[], each).await
}
