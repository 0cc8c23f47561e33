//! Whose the tables of the projections are, and what they may be called.
//!
//! On PostgreSQL the role of the server writes down which table answers, and makes those tables. So neither may ever
//! become code or loss for another role: who owns the log touches no table, view, trigger or function that the server's
//! role could have made (docs/postgres-roles.sql). What is read from `projection_checkpoint` and `active_projection` is
//! a name only when this program would have made it itself.

use crate::db::{Db, DbError, Tx, Value};

/// What a table of a check ends in.
pub(crate) const SCRATCH: &str = "_check";
/// Greatest number of a build.
const NUMBER_MAX: u32 = 999_999_999;

/// The number of a build, from the name of its table `NAME_vVERSION_bNUMBER`; 0 for the scratch table of a check.
///
/// # Errors
/// [`DbError::Malformed`] when this program would not have made that name for that version of that projection.
pub(crate) fn number_of(table_name: &str, name: &str, version: i64) -> Result<u32, DbError> {
    let build = table_name.strip_prefix(&format!("{name}_v{version}")).filter(|_| is_name(name) && version >= 0);
    let number = build.and_then(|build| match build.strip_prefix("_b") {
        Some(digits) => {
            digits.parse().ok().filter(|number: &u32| (1..=NUMBER_MAX).contains(number) && digits == number.to_string())
        }
        None => (build == SCRATCH).then_some(0),
    });
    number.ok_or_else(|| {
        DbError::Malformed(format!(
            "the read model {name:?} in version {version} is said to be in {table_name:?}, which is no table that Grantlog \
             makes for it: somebody else wrote that into projection_checkpoint or active_projection"
        ))
    })
}

/// Whether a projection can have that name.
fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The role that the read models belong to, when that is not the one of this session. `None` on SQLite.
///
/// # Errors
/// When the database cannot be asked.
pub async fn other_owner(db: &Db) -> Result<Option<String>, DbError> {
    if !db.is_postgres() {
        return Ok(None);
    }
    let sql = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'grantlog_read_models' \
               AND pg_get_userbyid(nspowner) <> current_user";
    db.fetch(sql, &[]).await?.first().map(|row| row.text(0)).transpose()
}

/// Refuses read models of another role: what that one has made of them would run as this one.
///
/// # Errors
/// [`DbError::NotOurs`], or when the database cannot be asked.
pub async fn are_ours(db: &Db) -> Result<(), DbError> {
    match other_owner(db).await? {
        None => Ok(()),
        Some(owner) => Err(DbError::NotOurs(format!(
            "the read models belong to the role {owner}, the server's, and this is another one: run this as {owner}"
        ))),
    }
}

/// Refuses tables and views, of those that are there, that another role made where this one makes its own.
pub(crate) async fn check_owned(tx: &mut Tx, names: &[&str]) -> Result<(), DbError> {
    if !tx.is_postgres() {
        return Ok(());
    }
    let names = names.iter().map(|name| Some((*name).to_owned())).collect();
    let sql = "SELECT relname::text, pg_get_userbyid(relowner)::text FROM unnest($1::text[]) AS asked (name) \
               JOIN pg_class ON pg_class.oid = to_regclass(asked.name) WHERE pg_get_userbyid(relowner) <> current_user";
    match tx.fetch(sql, &[Value::TextArray(names)]).await?.first() {
        None => Ok(()),
        Some(row) => Err(DbError::NotOurs(format!(
            "{} belongs to the role {}, and this one would make it: run docs/postgres-roles.sql, or drop it",
            row.text(0)?,
            row.text(1)?
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_program_makes_are_names() {
        assert_eq!(number_of("clients_v4_b1", "clients", 4).unwrap(), 1);
        assert_eq!(number_of("clients_v4_b999999999", "clients", 4).unwrap(), NUMBER_MAX);
        assert_eq!(number_of("clients_v4_check", "clients", 4).unwrap(), 0);
        for (table_name, name, version) in [
            ("events", "clients", 4),
            ("events", "events", 0),
            ("clients_v4", "clients", 4),
            ("clients_v4_b1", "clients", 5),
            ("clients_v4_b1", "users", 4),
            ("clients_v4_b01", "clients", 4),
            ("clients_v4_b+1", "clients", 4),
            ("clients_v4_b0", "clients", 4),
            ("clients_v4_b1000000000", "clients", 4),
            ("clients_v4_b99999999999999999999", "clients", 4),
            ("clients_v4_b1; DROP TABLE events", "clients", 4),
            ("clients_v4_b1 ", "clients", 4),
            ("public.clients_v4_b1", "clients", 4),
            ("clients_v4_check_check", "clients", 4),
            ("clients_v-4_b1", "clients", -4),
            ("_v1_b1", "", 1),
            ("events; --_v1_b1", "events; --", 1),
            ("Clients_v4_b1", "Clients", 4),
        ] {
            assert!(number_of(table_name, name, version).is_err(), "{table_name} of {name} {version}");
        }
    }
}
