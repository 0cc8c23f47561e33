//! The log in bulk: read page by page, decoded in other threads, and handed over in its order. For building read models.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Cursor, Entry, POSTGRES_BULK, SQLITE_COLUMNS};
use crate::db::{Block, DbError, Scan};
use crate::log::{Keys, Log};

/// Events of one statement. A snapshot is held no longer than one of them takes.
const PAGE: usize = 16_384;
/// Blocks that are being worked on or wait to be taken.
const AHEAD: usize = 2;

/// Which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those of the ordered feed, complete behind each of them, and in their places those that archived partitions left.
    SettledAndBase,
    /// All that are visible; earlier ones may appear later.
    Visible,
}

/// Work on one block, under way.
type Task<T> = JoinHandle<Result<T, DbError>>;

/// What was made of the log, block by block, in the order of the log.
#[derive(Debug)]
pub(crate) struct Pages<T>(mpsc::Receiver<Result<Task<T>, DbError>>);

impl<T: Send + 'static> Pages<T> {
    /// Reads from behind `from` to the end as it then is. `work` runs in other threads and for several blocks at a time.
    /// Dropping the answer ends it.
    pub(crate) fn read<F>(log: &Log, from: Cursor, which: Which, work: F) -> Self
    where
        F: Fn(&Entries<'_>) -> Result<T, DbError> + Send + Sync + 'static,
    {
        let (results, received) = mpsc::channel(AHEAD);
        let (log, work) = (log.clone(), Arc::new(work));
        tokio::spawn(async move {
            let to = Output { results: &results, work };
            if let Err(error) = to.read_all(&log, from, which).await {
                // Who has given up does not want to know.
                let _ = results.send(Err(error)).await;
            }
        });
        Self(received)
    }

    /// The next result; `None` at the end of the log.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, DbError> {
        let Some(task) = self.0.recv().await else { return Ok(None) };
        let worked = task?.await.map_err(|_| DbError::Malformed("decoding the log panicked".to_owned()))?;
        worked.map(Some)
    }
}

/// Some events that follow each other in the log.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    block: &'a Block,
    postgres: bool,
    keys: &'a Keys,
}

impl Entries<'_> {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Result<Entry<'_>, DbError>> {
        self.block.rows().map(|row| Entry::read(row, self.postgres, self.keys))
    }
}

struct Output<'a, T, F> {
    results: &'a mpsc::Sender<Result<Task<T>, DbError>>,
    work: Arc<F>,
}

impl<T, F> Output<'_, T, F>
where
    T: Send + 'static,
    F: Fn(&Entries<'_>) -> Result<T, DbError> + Send + Sync + 'static,
{
    async fn read_all(&self, log: &Log, mut from: Cursor, which: Which) -> Result<(), DbError> {
        let keys = log.shared_keys()?;
        let (mut scan, postgres) = (Scan::open(log).await?, log.is_postgres());
        loop {
            let (blocks, received) = mpsc::channel(1);
            let send = async {
                let blocks = blocks;
                scan.send(page_after(from, which, postgres), &blocks).await
            };
            let (sent, forwarded) = tokio::join!(send, self.forward(received, postgres, &keys));
            sent?;
            let (count, last) = forwarded?;
            match last {
                Some(last) if count >= PAGE => from = last,
                _ => return Ok(()),
            }
        }
    }

    /// Gives every block to a thread. Answers how many events there were, and where the last one stands.
    async fn forward(
        &self,
        mut blocks: mpsc::Receiver<Block>,
        postgres: bool,
        keys: &Arc<Keys>,
    ) -> Result<(usize, Option<Cursor>), DbError> {
        let (mut count, mut last) = (0, None);
        while let Some(block) = blocks.recv().await {
            count += block.len();
            last = Entries { block: &block, postgres, keys }.iter().next_back().transpose()?.map(|entry| entry.cursor);
            let (work, keys) = (Arc::clone(&self.work), Arc::clone(keys));
            let task = tokio::task::spawn_blocking(move || work(&Entries { block: &block, postgres, keys: &keys }));
            if self.results.send(Ok(task)).await.is_err() {
                break;
            }
        }
        Ok((count, last))
    }
}

fn page_after(cursor: Cursor, which: Which, postgres: bool) -> String {
    let Cursor { txid, position } = cursor;
    if !postgres {
        return format!(
            "SELECT {SQLITE_COLUMNS} FROM events WHERE position > {position} ORDER BY position LIMIT {PAGE}"
        );
    }
    let rest = format!("(txid, position) > ({txid}, {position}) ORDER BY txid, position LIMIT {PAGE}");
    match which {
        Which::Visible => format!("SELECT {POSTGRES_BULK} FROM events WHERE {rest}"),
        // One statement, so one snapshot: what leaves the log meanwhile is seen in one of the two, perhaps in both.
        Which::SettledAndBase => format!(
            "SELECT {POSTGRES_BULK} FROM ((SELECT {POSTGRES_BULK} FROM events WHERE \
             txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT bias FROM log_identity) AND {rest}) \
             UNION ALL (SELECT {POSTGRES_BULK} FROM events_base WHERE {rest})) AS event \
             ORDER BY txid, position LIMIT {PAGE}"
        ),
    }
}
