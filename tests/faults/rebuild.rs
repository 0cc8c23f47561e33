//! Every read model is built anew while the flows work, and the first build is killed in its middle.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::{Server, Site, Store, poll};
use crate::probe::{Probe, Times};
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};
use crate::world::{Load, SETTINGS};
use crate::{log, rounds};

#[path = "../../benches/size/fill.rs"]
mod fill;

pub const SCENARIO: Scenario = Scenario {
    name: "rebuild",
    fault: "every read model rebuilt, the first build killed",
    stores: BOTH,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(scenario(run)),
};

/// Events in the log beforehand, for each round: so many that a build can be caught in its middle.
const EVENTS: u64 = 10_000;
/// How long introspection is watched without a rebuild.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Which one is killed.
const KILLED: [&str; 3] = ["tokens", "grants", "activity"];
/// Attempts to kill a build in its middle: one may have come to its end before.
const ATTEMPTS: usize = 10;

async fn scenario(run: Run) -> Report {
    let site = site_with_a_log(&run).await;
    let (mut before, mut during) = (Times::default(), Times::default());
    let mut report = rounds::online(&run, &site, &[], async |load, _| {
        let probe = Probe::start(load).await;
        tokio::time::sleep(WINDOW).await;
        before.add(probe.take());
        let killed = KILLED[load.rng.usize(..KILLED.len())];
        rebuilt(load, killed).await;
        during.add(probe.take());
        let wrong = probe.end().await;
        load.report.check(wrong.is_none(), || format!("while read models were rebuilt: {wrong:?}"));
    })
    .await;
    if run.full {
        during.check_against(&before, &mut report);
    }
    report.notes.push(format!("introspection beside the flows: {before}; with rebuilds: {during}"));
    report
}

/// A site whose log is long enough, and its tables up to date.
pub async fn site_with_a_log(run: &Run) -> Site {
    let site = Site::new(run.store, SETTINGS);
    let server = Server::on(&site, &[]).await;
    let client = server.service_client().await.id.parse().expect("a client id");
    server.stop();
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs().cast_signed();
    let events = EVENTS * run.rounds as u64;
    let log_of_now = fill::Log { client, events, living: events, now };
    fill::fill(&database(&site), &site.keys(), log_of_now).await;
    // The tables take it in before the flows begin.
    let server = Server::on(&site, &[]).await;
    log::caught_up(&site).await;
    server.stop();
    site
}

/// The site's database, from anywhere, as its owner.
pub fn database(site: &Site) -> String {
    match site.store() {
        Store::Sqlite => format!("sqlite:{}", site.directory().join("grantlog.db").display()),
        Store::Postgres => site.owner().to_owned(),
    }
}

/// One build is killed; then all are built, and that one goes on where it was.
async fn rebuilt(load: &mut Load, killed: &str) {
    let site = load.world.site.clone();
    let (table, position) = killed_in_its_middle(&site, killed).await;
    let output = site.run(&["projections", "rebuild", "--json"]).await;
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    load.report.check(output.status.success(), || format!("projections rebuild: {said}"));
    load.report.notes.extend(said.lines().filter(|line| line.contains(" left")).map(str::to_owned));
    let rebuilt: Vec<Value> = serde_json::from_str(&told).unwrap_or_default();
    for one in &rebuilt {
        load.report.check(one["equal"] == true, || format!("the old and the new one are not equal: {one}"));
    }
    let resumed = rebuilt.iter().find(|one| one["name"] == killed).unwrap_or(&Value::Null);
    load.report.check(resumed["resumed"] == true && resumed["table"] == table.as_str(), || {
        format!("the build that was killed at {position} of {table} was not gone on with: {resumed}")
    });
}

/// Begins to rebuild, and ends the process between the beginning and the end. Answers the table that was being filled, and
/// how far it was.
async fn killed_in_its_middle(site: &Site, name: &str) -> (String, i64) {
    for _ in 0..ATTEMPTS {
        let mut command = site.command();
        command.args(["projections", "rebuild", name]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rebuild = command.spawn().expect("the binary runs");
        poll::until("a build is under way, or has ended", async || {
            let ended = rebuild.try_wait().expect("a child").is_some();
            (ended || half_built(site, name).await.is_some()).then_some(())
        })
        .await;
        // Refused when it has ended.
        let _ = rebuild.kill();
        rebuild.wait().expect("a child");
        if let Some(found) = half_built(site, name).await {
            return found;
        }
    }
    panic!("{ATTEMPTS} builds of {name} ended before they could be killed");
}

async fn half_built(site: &Site, name: &str) -> Option<(String, i64)> {
    let status = site.run_json(&["projections", "status"]).await;
    let half = |table: &&Value| table["name"] == name && table["active"] == false && table["position"] != 0;
    let found = status["tables"].as_array()?.iter().find(half)?.clone();
    Some((found["table"].as_str()?.to_owned(), found["position"].as_i64()?))
}
