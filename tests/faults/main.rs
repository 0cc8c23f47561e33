//! What was acknowledged holds, whatever happens to the server, its database, its disk or its clock.
//!
//! `tests/run faults` runs every scenario at a small size, `tests/run faults -- --full` at full size; `--help` names the
//! rest. A model keeps what each client was told; during and after every fault the server is asked, the log is read, and
//! the first answer or state that the model does not allow fails the run. `docs/reliability.md` has the results.

mod backup;
mod changes;
mod clock;
mod cluster;
mod disk;
mod flow;
mod foreign;
#[path = "../e2e/harness/mod.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "the cases of the end-to-end tests use the rest")]
mod harness;
mod keeper;
mod kill;
mod lag;
mod log;
mod model;
mod nodes;
mod poison;
mod postgres;
mod probe;
mod proxy;
mod queue;
mod rebuild;
mod release;
mod rounds;
mod scenario;
mod sqlite;
mod strace;
mod wal;
mod world;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use futures::FutureExt as _;
use harness::{Store, suite::RUNTIME};
use scenario::{Report, Run, Scenario};

/// Every scenario, in the order in which they run.
const SCENARIOS: &[&Scenario] = &[
    &kill::SCENARIO,
    &kill::IN_APPEND,
    &postgres::RESTART,
    &postgres::COMMIT,
    &postgres::SLOW,
    &postgres::STALL,
    &postgres::READ_ONLY,
    &postgres::FULL,
    &foreign::SCENARIO,
    &nodes::SCENARIO,
    &lag::SCENARIO,
    &keeper::SCENARIO,
    &sqlite::FULL,
    &sqlite::READ_ONLY,
    &sqlite::BROKEN,
    &sqlite::LOCKED,
    &wal::TORN,
    &wal::NOTICED,
    &backup::SCENARIO,
    &clock::SCENARIO,
    &queue::SCENARIO,
    &poison::SCENARIO,
    &rebuild::SCENARIO,
    &release::SCENARIO,
];

/// Breaks things and looks whether what was acknowledged holds.
#[derive(Debug, Parser)]
#[command(name = "tests/run faults --")]
struct Arguments {
    /// Only this scenario; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only on this store
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    store: Option<String>,
    /// Full size
    #[arg(long)]
    full: bool,
    /// So many rounds of each scenario, whatever its size is
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the random choices begin; printed by every run [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Name the scenarios, run none
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(unknown) = arguments.only.iter().find(|name| SCENARIOS.iter().all(|known| known.name != **name)) {
        eprintln!("there is no scenario {unknown}; --list names them");
        return ExitCode::FAILURE;
    }
    if arguments.list {
        SCENARIOS.iter().for_each(|known| println!("{:24} {}", known.name, known.fault));
        return ExitCode::SUCCESS;
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("seed {seed}\n");
    println!("| scenario | fault | store | rounds | acknowledged | checked | violations | seconds |");
    println!("|---|---|---|---|---|---|---|---|");
    let (mut passed, mut failed) = (0, 0);
    for (scenario, store) in SCENARIOS.iter().flat_map(|it| it.stores.iter().map(move |store| (*it, *store))) {
        let named = arguments.only.is_empty() || arguments.only.iter().any(|name| name == scenario.name);
        let on_store = arguments.store.as_ref().is_none_or(|only| *only == store.to_string());
        if !(named && on_store) {
            continue;
        }
        if store == Store::Postgres && Store::postgres_url().is_none() {
            eprintln!("GRANTLOG_TEST_POSTGRES is not set: start me with tests/run faults");
            return ExitCode::FAILURE;
        }
        let size = if arguments.full { scenario.rounds.full } else { scenario.rounds.small };
        let broken = run(scenario, Run { store, rounds: arguments.rounds.unwrap_or(size), full: arguments.full, seed });
        *(if broken { &mut failed } else { &mut passed }) += 1;
    }
    harness::postgres::drop_templates();
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one scenario and prints its row. Answers whether something did not hold.
fn run(scenario: &Scenario, run: Run) -> bool {
    let started = Instant::now();
    let ended = RUNTIME.block_on(AssertUnwindSafe((scenario.run)(run)).catch_unwind());
    let report = ended.unwrap_or_else(|_| Report {
        violations: vec!["the scenario did not come to its end; what stopped it stands above".to_owned()],
        ..Report::default()
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("| {} | {} | {} | {report} | {seconds:.0} |", scenario.name, scenario.fault, run.store);
    for note in &report.notes {
        println!("    {} on {}: {note}", scenario.name, run.store);
    }
    for violation in &report.violations {
        eprintln!("{} on {}: {violation}", scenario.name, run.store);
    }
    report.is_broken()
}
