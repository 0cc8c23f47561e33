//! One step of a table: a batch of events and the checkpoint in one transaction, so that each event counts exactly once.

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
            let (Some(last), quarantined) = (events.last(), self.quarantine.clone()) else { continue };
            let refused = match self.attempt(db, projection, events, None).await {
                Ok(Stepped::Done) => {
                    self.checkpoint.cursor = last.cursor;
                    self.checkpoint.recorded_at = last.recorded_at;
                    continue;
                }
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
            if self.attempt(db, projection, events, Some(refused.to_string())).await? == Stepped::Lost {
                return Ok(Stepped::Lost);
            }
            self.checkpoint.cursor = last.cursor;
            self.checkpoint.recorded_at = last.recorded_at;
        }
        Ok(Stepped::Done)
    }

    /// `refused`: hold the events back instead of taking them in.
    async fn attempt(
        &mut self,
        db: &Db,
        projection: &dyn Projection,
        events: &[Stored],
        refused: Option<String>,
    ) -> Result<Stepped, DbError> {
        let Some(last) = events.last() else { return Ok(Stepped::Done) };
        let mut tx = db.begin_rebuildable().await?;
        let table = self.checkpoint.table_name.as_str();
        // Locked before anything is read: whoever else believes to be the writer waits here, and then sees that it is not.
        match checkpoint::lock(&mut tx, table).await? {
            Some(locked) if locked.cursor == self.checkpoint.cursor => {}
            _ => return Ok(Stepped::Lost),
        }
        match refused {
            None => projection.take_in(&mut tx, table, events, &mut self.quarantine).await?,
            Some(error) => {
                for stored in events {
                    batch::hold_back(&mut tx, table, stored, error.clone(), &mut self.quarantine).await?;
                }
            }
        }
        checkpoint::advance(&mut tx, table, last.cursor, last.recorded_at).await?;
        tx.commit().await?;
        Ok(Stepped::Done)
    }
}
