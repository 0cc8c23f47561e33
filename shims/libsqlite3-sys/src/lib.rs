//! The bindings of a newer SQLite under the version that sqlx and rusqlite name (`docs/dependencies.md`).

pub use current::*;
