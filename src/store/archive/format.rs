//! The file of an archived partition: what stands in it, in which order.
//!
//! Zstandard frames one behind the other, so `zstd -dc FILE` gives its text: one JSON object a line. The first frame holds
//! the header, each further one up to [`CHUNK_EVENTS`] events in the order of grant and sequence and behind them the
//! checksum of their lines, the last one the trailer. A skippable frame with the SHA-256 of everything before it ends the
//! file, so a changed byte is found wherever it is.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};

/// The version that this binary writes, and the only one it reads.
pub const FORMAT: u32 = 1;
/// Events of one frame.
pub const CHUNK_EVENTS: u64 = 10_000;
/// Longest line, in bytes: an event has at most 64 KiB, and its JSON is written as a text in JSON.
pub const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Compression level of Zstandard: its default.
pub(super) const LEVEL: i32 = 3;
/// How a skippable frame begins (RFC 8878 3.1.2), with the length of what is in it.
pub(super) const SEAL_HEAD: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];
/// Bytes of the frame that ends a file.
pub(super) const SEAL_BYTES: u64 = 40;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Header(Header),
    Event(ArchivedEvent),
    Chunk(Chunk),
    Trailer(Trailer),
}

/// What the file is, and of which log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    /// Name and version of the program that wrote it.
    pub program: String,
    pub log: LogIdentity,
    pub aggregate_type: String,
    pub partition: String,
    /// Ids of grants: the first that may be in it (absent: from the beginning), and the first that may not.
    pub id_from: Option<String>,
    pub id_to: String,
    /// When it was written, RFC 3339.
    pub written_at: String,
    /// What the partition held.
    pub totals: Totals,
}

/// Which log: the cluster that gave the transaction ids, what was added to them, and the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    pub system_identifier: i64,
    pub bias: i64,
    pub database: String,
}

/// Counts and places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub events: u64,
    pub grants: u64,
    pub first_txid: i64,
    pub last_txid: i64,
    pub first_position: i64,
    pub last_position: i64,
}

/// An event exactly as it was stored; payload and metadata are the texts of their columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedEvent {
    pub txid: i64,
    pub position: i64,
    /// RFC 3339 in UTC, with microseconds.
    pub recorded_at: String,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub metadata: String,
    /// Its code (docs/decisions/0016); files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// Behind the events of a frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) events: u64,
    /// Of the lines of the events, their line ends included; in hex.
    pub(super) sha256: String,
}

/// Behind all events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    pub totals: Totals,
    /// Unix seconds: from when on nothing in it was of any use.
    pub over_since: i64,
    /// Of the lines of all events; in hex.
    pub events_sha256: String,
}

impl Totals {
    /// Counts one more event; events come in the order of grant and sequence.
    pub(super) fn add(&mut self, event: &ArchivedEvent) {
        let is_first = self.events == 0;
        self.events += 1;
        self.grants += u64::from(event.sequence == 1);
        self.last_txid = self.last_txid.max(event.txid);
        self.last_position = self.last_position.max(event.position);
        self.first_txid = if is_first { event.txid } else { self.first_txid.min(event.txid) };
        self.first_position = if is_first { event.position } else { self.first_position.min(event.position) };
    }
}

/// SHA-256 of what was handed to it.
#[derive(Clone)]
pub(super) struct Sha256(Context);

impl Sha256 {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Digest {
        self.0.finish()
    }

    pub(super) fn hex(self) -> String {
        self.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
