//! Under which pepper a user name is found. While a pepper is being retired names stand under two of them, and a name is one
//! name all the same.

use grantlog_projections::db::{Row, Tx, Value};

use super::VaultError;

/// Of the indexes of a new name, the one to write, and the others under which it may be taken. The database says which
/// pepper that is, so that every node writes the same; its row is held until the end of the transaction, so that a pepper
/// begins to be retired before or after, never meanwhile.
pub(super) async fn choose(tx: &mut Tx, mut indexes: Vec<(u16, String)>) -> Result<(String, Vec<String>), VaultError> {
    let lock = if tx.is_postgres() { " FOR SHARE" } else { "" };
    let sql = format!(
        "SELECT pepper_id FROM peppers WHERE pepper_id = \
         (SELECT min(pepper_id) FROM peppers WHERE retiring_at IS NULL) AND retiring_at IS NULL{lock}"
    );
    let mut rows = tx.fetch(&sql, &[]).await?;
    if rows.is_empty() {
        // It began to be retired while we waited for its row; another look finds the next one.
        rows = tx.fetch(&sql, &[]).await?;
    }
    // A database that no server has used yet knows none.
    let id = rows.first().map_or(Ok(indexes.first().map_or(0, |(pepper, _)| i64::from(*pepper))), |row| row.int(0))?;
    let at = indexes.iter().position(|(pepper, _)| i64::from(*pepper) == id);
    let at = at.ok_or_else(|| VaultError::Damaged { what: format!("pepper {id}") })?;
    let (_, index) = indexes.remove(at);
    Ok((index, indexes.into_iter().map(|(_, index)| index).collect()))
}

/// Whether a name stands under one of these. Asked behind the insertion: what was moved from one pepper to another before it
/// is then seen here, and what is moved after it meets it.
pub(super) async fn is_taken(tx: &mut Tx, indexes: &[String]) -> Result<bool, VaultError> {
    if indexes.is_empty() {
        return Ok(false);
    }
    let indexes: Vec<(u16, String)> = indexes.iter().map(|index| (0, index.clone())).collect();
    let (places, values) = any_of(&indexes);
    let sql = format!("SELECT 1 FROM vault_users WHERE username_index IN ({places})");
    Ok(!tx.fetch(&sql, &values).await?.is_empty())
}

/// Placeholders and values of a list in SQL.
pub(super) fn any_of(indexes: &[(u16, String)]) -> (String, Vec<Value>) {
    let places: Vec<String> = (1..=indexes.len()).map(|at| format!("${at}")).collect();
    (places.join(", "), indexes.iter().map(|(_, index)| Value::Text(index.clone())).collect())
}

/// Of the rows that have one of these in that column, the one whose index stands first.
pub(super) fn first<'a>(rows: &'a [Row], column: usize, indexes: &[(u16, String)]) -> Option<&'a Row> {
    let place = |row: &&Row| {
        let held = row.str(column).unwrap_or_default();
        indexes.iter().position(|(_, index)| index == held).unwrap_or(usize::MAX)
    };
    rows.iter().min_by_key(place)
}
