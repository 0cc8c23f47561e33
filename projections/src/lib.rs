//! The answers of Grantlog: read models folded from the event log, and the engine that keeps them.

pub mod db;

pub use db::{Db, DbError, Row, Tx, Value};
