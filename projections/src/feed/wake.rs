//! Waking readers when something was appended. Only a hint: readers also look by themselves, on a timer.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Acquire as _, Connection as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::CHANNEL;
use crate::db::Db;

/// Pause before a lost listening connection is opened again.
const RECONNECT: Duration = Duration::from_secs(1);
/// After so long without an announcement the connection is asked for a sign of life.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Longest wait for it, and for a new connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Wakes the readers of this process: on PostgreSQL when any node appends, on SQLite when [`Wake::signal`] is called.
/// Clones share it; listening ends with the last one.
#[derive(Clone, Debug)]
pub struct Wake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    signal: Arc<watch::Sender<()>>,
    listening: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// One reader's end.
#[derive(Debug)]
pub struct Waking(watch::Receiver<()>);

impl Wake {
    /// Starts to listen, on a connection of its own. A database that is down delays nothing.
    #[must_use]
    pub fn new(db: &Db) -> Self {
        let signal = Arc::new(watch::Sender::new(()));
        let listening = match db {
            Db::Postgres(pool) => {
                let (pool, signal) = (pool.clone(), Arc::clone(&signal));
                Some(tokio::spawn(async move {
                    loop {
                        if let Err(error) = listen(&pool, &signal).await {
                            tracing::debug!(%error, "not listening for appends, polling only");
                        }
                        tokio::time::sleep(RECONNECT).await;
                    }
                }))
            }
            Db::Sqlite { .. } => None,
        };
        Self(Arc::new(Inner { signal, listening }))
    }

    /// Wakes every reader of this process.
    pub fn signal(&self) {
        self.0.signal.send_replace(());
    }

    #[must_use]
    pub fn subscribe(&self) -> Waking {
        Waking(self.0.signal.subscribe())
    }
}

impl Waking {
    /// Returns when something may have been appended since the last call, at the latest after `longest`.
    pub async fn wait(&mut self, longest: Duration) {
        match tokio::time::timeout(longest, self.0.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            // Nobody is left to signal: only the timer remains.
            Ok(Err(_)) => tokio::time::sleep(longest).await,
        }
    }
}

async fn listen(pool: &sqlx::PgPool, signal: &watch::Sender<()>) -> Result<(), sqlx::Error> {
    let options = (*pool.connect_options()).clone();
    // A listener keeps its connection for ever; it must not take one of those that requests wait for.
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(SIGN_OF_LIFE).connect_with(options).await?;
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(CHANNEL).await?;
    // What was announced before is lost.
    signal.send_replace(());
    loop {
        match tokio::time::timeout(QUIET_MAX, listener.try_recv()).await {
            // `None`: it was lost and opened again, and what was announced meanwhile is lost.
            Ok(announced) => drop(announced?),
            // A dead connection is as quiet as an idle cluster.
            Err(_) => sign_of_life(&mut listener).await?,
        }
        signal.send_replace(());
    }
}

async fn sign_of_life(listener: &mut PgListener) -> Result<(), sqlx::Error> {
    let ping = async { listener.acquire().await?.ping().await };
    tokio::time::timeout(SIGN_OF_LIFE, ping).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
