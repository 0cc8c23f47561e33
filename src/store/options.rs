//! Limits of the store.

use std::time::Duration;

/// How the store is opened. The defaults fit one node with some hundred requests at a time.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Connections for reading (PostgreSQL: also for projections and the vault); default 10.
    pub connections: u32,
    /// Longest wait for a connection, and SQLite's for another process's lock; default 5 s.
    pub connect_timeout: Duration,
    /// Longest run of one statement on PostgreSQL; default 10 s. An append that takes longer is not available.
    pub statement_timeout: Duration,
    /// How long an append whose connection was lost while committing is asked after; default 5 s.
    pub settle_timeout: Duration,
    /// Connections that append, PostgreSQL only; default 1. A second one halves the batches.
    pub append_lanes: usize,
    /// Appends waiting in all lanes together; default 4096. One more is busy.
    pub append_queue: usize,
    /// Most appends in one transaction; default 256.
    pub append_batch: usize,
    /// How often a command that lost a race is decided anew; default 5.
    pub conflict_retries: u32,
    /// Days of one partition of the grants' events, PostgreSQL only; default 7.
    pub partition_days: u32,
    /// Make the SQLite file when it is missing; default true.
    pub create: bool,
}

/// The most bytes of payload and metadata of one event together.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            connections: 10,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            settle_timeout: Duration::from_secs(5),
            append_lanes: 1,
            append_queue: 4096,
            append_batch: 256,
            conflict_retries: 5,
            partition_days: 7,
            create: true,
        }
    }
}

impl From<&crate::config::StoreSettings> for StoreOptions {
    fn from(settings: &crate::config::StoreSettings) -> Self {
        Self {
            connections: settings.connections,
            connect_timeout: settings.connect_timeout,
            append_lanes: settings.append_lanes,
            append_queue: settings.append_queue,
            append_batch: settings.append_batch,
            conflict_retries: settings.conflict_retries,
            partition_days: settings.partition_days,
            ..Self::default()
        }
    }
}
