//! What a scenario is, how it is told to run, and what it found.

use std::{fmt, future::Future, pin::Pin};

use crate::harness::Store;

pub const BOTH: &[Store] = &[Store::Sqlite, Store::Postgres];
pub const POSTGRES: &[Store] = &[Store::Postgres];
pub const SQLITE: &[Store] = &[Store::Sqlite];

pub type ScenarioFuture = Pin<Box<dyn Future<Output = Report>>>;

/// One fault: a file with a `SCENARIO`, and a row in the list of `main.rs`.
pub struct Scenario {
    /// For `--only`.
    pub name: &'static str,
    /// As the table names it.
    pub fault: &'static str,
    pub stores: &'static [Store],
    pub rounds: Rounds,
    pub run: fn(Run) -> ScenarioFuture,
}

/// How often the fault is made to happen.
#[derive(Clone, Copy)]
pub struct Rounds {
    /// In every run of the tests; all scenarios together take a few minutes.
    pub small: usize,
    /// With `--full`.
    pub full: usize,
}

/// How a scenario runs this time.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub store: Store,
    pub rounds: usize,
    /// At full size what was measured is held against its limit too.
    pub full: bool,
    /// Decides who does what and when the fault comes. The same seed gives the same plan; the machine's timing differs.
    pub seed: u64,
}

/// What a scenario found.
#[derive(Debug, Default)]
pub struct Report {
    pub rounds: usize,
    /// Answers that promised something: tokens, refreshes, revocations.
    pub acknowledged: usize,
    /// Promises and states that were looked at.
    pub checked: usize,
    pub violations: Vec<String>,
    /// Figures worth a line of their own.
    pub notes: Vec<String>,
}

impl Report {
    /// Looks at one thing; `wrong` says what it is when it does not hold.
    pub fn check(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violations.push(wrong());
        }
    }

    pub fn is_broken(&self) -> bool {
        !self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} | {} | {} | {}", self.rounds, self.acknowledged, self.checked, self.violations.len())
    }
}
