//! The eager feed: events as soon as they are visible, each one at least once.
//!
//! PostgreSQL gives positions before it commits, so a position may appear after greater ones. Such gaps are remembered
//! and read again. A gap may be forgotten only when every transaction that could fill it has ended: transaction ids are
//! assigned before positions, so those have ids below one that this reader takes after it found the gap, and they have
//! ended when the oldest running id has passed it. SQLite has one writer and no gaps.
//!
//! A feed that starts reads the log by transaction id, and does not know which positions were given before. What is in
//! flight when it has read to the end, it knows by its transactions: each becomes visible as a whole.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use super::pages::{Entries, Pages, Which};
use super::{Cursor, POSTGRES_COLUMNS, SQLITE_COLUMNS, Stored, stored};
use crate::db::{Db, DbError, Row, Value};
use crate::log::Log;

/// Events of one read.
pub const PAGE: i64 = 2000;
/// Gaps remembered one by one; beyond that neighbours are joined, and what lies between them is read again.
pub const GAPS_MAX: usize = 10_000;

/// Positions that the reader knows already and the feed remembers.
pub const KNOWN_MAX: usize = 100_000;

/// Where the eager feed stands.
#[derive(Debug)]
pub struct Eager {
    /// The greatest position seen.
    last: i64,
    gaps: Vec<Gap>,
    in_flight: InFlight,
    /// Positions of committed events that the reader has already; they are left out.
    known: BTreeSet<i64>,
}

/// Positions below `last` that were not visible yet; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    low: i64,
    high: i64,
    /// Whoever can fill it has a transaction id below this.
    bound: i64,
}

/// What may still come of positions that the start has passed.
#[derive(Debug, Default)]
struct InFlight {
    /// The greatest of them. Later ones are after `last`.
    position: i64,
    missed: Option<Missed>,
    /// Transactions that were running when the start had read the log to its end. Who began later has later positions.
    running: Vec<Running>,
}

/// What became visible while the start read the log, in a part that it had read before: looked for once.
#[derive(Debug)]
struct Missed {
    /// Older transactions had ended at the start.
    txid: i64,
    seen: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    xid: i64,
    /// The same as the log has it.
    txid: i64,
}

/// One read of the feed.
#[derive(Debug)]
pub struct Poll {
    pub events: Vec<Stored>,
    /// Nothing more was visible.
    pub at_end: bool,
}

impl Eager {
    /// Reads everything after `from`, which a table projection has reached, and hands it to `each` in parts: from several
    /// threads and in no order.
    pub(crate) async fn start<F>(log: &Log, from: Cursor, each: F) -> Result<Self, DbError>
    where
        F: Fn(&Entries<'_>) -> Result<(), DbError> + Send + Sync + 'static,
    {
        let mut feed =
            Self { last: from.position, gaps: Vec::new(), in_flight: InFlight::default(), known: BTreeSet::new() };
        // SQLite has one writer: nothing is ever late.
        let oldest = if log.is_postgres() { one(log, OLDEST_TXID).await? } else { i64::MAX };
        let mut pages = Pages::read(log, from, Which::Visible, move |entries| {
            let (mut last, mut seen) = (0, Vec::new());
            for entry in entries.iter() {
                let entry = entry?;
                last = entry.cursor.position.max(last);
                if entry.cursor.txid >= oldest {
                    seen.push(entry.cursor.position);
                }
            }
            each(entries)?;
            Ok((last, seen))
        });
        let mut all_seen = Vec::new();
        while let Some((last, seen)) = pages.next().await? {
            feed.last = feed.last.max(last);
            all_seen.extend(seen);
        }
        if log.is_postgres() {
            // A snapshot lists those that run below one more than the last id that has ended: this one has, so that all
            // older ones are listed. Younger ones are given later positions.
            one(log, OWN_XID).await?;
            let row = |row: &Row| Ok(Running { xid: row.int(0)?, txid: row.int(1)? });
            let running: Result<_, DbError> = log.fetch(RUNNING, &[]).await?.iter().map(row).collect();
            let missed = Some(Missed { txid: oldest, seen: all_seen });
            feed.in_flight = InFlight { position: feed.last, missed, running: running? };
        }
        Ok(feed)
    }

    /// Events at these positions are committed and known to the reader already: they need not be read.
    pub fn leave_out(&mut self, positions: impl IntoIterator<Item = i64>) {
        self.known.extend(positions);
        // Forgetting them only means that they are read again.
        while self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
    }

    /// What has become visible since the last read, at most [`PAGE`] events beyond what filled gaps.
    pub async fn poll(&mut self, log: &Log) -> Result<Poll, DbError> {
        let late = self.late(log).await?;
        let new = self.new_events(log).await?;
        let at_end = (new.len() as i64) < PAGE;
        let positions = self.seen(&new, at_end);
        let mut found = Vec::new();
        let mut last = self.last;
        for position in &positions {
            if *position > last + 1 && log.is_postgres() {
                found.push((last + 1, position - 1));
            }
            last = *position;
        }
        // Taken after the read that found them: only then is it above all who can fill them.
        let bound = if found.is_empty() { 0 } else { one(log, OWN_XID).await? };
        // Nothing can fail from here on; a failure above leaves the feed where it was.
        let mut events = self.settle(late);
        self.last = last;
        self.known = self.known.split_off(&(last + 1));
        self.gaps.extend(found.into_iter().map(|(low, high)| Gap { low, high, bound }));
        join_neighbours(&mut self.gaps, GAPS_MAX);
        events.extend(new);
        Ok(Poll { events, at_end })
    }

    async fn new_events(&self, log: &Log) -> Result<Vec<Stored>, DbError> {
        let known: Vec<i64> = self.known.range(self.last + 1..).copied().collect();
        let rows = if log.is_postgres() {
            let known = Value::IntArray(known.into_iter().map(Some).collect());
            log.fetch(&BY_POSITION, &[self.last.into(), known, PAGE.into()]).await?
        } else {
            let known = format!("{known:?}");
            log.fetch(&SQLITE, &[self.last.into(), known.into(), PAGE.into()]).await?
        };
        stored(log, &rows).await
    }

    /// Positions after `last` that were read or are known, in order; of the known ones only those before the end of a
    /// page that is not the last.
    fn seen(&self, new: &[Stored], at_end: bool) -> Vec<i64> {
        let read_to = new.last().map_or(self.last, |event| event.cursor.position);
        let end = if at_end { i64::MAX } else { read_to };
        let known = self.known.range(self.last + 1..).copied().take_while(|position| *position <= end);
        let mut positions: Vec<i64> = new.iter().map(|event| event.cursor.position).chain(known).collect();
        positions.sort_unstable();
        positions
    }

    /// Open gaps.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// The greatest position seen.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.last
    }

    /// Reads what became visible behind `last`.
    async fn late(&self, log: &Log) -> Result<Late, DbError> {
        let mut late = Late::default();
        let InFlight { position, missed, running } = &self.in_flight;
        if self.gaps.is_empty() && missed.is_none() && running.is_empty() {
            return Ok(late);
        }
        // Before the reads: who has ended by now is visible to them.
        late.oldest = one(log, OLDEST_XID).await?;
        if let Some(missed) = missed {
            let seen = missed.seen.iter().copied().map(Some).collect();
            let values = [missed.txid.into(), (*position).into(), Value::IntArray(seen)];
            late.in_flight = stored(log, &log.fetch(&MISSED, &values).await?).await?;
        }
        if !running.is_empty() {
            let txids = running.iter().map(|running| Some(running.txid)).collect();
            let values = [Value::IntArray(txids), (*position).into()];
            late.in_flight.extend(stored(log, &log.fetch(&OF_TRANSACTIONS, &values).await?).await?);
        }
        if !self.gaps.is_empty() {
            let (low, high) = self.gaps.iter().map(|gap| (Some(gap.low), Some(gap.high))).unzip();
            let rows = log.fetch(&IN_GAPS, &[Value::IntArray(low), Value::IntArray(high)]).await?;
            late.in_gaps = stored(log, &rows).await?;
        }
        Ok(late)
    }

    /// Remembers what was read late, and forgets what nobody can fill any more.
    fn settle(&mut self, late: Late) -> Vec<Stored> {
        let Late { oldest, in_flight, in_gaps } = late;
        self.in_flight.missed = None;
        // Who had ended before the read was seen by it, and whose events are there has ended.
        let seen: HashSet<i64> = in_flight.iter().map(|event| event.cursor.txid).collect();
        self.in_flight.running.retain(|running| running.xid >= oldest && !seen.contains(&running.txid));
        let mut positions: Vec<i64> = in_gaps.iter().map(|event| event.cursor.position).collect();
        positions.extend(self.known.range(..=self.last));
        positions.sort_unstable();
        self.gaps.retain(|gap| oldest < gap.bound);
        self.gaps = without(&self.gaps, &positions);
        let mut events = in_flight;
        events.extend(in_gaps);
        events
    }
}

/// Events that became visible behind others.
#[derive(Debug, Default)]
struct Late {
    /// The oldest transaction id that was running before the reads.
    oldest: i64,
    /// Of transactions that were in flight during the start.
    in_flight: Vec<Stored>,
    in_gaps: Vec<Stored>,
}

/// The gaps that remain when `positions` (ascending) are filled.
fn without(gaps: &[Gap], positions: &[i64]) -> Vec<Gap> {
    let mut remaining = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let from = positions.partition_point(|position| *position < gap.low);
        let to = positions.partition_point(|position| *position <= gap.high);
        let mut low = gap.low;
        for position in &positions[from..to.max(from)] {
            if *position > low {
                remaining.push(Gap { low, high: position - 1, bound: gap.bound });
            }
            low = position + 1;
        }
        if low <= gap.high {
            remaining.push(Gap { low, ..*gap });
        }
    }
    remaining
}

/// Halves the number of gaps until it is within `max`. Reading an event again does no harm; forgetting one would.
fn join_neighbours(gaps: &mut Vec<Gap>, max: usize) {
    while gaps.len() > max {
        gaps.sort_unstable_by_key(|gap| gap.low);
        *gaps = gaps
            .chunks(2)
            .map(|pair| Gap {
                low: pair[0].low,
                high: pair[pair.len() - 1].high,
                bound: pair.iter().map(|gap| gap.bound).max().unwrap_or(i64::MAX),
            })
            .collect();
    }
}

async fn one(db: &Db, sql: &str) -> Result<i64, DbError> {
    let rows = db.fetch(sql, &[]).await?;
    rows.first().ok_or_else(|| DbError::Malformed("no row".to_owned()))?.int(0)
}

/// As transactions have it, without the bias of the log.
const OLDEST_XID: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
const OWN_XID: &str = "SELECT pg_current_xact_id()::text::bigint";
/// Transactions that are running, without and with the bias.
const RUNNING: &str = "SELECT xid::text::bigint, xid::text::bigint + bias FROM log_identity, \
     pg_snapshot_xip(pg_current_snapshot()) AS running (xid)";
/// As the log has it.
const OLDEST_TXID: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + bias FROM log_identity";

static BY_POSITION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {POSTGRES_COLUMNS} FROM events WHERE position > $1 AND position <> ALL ($2) ORDER BY position LIMIT $3"
    )
});
static MISSED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {POSTGRES_COLUMNS} FROM events WHERE txid >= $1 AND position <= $2 \
         AND NOT EXISTS (SELECT FROM unnest($3::bigint[]) AS seen (at) WHERE seen.at = position) \
         ORDER BY txid, position"
    )
});
static OF_TRANSACTIONS: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {POSTGRES_COLUMNS} FROM events WHERE txid = ANY($1) AND position <= $2 ORDER BY txid, position")
});
static IN_GAPS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {POSTGRES_COLUMNS} FROM unnest($1::bigint[], $2::bigint[]) AS gap (low, high) \
         CROSS JOIN LATERAL (SELECT * FROM events WHERE position BETWEEN gap.low AND gap.high) AS event \
         ORDER BY position"
    )
});
static SQLITE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {SQLITE_COLUMNS} FROM events WHERE position > $1 \
         AND position NOT IN (SELECT value FROM json_each($2)) ORDER BY position LIMIT $3"
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    const fn gap(low: i64, high: i64, bound: i64) -> Gap {
        Gap { low, high, bound }
    }

    #[test]
    fn a_filled_position_splits_its_gap() {
        let gaps = [gap(3, 7, 100), gap(9, 9, 101)];
        assert_eq!(without(&gaps, &[5]), [gap(3, 4, 100), gap(6, 7, 100), gap(9, 9, 101)]);
        assert_eq!(without(&gaps, &[3, 7, 9]), [gap(4, 6, 100)]);
        assert_eq!(without(&gaps, &[]), gaps);
    }

    #[test]
    fn joined_gaps_cover_what_they_were() {
        let mut gaps = vec![gap(1, 2, 5), gap(4, 4, 9), gap(8, 9, 7)];
        join_neighbours(&mut gaps, 2);
        assert_eq!(gaps, [gap(1, 4, 9), gap(8, 9, 7)]);
    }
}
