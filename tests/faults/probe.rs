//! One client that asks about one token all the time, beside the flows: whether each answer is right, and how long it takes.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::scenario::Report;
use crate::world::Load;

/// Between two questions.
const BREATH: Duration = Duration::from_millis(2);

pub struct Probe {
    times: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Option<String>>,
}

impl Probe {
    /// Asks about a token that nobody ends.
    pub async fn start(load: &mut Load) -> Probe {
        let (server, client, token) = (load.world.server(), load.world.service.clone(), load.token().await);
        let (times, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noted, stopped) = (Arc::clone(&times), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            while !stopped.load(SeqCst) {
                let asked = Instant::now();
                let answer = server.post_as(&client, "/oauth/introspect", &[("token", &token)]).send().await;
                noted.lock().expect("not poisoned").push(asked.elapsed());
                if answer.status != 200 || answer.json()["active"] != true {
                    return Some(answer.to_string());
                }
                tokio::time::sleep(BREATH).await;
            }
            None
        });
        Probe { times, stop, task }
    }

    /// The times of the answers since this was asked for last.
    pub fn take(&self) -> Times {
        Times(std::mem::take(&mut self.times.lock().expect("not poisoned")))
    }

    /// Answers the first answer that was wrong, if one was.
    pub async fn end(self) -> Option<String> {
        self.stop.store(true, SeqCst);
        self.task.await.expect("the probe does not panic")
    }
}

#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, other: Times) {
        self.0.extend(other.0);
    }
}

impl Times {
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }

    /// Holds the 99th percentile against twice that of `before`: at full size, where there are enough of both.
    pub fn check_against(&self, before: &Times, report: &mut Report) {
        let (p99, least) = (self.percentile(99), before.percentile(99));
        report
            .check(p99 <= 2 * least, || format!("introspection took {p99:?} at the 99th percentile, {least:?} before"));
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99] = [50, 99].map(|percent| self.percentile(percent).as_secs_f64() * 1000.0);
        write!(out, "p50 {p50:.1} ms, p99 {p99:.1} ms of {}", self.0.len())
    }
}
