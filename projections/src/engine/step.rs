//! One step of a table, or of several at the same place: a batch of events and the checkpoints in one transaction, so that
//! each event counts exactly once.

use super::batch::{self, Quarantine};
use super::projection::Projection;
use crate::checkpoint::{self, Checkpoint};
use crate::db::{Db, DbError};
use crate::feed::Stored;
use crate::poison;

/// A table that is being kept or built, as its writer remembers it.
pub(crate) struct Progress {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) quarantine: Quarantine,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    Done,
    /// Somebody else wrote to the table, or it is gone: read its checkpoint again.
    Lost,
}

impl Progress {
    pub(crate) async fn of(db: &Db, checkpoint: Checkpoint) -> Result<Self, DbError> {
        let mut tx = db.begin_read().await?;
        let quarantine = poison::of_table(&mut tx, &checkpoint.table_name).await?;
        tx.rollback().await?;
        Ok(Self { checkpoint, quarantine })
    }

    /// Takes in `events`, which follow the checkpoint in the order of the log; none of them is of an unknown type. An
    /// event that the database refuses is found by halving and held back as poison.
    pub(crate) async fn step(
        &mut self,
        db: &Db,
        projection: &dyn Projection,
        events: &[Stored],
    ) -> Result<Stepped, DbError> {
        let mut todo = vec![events];
        while let Some(events) = todo.pop() {
            let quarantined = self.quarantine.clone();
            let refused = match attempt(db, &mut [(self, projection)], events, None).await {
                Ok(Stepped::Done) => continue,
                Ok(Stepped::Lost) => return Ok(Stepped::Lost),
                Err(error) if error.blames_the_data() => error,
                Err(error) => {
                    self.quarantine = quarantined;
                    return Err(error);
                }
            };
            self.quarantine = quarantined;
            if events.len() > 1 {
                let (first, second) = events.split_at(events.len() / 2);
                todo.extend([second, first]);
                continue;
            }
            if attempt(db, &mut [(self, projection)], events, Some(&refused.to_string())).await? == Stepped::Lost {
                return Ok(Stepped::Lost);
            }
        }
        Ok(Stepped::Done)
    }
}

/// Takes `events` into tables that stand at the same place, in one transaction. Answers false, having changed nothing,
/// when one of them cannot go on: then let each take its own step, which finds out why.
pub(crate) async fn together(
    db: &Db,
    tables: &mut [(&mut Progress, &dyn Projection)],
    events: &[Stored],
) -> Result<bool, DbError> {
    let quarantined: Vec<Quarantine> = tables.iter().map(|(progress, _)| progress.quarantine.clone()).collect();
    let failed = match attempt(db, tables, events, None).await {
        Ok(Stepped::Done) => return Ok(true),
        Ok(Stepped::Lost) => None,
        Err(error) => Some(error),
    };
    for ((progress, _), quarantined) in tables.iter_mut().zip(quarantined) {
        progress.quarantine = quarantined;
    }
    match failed {
        Some(error) if error.is_unavailable() => Err(error),
        _ => Ok(false),
    }
}

/// `refused`: hold the events back instead of taking them in.
async fn attempt(
    db: &Db,
    tables: &mut [(&mut Progress, &dyn Projection)],
    events: &[Stored],
    refused: Option<&str>,
) -> Result<Stepped, DbError> {
    let Some(last) = events.last() else { return Ok(Stepped::Done) };
    let names: Vec<String> = tables.iter().map(|(progress, _)| progress.checkpoint.table_name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut tx = db.begin_rebuildable().await?;
    // Locked before anything is read: whoever else believes to be the writer waits here, and then sees that it is not.
    let locked = checkpoint::lock_all(&mut tx, &names).await?;
    let stands = |progress: &Progress| {
        let is_it = |locked: &&Checkpoint| locked.table_name == progress.checkpoint.table_name;
        locked.iter().find(is_it).is_some_and(|locked| locked.cursor == progress.checkpoint.cursor)
    };
    if !tables.iter().all(|(progress, _)| stands(progress)) {
        return Ok(Stepped::Lost);
    }
    for (progress, projection) in &mut *tables {
        let Progress { checkpoint, quarantine } = &mut **progress;
        let table = checkpoint.table_name.as_str();
        match refused {
            None => projection.take_in(&mut tx, table, events, quarantine).await?,
            Some(error) => {
                for stored in events {
                    batch::hold_back(&mut tx, table, stored, error.to_owned(), quarantine).await?;
                }
            }
        }
    }
    checkpoint::advance(&mut tx, &names, last.cursor, last.recorded_at).await?;
    tx.commit().await?;
    for (progress, _) in tables {
        progress.checkpoint.cursor = last.cursor;
        progress.checkpoint.recorded_at = last.recorded_at;
    }
    Ok(Stepped::Done)
}
