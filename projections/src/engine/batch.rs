//! Taking a batch of events into one table: load the rows that they touch, fold in memory, write what changed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use grantlog_domain::Recorded;

use super::write;
use crate::db::{DbError, Tx, Value};
use crate::feed::Stored;
use crate::poison::{self, Poison};
use crate::table::{FoldError, Table};

/// Aggregates that are held back: type and id.
pub(crate) type Quarantine = HashSet<(String, String)>;

struct Group<T: Table> {
    /// As they stand in the table.
    before: Vec<T::Row>,
    after: Vec<T::Row>,
}

/// Takes in `events`, in their order. What cannot be taken in is recorded as poison in the same transaction, and its
/// aggregate joins `quarantine`. None of the events is of an unknown type.
pub(super) async fn take_in<T: Table>(
    tx: &mut Tx,
    table: &str,
    events: &[Stored],
    quarantine: &mut Quarantine,
) -> Result<(), DbError> {
    let events: Vec<&Stored> =
        events.iter().filter(|event| T::AGGREGATES.contains(&event.aggregate_type.as_str())).collect();
    let mut groups = load_groups::<T>(tx, table, &events).await?;
    for stored in events {
        let outcome = if is_held_back(quarantine, stored) {
            Err("held back: an earlier event of this aggregate could not be taken in".to_owned())
        } else {
            match &stored.event {
                Ok(recorded) => fold_into::<T>(&mut groups, recorded).map_err(|error| error.0),
                Err(fault) => Err(fault.to_string()),
            }
        };
        if let Err(error) = outcome {
            hold_back(tx, table, stored, error, quarantine).await?;
        }
    }
    write_groups::<T>(tx, table, groups).await
}

/// Records an event as poison and quarantines its aggregate.
pub(super) async fn hold_back(
    tx: &mut Tx,
    table: &str,
    stored: &Stored,
    error: String,
    quarantine: &mut Quarantine,
) -> Result<(), DbError> {
    let Stored { aggregate_type, aggregate_id, sequence, recorded_at, .. } = stored;
    if quarantine.insert((aggregate_type.clone(), aggregate_id.clone())) {
        tracing::error!(
            table,
            aggregate_type,
            aggregate_id,
            sequence,
            error,
            "an event cannot be taken in: quarantined"
        );
    }
    let poison = Poison {
        table_name: table.to_owned(),
        aggregate_type: aggregate_type.clone(),
        aggregate_id: aggregate_id.clone(),
        sequence: *sequence,
        error,
        recorded_at: *recorded_at,
    };
    poison::insert(tx, &poison).await
}

fn is_held_back(quarantine: &Quarantine, stored: &Stored) -> bool {
    !quarantine.is_empty() && quarantine.contains(&(stored.aggregate_type.clone(), stored.aggregate_id.clone()))
}

async fn load_groups<T: Table>(
    tx: &mut Tx,
    table: &str,
    events: &[&Stored],
) -> Result<HashMap<String, Group<T>>, DbError> {
    let mut groups: HashMap<String, Group<T>> = HashMap::new();
    let mut missing = Vec::new();
    for recorded in events.iter().filter_map(|stored| stored.event.as_ref().ok()) {
        let Some(name) = T::group(recorded) else { continue };
        if let Entry::Vacant(vacant) = groups.entry(name) {
            if !T::opens(recorded) {
                missing.push(vacant.key().clone());
            }
            vacant.insert(Group { before: Vec::new(), after: Vec::new() });
        }
    }
    for row in write::load::<T>(tx, table, &missing).await? {
        if let Some(group) = groups.get_mut(row.str(0)?) {
            group.before.push(T::read(&row)?);
        }
    }
    for name in &missing {
        if let Some(group) = groups.get_mut(name) {
            group.after.clone_from(&group.before);
        }
    }
    Ok(groups)
}

fn fold_into<T: Table>(groups: &mut HashMap<String, Group<T>>, recorded: &Recorded) -> Result<(), FoldError> {
    let fold = || {
        let Some(group) = T::group(recorded).and_then(|name| groups.get_mut(&name)) else { return Ok(()) };
        // A fold that fails or panics half-way must leave nothing behind.
        let mut rows = group.after.clone();
        T::fold(&mut rows, recorded)?;
        group.after = rows;
        Ok(())
    };
    catch_unwind(AssertUnwindSafe(fold)).unwrap_or_else(|_| Err(FoldError("taking it in panicked".to_owned())))
}

async fn write_groups<T: Table>(tx: &mut Tx, table: &str, groups: HashMap<String, Group<T>>) -> Result<(), DbError> {
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for group in groups.into_values() {
        let keys: Vec<Vec<Value>> = group.before.iter().map(|row| key::<T>(row)).collect();
        for row in &group.after {
            if !group.before.contains(row) {
                changed.push(T::write(row));
            }
        }
        if !keys.is_empty() {
            let kept: HashSet<Vec<Value>> = group.after.iter().map(|row| key::<T>(row)).collect();
            gone.extend(keys.into_iter().filter(|key| !kept.contains(key)));
        }
    }
    // In the order of the key: it is kinder to the index, and two writers cannot wait for each other.
    changed.sort_unstable();
    write::delete::<T>(tx, table, gone).await?;
    write::upsert::<T>(tx, table, changed).await
}

fn key<T: Table>(row: &T::Row) -> Vec<Value> {
    let mut values = T::write(row);
    values.truncate(T::KEY);
    values
}
