//! `grantlog events verify`: whether each event was decided, as its code says (docs/decisions/0016).

use grantlog_projections::db::{DbError, Row};
use grantlog_projections::mac::{Content, Origin, Verdict};
use serde::Serialize;

use super::opened::Opened;
use super::{CliError, output};

/// Events of one read.
const PAGE_ROWS: i64 = 5000;
/// Most events that are named; all are counted.
const NAMED_MAX: usize = 1000;

/// An event that is not believed.
#[derive(Debug, Serialize)]
struct Refused {
    position: i64,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    reason: String,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Found {
    /// Events that their appenders gave a code.
    decided: u64,
    /// Events that were there before, and got theirs when the log was put under the pepper.
    attested: u64,
    refused: u64,
    /// Of those the first ones.
    events: Vec<Refused>,
}

pub(super) async fn run(opened: &Opened, json: bool) -> Result<(), CliError> {
    let mut found = Found::default();
    let tables: &[&str] = if opened.db().is_postgres() { &["events", "events_base"] } else { &["events"] };
    for table in tables {
        verify(opened, table, &mut found).await?;
    }
    if json {
        output::json(&found)?;
    } else {
        for Refused { position, aggregate_type, aggregate_id, sequence, event_type, reason } in &found.events {
            let event =
                format!("{position}  {event_type}  {aggregate_type} {aggregate_id}  event {sequence}: {reason}");
            output::line(&output::printable(&event))?;
        }
        let Found { decided, attested, .. } = found;
        output::line(&format!("{decided} events decided, {attested} taken for true when the log got its codes"))?;
    }
    match found.refused {
        0 => Ok(()),
        refused => Err(CliError::Failed(format!(
            "{refused} events were written into the database by somebody else; what they belong to counts as ended"
        ))),
    }
}

async fn verify(opened: &Opened, table: &str, found: &mut Found) -> Result<(), CliError> {
    let sql = format!(
        "SELECT position, sequence, aggregate_type, aggregate_id, event_type, event_version, CAST(payload AS text), \
         CAST(metadata AS text), mac FROM {table} WHERE position > $1 ORDER BY position LIMIT {PAGE_ROWS}"
    );
    let end = opened.db().fetch(&format!("SELECT COALESCE(MAX(position), 0) FROM {table}"), &[]).await?;
    let end = end.first().map_or(Ok(0), |row| row.int(0))?;
    let bar = output::progress("verifying");
    bar.set_length(u64::try_from(end).unwrap_or(0));
    let mut after = i64::MIN;
    loop {
        let rows = opened.db().fetch(&sql, &[after.into()]).await?;
        let Some(last) = rows.last() else { break };
        after = last.int(0)?;
        rows.iter().try_for_each(|row| look_at(opened, row, found))?;
        bar.set_position(u64::try_from(after).unwrap_or(0));
    }
    bar.finish_and_clear();
    Ok(())
}

fn look_at(opened: &Opened, row: &Row, found: &mut Found) -> Result<(), CliError> {
    let reason = match content(row) {
        Ok((content, mac)) => match opened.log().keys()?.verify(&content, mac) {
            Verdict::Genuine(Origin::Decided) => {
                found.decided += 1;
                return Ok(());
            }
            Verdict::Genuine(Origin::Attested) => {
                found.attested += 1;
                return Ok(());
            }
            Verdict::Forged => "its code is missing or wrong".to_owned(),
            Verdict::UnknownKey(id) => format!("its code is under pepper {id}, which is not here"),
        },
        Err(error) => error.to_string(),
    };
    found.refused += 1;
    if found.events.len() < NAMED_MAX {
        let text = |index| row.text(index).unwrap_or_default();
        found.events.push(Refused {
            position: row.int(0)?,
            sequence: row.int(1)?,
            aggregate_type: text(2),
            aggregate_id: text(3),
            event_type: text(4),
            reason,
        });
    }
    Ok(())
}

fn content(row: &Row) -> Result<(Content<'_>, Option<&str>), DbError> {
    let content = Content {
        sequence: row.int(1)?,
        aggregate_type: row.str(2)?,
        aggregate_id: row.str(3)?,
        event_type: row.str(4)?,
        event_version: row.str(5)?,
        payload: row.str(6)?,
        metadata: row.str(7)?,
    };
    Ok((content, row.opt_str(8)?))
}
