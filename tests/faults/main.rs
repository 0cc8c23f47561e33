//! What was acknowledged holds, whatever happens to the server: crashes at random moments under load.
//!
//! `tests/run faults` runs a few rounds; `tests/run faults -- --rounds 200` as many as you have time for. A model keeps
//! what each client was told; after every crash the restarted server is asked, and the first answer that the model does
//! not allow ends the run.

#[path = "../e2e/harness/mod.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "the cases of the end-to-end tests use the rest")]
mod harness;
mod kill;
mod model;

use std::process::ExitCode;
use std::time::Instant;

use harness::{Store, suite::RUNTIME};

/// Rounds without an option: small enough for every run of the tests.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(ROUNDS);
    println!("| fault | store | rounds | acknowledged | checked | violations | seconds |");
    println!("|---|---|---|---|---|---|---|");
    let mut passed = 0;
    for store in [Store::Sqlite, Store::Postgres] {
        if store == Store::Postgres && Store::postgres_url().is_none() {
            eprintln!("GRANTLOG_TEST_POSTGRES is not set: start me with tests/run faults");
            return ExitCode::FAILURE;
        }
        let started = Instant::now();
        let report = RUNTIME.block_on(kill::rounds(store, rounds));
        println!(
            "| kill -9 under load | {store} | {rounds} | {} | {} | {} | {:.0} |",
            report.acknowledged,
            report.checked,
            report.violations.len(),
            started.elapsed().as_secs_f64()
        );
        for violation in &report.violations {
            eprintln!("{store}: {violation}");
        }
        passed += usize::from(report.violations.is_empty());
    }
    println!("\n{passed} passed, {} failed", 2 - passed);
    if passed == 2 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
