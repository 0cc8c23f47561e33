//! What goes into a statement and what comes out of a row: TEXT, BIGINT and NULL, in both databases.

use std::fmt;

use serde::Serialize;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Postgres, Row as _};

use super::DbError;

/// A bound parameter; in JSON (many of them in one parameter) the plain value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Int(i64),
    Null,
    /// PostgreSQL only: for `= ANY($1)` and `UNNEST($1, …)`.
    TextArray(Vec<Option<String>>),
    /// PostgreSQL only.
    IntArray(Vec<Option<i64>>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

/// Flags are 0 and 1.
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// NULL whose type PostgreSQL infers; `Option::<String>::None` would claim to be text in a bigint column.
struct UntypedNull;

impl sqlx::Type<Postgres> for UntypedNull {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl sqlx::Encode<'_, Postgres> for UntypedNull {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

pub(super) fn postgres_arguments(values: &[Value]) -> Result<PgArguments, DbError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.as_str()),
            Value::Int(int) => arguments.add(*int),
            Value::Null => arguments.add(UntypedNull),
            Value::TextArray(texts) => arguments.add(texts),
            Value::IntArray(ints) => arguments.add(ints),
        }
        .map_err(|error| DbError::Data(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

pub(super) fn sqlite_arguments(values: &[Value]) -> Result<SqliteArguments<'_>, DbError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.as_str()),
            Value::Int(int) => arguments.add(*int),
            Value::Null => arguments.add(None::<i64>),
            Value::TextArray(_) | Value::IntArray(_) => Err("SQLite has no arrays".into()),
        }
        .map_err(|error| DbError::Data(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// A result row; columns by index from 0.
pub enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// Text without a copy.
    pub fn str(&self, index: usize) -> Result<&str, DbError> {
        self.opt_str(index)?.ok_or_else(|| null(index))
    }

    pub fn opt_str(&self, index: usize) -> Result<Option<&str>, DbError> {
        match self {
            Self::Postgres(row) => row.try_get(index),
            Self::Sqlite(row) => row.try_get(index),
        }
        .map_err(|error| malformed(index, &error))
    }

    pub fn text(&self, index: usize) -> Result<String, DbError> {
        self.str(index).map(str::to_owned)
    }

    pub fn opt_text(&self, index: usize) -> Result<Option<String>, DbError> {
        Ok(self.opt_str(index)?.map(str::to_owned))
    }

    pub fn int(&self, index: usize) -> Result<i64, DbError> {
        self.opt_int(index)?.ok_or_else(|| null(index))
    }

    pub fn opt_int(&self, index: usize) -> Result<Option<i64>, DbError> {
        match self {
            // A bare 0 or 1 in a statement is an int4 there.
            Self::Postgres(row) => row.try_get(index).or_else(|error| match row.try_get::<Option<i32>, _>(index) {
                Ok(int) => Ok(int.map(i64::from)),
                Err(_) => Err(error),
            }),
            Self::Sqlite(row) => row.try_get(index),
        }
        .map_err(|error| malformed(index, &error))
    }

    /// A flag kept as 0 or 1.
    pub fn flag(&self, index: usize) -> Result<bool, DbError> {
        Ok(self.int(index)? != 0)
    }

    /// A text column as the type that it spells.
    pub fn parse<T: std::str::FromStr>(&self, index: usize) -> Result<T, DbError> {
        self.str(index)?.parse().map_err(|_| DbError::Malformed(format!("column {index} does not spell its type")))
    }

    pub fn opt_parse<T: std::str::FromStr>(&self, index: usize) -> Result<Option<T>, DbError> {
        match self.opt_str(index)? {
            None => Ok(None),
            Some(_) => self.parse(index).map(Some),
        }
    }
}

/// Shows only which database it came from: rows may hold what does not belong in a log.
impl fmt::Debug for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Postgres(_) => "Row::Postgres",
            Self::Sqlite(_) => "Row::Sqlite",
        })
    }
}

fn null(index: usize) -> DbError {
    DbError::Malformed(format!("column {index} is null"))
}

fn malformed(index: usize, error: &sqlx::Error) -> DbError {
    DbError::Malformed(format!("column {index}: {error}"))
}
