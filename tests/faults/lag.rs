//! How long other nodes go on saying "active" after a revocation was acknowledged, and how long they do not know what else
//! has changed: percentiles, with and without write load, with every node healthy and with one that has just been cut off. `tests/run faults -- --only lag --full`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::changes::Change;
use crate::harness::{Client, Server};
use crate::nodes::{Cluster, MAX_STALENESS};
use crate::scenario::{POSTGRES, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "lag",
    fault: "a revocation seen on other nodes, one of them cut off",
    stores: POSTGRES,
    rounds: Rounds { small: 20, full: 500 },
    run: |run| Box::pin(rounds(run)),
};

/// Revocations for each one with a node cut off, and for each other change: those take longer.
const HEALTHY_PER_CUT: usize = 10;
/// What a healthy node may need, in 99 of 100 cases; held against what a run at full size measured.
const HEALTHY_P99: Duration = Duration::from_millis(50);
/// Who writes meanwhile, and the pause of each between two tokens.
const WRITERS: usize = 4;
const WRITERS_PAUSE: Duration = Duration::from_millis(4);
/// Pause between two questions about the same token.
const PAUSE: Duration = Duration::from_millis(1);

async fn rounds(run: Run) -> Report {
    let cluster = Cluster::start(4).await;
    // It asks about tokens of others too, whose clients and users are disabled.
    let service = ["--kind", "machine", "--scope", "profile read", "--resource-server", "true"];
    let client = cluster.known(cluster.nodes[0].client(&service).await).await;
    let mut report = Report { rounds: run.rounds, ..Report::default() };
    for loaded in [false, true] {
        let load = if loaded { Some(Load::start(&cluster, &client)) } else { None };
        let healthy = healthy(&cluster, &client, run.rounds, &mut report).await;
        let rarely = run.rounds.div_ceil(HEALTHY_PER_CUT);
        let (others, cut_off) = cut(&cluster, &client, rarely, &mut report).await;
        let mut changes = Vec::new();
        for change in Change::ALL {
            let mut lags = Lags::default();
            for _ in 0..rarely {
                lags.0.extend(change.seen(&cluster, &client, &mut report).await);
            }
            changes.push((change.name(), lags));
        }
        let load = match load {
            Some(load) => format!("{:.0} tokens/s meanwhile", load.stop().await),
            None => "no load".to_owned(),
        };
        report.notes.push(format!("{load}, all healthy: {healthy}"));
        for (name, lags) in &changes {
            report.notes.push(format!("{load}, {name}: {lags}"));
        }
        if run.full {
            for (name, lags) in changes.iter().map(|(name, lags)| (*name, lags)).chain([("a revocation", &healthy)]) {
                report.check(lags.percentile(99) <= HEALTHY_P99, || format!("{load}, {name}: {lags}"));
            }
        }
        report.notes.push(format!("{load}, one cut off: the others {others}"));
        report.notes.push(format!("{load}, one cut off: itself {cut_off}"));
    }
    report
}

/// Revokes at the first node, and waits for the three others.
async fn healthy(cluster: &Cluster, client: &Client, times: usize, report: &mut Report) -> Lags {
    let mut lags = Lags::default();
    for _ in 0..times {
        let token = active_everywhere(cluster, client).await;
        lags.0.extend(revoked(cluster, client, &token, report).await);
    }
    lags
}

/// The same; the last node is cut off a moment before, so it knows the token and does not hear of its end.
async fn cut(cluster: &Cluster, client: &Client, times: usize, report: &mut Report) -> (Lags, Lags) {
    let (mut others, mut cut_off) = (Lags::default(), Lags::default());
    let last = cluster.proxies.last().expect("proxies");
    for _ in 0..times {
        let token = active_everywhere(cluster, client).await;
        last.cut();
        let mut lags = revoked(cluster, client, &token, report).await;
        cut_off.0.extend(lags.pop());
        others.0.extend(lags);
        last.heal();
        cluster.ready().await;
    }
    (others, cut_off)
}

async fn active_everywhere(cluster: &Cluster, client: &Client) -> String {
    let token = cluster.nodes[0].service_token(client).await;
    for node in &cluster.nodes {
        while !node.is_active(client, &token).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
    token
}

/// From the acknowledgement to the first answer of each other node that does not say "active".
async fn revoked(cluster: &Cluster, client: &Client, token: &str, report: &mut Report) -> Vec<Duration> {
    cluster.nodes[0].revoke_as(client, token).await.expect(200);
    let acknowledged = Instant::now();
    report.acknowledged += 1;
    let seen = join_all(cluster.nodes[1..].iter().map(|node| until_ended(node, client, token, acknowledged))).await;
    for (_, late) in &seen {
        report.check(late.is_none(), || format!("active {late:?} after its revocation was acknowledged"));
    }
    seen.into_iter().map(|(lag, _)| lag).collect()
}

/// The lag, and when the last question was sent that should not have been answered "active" and was.
async fn until_ended(node: &Server, client: &Client, token: &str, from: Instant) -> (Duration, Option<Duration>) {
    let mut late = None;
    loop {
        let sent = from.elapsed();
        let answer = node.post_as(client, "/oauth/introspect", &[("token", token)]).send().await;
        if answer.status != 200 || answer.json()["active"] != true {
            return (from.elapsed(), late);
        }
        if sent >= MAX_STALENESS {
            late = Some(sent);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Default)]
struct Lags(Vec<Duration>);

impl Lags {
    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Lags {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        write!(out, "p50 {:.1} p99 {:.1} max {:.1} ms of {}", at(50), at(99), at(100), self.0.len())
    }
}

/// Tokens issued all the time at two of the nodes.
struct Load {
    issued: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    since: Instant,
}

impl Load {
    fn start(cluster: &Cluster, client: &Client) -> Load {
        let (issued, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..WRITERS).map(|number| {
            let (node, client) = (cluster.nodes[number % 2].clone(), client.clone());
            let (issued, stop) = (Arc::clone(&issued), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    node.service_token(&client).await;
                    issued.fetch_add(1, Relaxed);
                    tokio::time::sleep(WRITERS_PAUSE).await;
                }
            })
        });
        Load { tasks: tasks.collect(), issued, stop, since: Instant::now() }
    }

    /// Answers how many tokens a second it issued.
    async fn stop(self) -> f64 {
        let rate = self.issued.load(Relaxed) as f64 / self.since.elapsed().as_secs_f64();
        self.stop.store(true, Relaxed);
        for task in self.tasks {
            task.await.expect("a writer's end");
        }
        rate
    }
}
