//! The end of SQLite's write-ahead log after a crash: torn, and, to see that the checker notices, cut.
//!
//! What is acknowledged was on disk before (`synchronous=FULL`), so a crash can only tear what was never acknowledged.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use crate::harness::{Site, Store};
use crate::scenario::{Report, Rounds, Run, SQLITE, Scenario};
use crate::world::{Load, SETTINGS};

pub const TORN: Scenario = Scenario {
    name: "sqlite-torn",
    fault: "kill -9, and a torn write at the end of the WAL",
    stores: SQLITE,
    rounds: Rounds { small: 3, full: 50 },
    run: |run| Box::pin(torn(run)),
};

pub const NOTICED: Scenario = Scenario {
    name: "sqlite-cut",
    fault: "acknowledged appends cut off the WAL: the checker must notice",
    stores: SQLITE,
    rounds: Rounds { small: 1, full: 5 },
    run: |run| Box::pin(noticed(run)),
};

async fn torn(run: Run) -> Report {
    let site = Site::new(Store::Sqlite, SETTINGS);
    let file = site.directory().join("grantlog.db-wal");
    let mut load = Load::new(&run, &site, &[]).await;
    for _ in 0..run.rounds {
        let working = load.begin().await;
        // A command that still wrote to the file would have its own, whole frames torn.
        working.operator_ended().await;
        tokio::time::sleep(load.moment(Duration::from_millis(700))).await;
        load.world.server().kill();
        tear(&file, &mut load.rng);
        load.end(working).await;
        load.world.restart().await;
        if !load.verify().await {
            break;
        }
    }
    load.finish().await
}

/// Turned round: it fails when nothing is found.
async fn noticed(run: Run) -> Report {
    let mut report = Report::default();
    for _ in 0..run.rounds {
        let site = Site::new(Store::Sqlite, SETTINGS);
        let mut load = Load::new(&run, &site, &[]).await;
        let file = site.directory().join("grantlog.db-wal");
        let half = loop {
            let working = load.begin().await;
            // A command that outlives the server would be the last to close the file, and take the WAL away.
            working.operator_ended().await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            load.world.server().kill();
            load.end(working).await;
            let wal = Wal::read(&file);
            let frame = FRAME_HEADER + wal.page;
            let kept = (wal.end - HEADER) / frame / 2;
            if kept >= FRAMES_MIN / 2 && kept >= backfilled(&file) {
                break HEADER + kept * frame;
            }
            load.world.restart().await;
        };
        OpenOptions::new().write(true).open(&file).and_then(|wal| wal.set_len(half)).expect("cut");
        load.world.restart().await;
        load.verify().await;
        let found = load.finish().await;
        report.rounds += 1;
        report.acknowledged += found.acknowledged;
        report.checked += found.checked;
        if found.violations.is_empty() {
            report.violations.push("half of the WAL was lost, and nothing was found".to_owned());
        }
    }
    report
}

/// Commits are a few frames each, so half of so many are some of the log. SQLite begins the file anew now and then, and shortly
/// after that it may hold nothing that was acknowledged.
const FRAMES_MIN: u64 = 200;
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// What of a WAL counts: the frames of its present generation whose checksums follow each other
/// (https://sqlite.org/fileformat2.html#walformat).
struct Wal {
    page: u64,
    /// The byte after the last frame that counts.
    end: u64,
}

impl Wal {
    fn read(file: &Path) -> Wal {
        let bytes = fs::read(file).expect("a WAL");
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let big_endian = word(0) & 1 == 1;
        let page = u64::from(word(8));
        let mut sum = checksum(big_endian, (0, 0), &bytes[..24]);
        assert_eq!(sum, (word(24), word(28)), "the WAL's header is whole");
        let mut end = HEADER as usize;
        while end + (FRAME_HEADER + page) as usize <= bytes.len() {
            let body = end + FRAME_HEADER as usize;
            sum = checksum(big_endian, sum, &bytes[end..end + 8]);
            sum = checksum(big_endian, sum, &bytes[body..body + page as usize]);
            let is_of_now = bytes[end + 8..end + 16] == bytes[16..24];
            if !is_of_now || sum != (word(end + 16), word(end + 20)) {
                break;
            }
            end = body + page as usize;
        }
        Wal { page, end: end as u64 }
    }
}

/// How many frames of the WAL a checkpoint may have copied to the database (`nBackfillAttempted`,
/// https://sqlite.org/walformat.html#ckpt). Without one of these the file is malformed, which SQLite itself would notice.
fn backfilled(wal: &Path) -> u64 {
    let index = fs::read(wal.with_extension("db-shm")).expect("the WAL's index");
    u32::from_ne_bytes(index[128..132].try_into().expect("four bytes")).into()
}

fn checksum(big_endian: bool, (mut a, mut b): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().expect("four bytes");
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(&pair[..4])).wrapping_add(b);
        b = b.wrapping_add(word(&pair[4..])).wrapping_add(a);
    }
    (a, b)
}

/// A write that was under way: a part of a frame behind the last whole one, of this generation, with a wrong end.
fn tear(file: &Path, rng: &mut Rng) {
    let wal = Wal::read(file);
    let mut of_now = [0; 8];
    of_now.copy_from_slice(&fs::read(file).expect("a WAL")[16..24]);
    let length = rng.usize(1..(FRAME_HEADER + wal.page) as usize);
    let mut part: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    // The page number and the size of the database after a commit, then the generation: it looks right up to here.
    for (at, bytes) in [(0, &[0, 0, 0, 1][..]), (4, &[0, 0, 0, 1][..]), (8, &of_now[..])] {
        if length >= at + bytes.len() {
            part[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
    let mut file = OpenOptions::new().write(true).open(file).expect("the WAL opens");
    file.seek(SeekFrom::Start(wal.end)).expect("its end");
    file.write_all(&part).expect("written");
}
