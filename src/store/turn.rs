//! One process at a time makes an SQLite file or its tables. SQLite's own locks are not for that: one process changes the mode
//! of a new file, or makes the next table, between two looks of another, and that one fails with the driver's words.

use std::fs::{File, TryLockError};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Pause between two looks whether it is our turn.
const PAUSE: Duration = Duration::from_millis(20);

/// Held while it is this process's turn; the system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Turn(Option<File>);

impl Turn {
    /// Waits for the turn at `file`, for at most `longest`; `None` when another process has it for longer. The lock is on the
    /// folder: a file of its own would stay behind, and on the database's SQLite has locks. Where the system has no
    /// such locks nobody waits.
    pub(super) async fn take(file: &Path, longest: Duration) -> Option<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(folder) = File::open(folder) else { return Some(Self(None)) };
        let began = Instant::now();
        let mut told = false;
        loop {
            match folder.try_lock() {
                Ok(()) => return Some(Self(Some(folder))),
                Err(TryLockError::Error(_)) => return Some(Self(None)),
                Err(TryLockError::WouldBlock) if began.elapsed() >= longest => return None,
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!("another process brings the database up to date; waiting for it");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take() {
            let _ = folder.unlock();
        }
    }
}

/// Whether the file is in the mode that every connection puts it into (<https://www.sqlite.org/fileformat.html>, 1.3.3): then
/// opening changes nothing.
pub(super) fn is_settled(file: &Path) -> bool {
    let mut header = [0; 20];
    File::open(file).and_then(|mut file| file.read_exact(&mut header)).is_ok() && header[18..] == [2, 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_has_the_turn() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.db");
        let first = Turn::take(&file, Duration::ZERO).await.expect("nobody else is here");
        assert!(Turn::take(&file, Duration::ZERO).await.is_none());
        drop(first);
        assert!(Turn::take(&file, Duration::ZERO).await.is_some());
        assert!(!is_settled(&file));
    }
}
