//! Grantlog beside what it is measured against, in one run: bare warp, pgbench, SQLite row by row, Argon2id, openssl.
//!
//! `benches/run` starts it. Rates and times are medians over the rounds. The two sides of a row run right after one another,
//! so that both see the same machine, and a ratio is the median of the rounds' own ratios. The rows come in groups, one
//! file each or nearly.

mod appends;
mod baselines;
mod load;
mod openid;
mod passwords;
mod reads;
mod scripts;
mod servers;
mod sign_in;
mod table;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use servers::{Grantlog, Kind};

/// What `--only` can name, in the order of the table.
const GROUPS: &[&str] = &[
    "reads",
    "read-connections",
    "sqlite",
    "passwords",
    "postgres",
    "write-connections",
    "append",
    "openid",
    "sign-in",
];

/// What one run measures for how long.
struct Plan {
    rounds: usize,
    length: Duration,
    connections: usize,
    /// The groups of rows to measure; all when empty.
    only: Vec<String>,
}

impl Plan {
    fn from(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)
        };
        let number = |name: &str, default: usize| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let only = value("--only").map_or_else(Vec::new, |list| list.split(',').map(str::to_owned).collect());
        for group in &only {
            assert!(GROUPS.contains(&group.as_str()), "--only takes, separated by commas: {}", GROUPS.join(", "));
        }
        Plan {
            rounds: number("--rounds", 3),
            length: Duration::from_secs(number("--seconds", 4) as u64),
            connections: number("--connections", 32),
            only,
        }
    }

    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == group)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if let [_, flag, address, answer] = &arguments[..]
        && flag == "--bare"
    {
        return runtime.block_on(servers::serve_bare(address.parse().expect("an address"), answer));
    }
    if let [_, flag, address, issuer] = &arguments[..]
        && flag == "--api"
    {
        return runtime.block_on(openid::serve_api(address.parse().expect("an address"), issuer));
    }
    runtime.block_on(measure(&Plan::from(&arguments)));
}

async fn measure(plan: &Plan) {
    println!("{} rounds of {} s, {} connections; medians", plan.rounds, plan.length.as_secs(), plan.connections);
    table::head();
    if ["reads", "read-connections", "sqlite", "passwords"].iter().any(|group| plan.wants(group)) {
        let server = Arc::new(Grantlog::start(Kind::Sqlite).await);
        if plan.wants("reads") {
            reads::rows(plan, &server).await;
        }
        if plan.wants("read-connections") {
            reads::connection_rows(plan, &server).await;
        }
        if plan.wants("sqlite") {
            writes::rows(plan, &server, Kind::Sqlite).await;
        }
        if plan.wants("passwords") {
            passwords::rows(plan, &server).await;
        }
        memory_row(&server, Kind::Sqlite);
    }
    if ["postgres", "write-connections"].iter().any(|group| plan.wants(group)) {
        let server = Arc::new(Grantlog::start(Kind::Postgres).await);
        if plan.wants("postgres") {
            writes::rows(plan, &server, Kind::Postgres).await;
        }
        if plan.wants("write-connections") {
            writes::connection_rows(plan, &server).await;
        }
        memory_row(&server, Kind::Postgres);
    }
    if plan.wants("append") {
        appends::rows(plan).await;
    }
    if plan.wants("openid") {
        openid::rows(plan).await;
    }
    if plan.wants("sign-in") {
        sign_in::rows(plan).await;
    }
}

fn memory_row(server: &Grantlog, kind: Kind) {
    println!("| peak memory of the server ({}) | {:.0} MiB | | | | | | | |", name(kind), server.peak_memory_mib());
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "SQLite, synchronous=FULL",
        Kind::Postgres => "PostgreSQL",
    }
}
