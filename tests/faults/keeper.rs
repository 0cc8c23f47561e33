//! The node that keeps the table projections is killed, frozen or cut off: another one goes on, and nobody had to say who.

use std::collections::HashSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Server, Site, poll};
use crate::nodes::Cluster;
use crate::scenario::{POSTGRES, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "keeper",
    fault: "the keeper of the projections killed, frozen, cut off",
    stores: POSTGRES,
    rounds: Rounds { small: 5, full: 40 },
    run: |run| Box::pin(rounds(run)),
};

/// "Within seconds", at full size.
const SOON: f64 = 10.0;
/// The same for one connection of a node that lives: nobody can know that it is dead before a statement has had its 10 s.
const SOON_OF_ONE: f64 = 15.0;
/// Longest that is waited for it: other things run on the machine.
const TAKEOVER_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    /// SIGSTOP: its connections stay, and nobody answers on them.
    Frozen,
    Refused,
    Swallowed,
    /// One of its connections is swallowed for ever in the middle of a transaction; everything else passes.
    OneSwallowed,
}

const FAULTS: [Fault; 5] = [Fault::Killed, Fault::Frozen, Fault::Refused, Fault::Swallowed, Fault::OneSwallowed];

async fn rounds(run: Run) -> Report {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.known(cluster.nodes[0].service_client().await).await;
    let mut report = Report { rounds: run.rounds, ..Report::default() };
    let mut taken: [Vec<f64>; 5] = Default::default();
    for round in 0..run.rounds {
        let number = round % FAULTS.len();
        let keeping = keeping(&cluster).await;
        let other = cluster.nodes[1 - keeping].clone();
        // Something to fold while the keeper dies.
        let load = tokio::spawn(issue(other.clone(), client.clone()));
        let began = Instant::now();
        begin(FAULTS[number], &cluster, keeping).await;
        let before = Keeping::now(&cluster.site).await.end;
        poll::until_at_most(
            TAKEOVER_MAX,
            "another node keeps every projection, and takes in what is new",
            async || {
                let now = Keeping::now(&cluster.site).await;
                let by_one = |node: &Server| now.by == HashSet::from([node.process_id()]);
                // Who has lost one connection may go on over another.
                let taken =
                    by_one(&other) || matches!(FAULTS[number], Fault::OneSwallowed) && cluster.nodes.iter().any(by_one);
                (taken && now.least_far > before).then_some(())
            },
        )
        .await;
        taken[number].push(began.elapsed().as_secs_f64());
        load.abort();
        end(FAULTS[number], &mut cluster, keeping).await;
        cluster.ready().await;
        let output = cluster.site.run(&["projections", "check"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        report.check(output.status.success(), || format!("after {:?}: {said}", FAULTS[number]));
        report.acknowledged += 1;
    }
    for (fault, taken) in FAULTS.iter().zip(taken).filter(|(_, taken)| !taken.is_empty()) {
        let most = taken.iter().copied().fold(0.0, f64::max);
        let mean = taken.iter().sum::<f64>() / taken.len() as f64;
        if run.full {
            let soon = if matches!(fault, Fault::OneSwallowed) { SOON_OF_ONE } else { SOON };
            report.check(most <= soon, || format!("{fault:?}: taken over after {most:.1} s"));
        }
        report.notes.push(format!("{fault:?}: taken over in {mean:.1} s, at most {most:.1} s, of {}", taken.len()));
    }
    report
}

async fn begin(fault: Fault, cluster: &Cluster, keeping: usize) {
    match fault {
        Fault::Killed => cluster.nodes[keeping].kill(),
        Fault::Frozen => signal("-STOP", &cluster.nodes[keeping]),
        Fault::Refused => cluster.proxies[keeping].cut(),
        Fault::Swallowed => cluster.proxies[keeping].stall(),
        Fault::OneSwallowed => cluster.proxies[keeping].swallow_a_commit().await,
    }
}

async fn end(fault: Fault, cluster: &mut Cluster, keeping: usize) {
    match fault {
        Fault::Killed => {
            cluster.nodes.remove(keeping);
            cluster.proxies.remove(keeping);
            cluster.add().await;
        }
        Fault::Frozen => signal("-CONT", &cluster.nodes[keeping]),
        Fault::Refused | Fault::Swallowed => cluster.proxies[keeping].heal(),
        // It does not heal.
        Fault::OneSwallowed => {}
    }
}

fn signal(signal: &str, server: &Server) {
    let sent = Command::new("kill").args([signal, &server.process_id().to_string()]).status();
    assert!(sent.expect("kill runs").success(), "kill {signal}");
}

async fn issue(server: Server, client: crate::harness::Client) {
    loop {
        server.service_token(&client).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The node that keeps all projections, once there is one.
async fn keeping(cluster: &Cluster) -> usize {
    poll::until("one node keeps every projection", async || {
        let by = Keeping::now(&cluster.site).await.by;
        cluster.nodes.iter().position(|node| by == HashSet::from([node.process_id()]))
    })
    .await
}

/// What `grantlog projections status` says of the tables that answer.
struct Keeping {
    /// The process ids that keep them; 0 where nobody does.
    by: HashSet<u32>,
    /// Where the one that is least far stands.
    least_far: i64,
    /// Where the log ends.
    end: i64,
}

impl Keeping {
    async fn now(site: &Site) -> Keeping {
        let status = site.run_json(&["projections", "status"]).await;
        let tables = status["tables"].as_array().expect("tables").iter().filter(|table| table["active"] == true);
        let keeper = |table: &Value| table["kept_by"].as_str()?.split('@').next()?.parse().ok();
        Keeping {
            by: tables.clone().map(|table| keeper(table).unwrap_or_default()).collect(),
            least_far: tables.filter_map(|table| table["position"].as_i64()).min().unwrap_or_default(),
            end: status["end"].as_i64().expect("the log's end"),
        }
    }
}
