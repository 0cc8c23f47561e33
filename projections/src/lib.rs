//! The answers of Grantlog: read models folded from the event log, and the engine that keeps them.
//!
//! [`log`] is the event log and the keys that say which of its events were decided ([`mac`]); [`feed`] reads it in order. [`tables`] are SQL tables folded from it by the [`engine`]; pages and the command
//! line ask them. [`live`] models are in memory; the hot paths ask them. [`rebuild`] builds a table anew beside the old
//! one, [`check`] proves that a table is what the log says, [`base`] is what archived events leave for both, [`status`]
//! tells how far everything is; [`read_models`] says whose the tables are.

#![forbid(unsafe_code)]

pub mod base;
pub mod check;
pub mod checkpoint;
pub mod db;
pub mod engine;
pub mod feed;
pub mod live;
pub mod log;
pub mod mac;
pub mod poison;
pub mod read_models;
pub mod rebuild;
pub mod status;
pub mod table;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod ticks;

pub use db::{Db, DbError, Row, Tx, Value};
pub use engine::{Projector, ProjectorOptions, ProjectorStatus, prepare, prepare_new};
pub use feed::Wake;
pub use live::{FollowOptions, Follower, Live, Now};
pub use log::Log;
