//! What the size of the log costs: how long a start, a rebuild and a check take, and whether issuing a token and
//! introspecting one cost the same with a short log and with a long one.
//!
//! `benches/size [--sizes 1000000,10000000] [--seconds 4] [--rounds 3] [--living 1000000] [--quick]`. The last million tokens
//! live, in every size. Each size has a server of its own; they are measured in turn, so that they see the same machine.
//! `--quick` leaves out the rebuilds; with `--living` as large as the log no row has to leave the tables first. Ten million events need
//! about 10 GB in the temporary folder of each database while it runs.

mod fill;
#[path = "../side_by_side/load.rs"]
mod load;
mod server;

use std::time::{Duration, Instant, SystemTime};

use load::{Fixed, Outcome};
use server::{Grantlog, Store};

/// Tokens that live when a server starts, at most; unless `--living` says otherwise.
const LIVING: u64 = 1_000_000;
const CONNECTIONS: usize = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: u64| option(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let sizes: Vec<u64> = option("--sizes").map_or("1000000", String::as_str).split(',').flat_map(str::parse).collect();
    let plan = Plan {
        rounds: number("--rounds", 3),
        length: Duration::from_secs(number("--seconds", 4)),
        living: number("--living", LIVING),
        quick: arguments.iter().any(|argument| argument == "--quick"),
    };
    let stores = match option("--store").map(String::as_str) {
        Some("sqlite") => vec![Store::Sqlite],
        Some("postgres") => vec![Store::Postgres],
        _ => vec![Store::Sqlite, Store::Postgres],
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("| store | events | what | figure |\n|---|---|---|---|");
    for store in stores {
        runtime.block_on(measure(store, &sizes, &plan));
    }
}

/// How to measure.
struct Plan {
    rounds: u64,
    length: Duration,
    living: u64,
    quick: bool,
}

async fn measure(store: Store, sizes: &[u64], plan: &Plan) {
    let mut servers = Vec::new();
    for &events in sizes {
        servers.push((events, prepare(store, events, plan).await));
    }
    let mut outcomes = vec![[Vec::new(), Vec::new()]; sizes.len()];
    for _ in 0..plan.rounds {
        for ((_, server), outcomes) in servers.iter().zip(&mut outcomes) {
            let token = server.token().await;
            let issue = vec![Fixed(server.client_credentials()); CONNECTIONS];
            outcomes[0].push(load::run(server.address, issue, plan.length).await);
            let introspect = vec![Fixed(server.introspect(&token)); CONNECTIONS];
            outcomes[1].push(load::run(server.address, introspect, plan.length).await);
        }
    }
    for ((events, _), outcomes) in servers.iter().zip(&outcomes) {
        for (what, outcomes) in ["issue", "introspect"].into_iter().zip(outcomes) {
            let median = median(outcomes);
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            let (rate, p50, p99) = (median.per_second, ms(median.p50), ms(median.p99));
            row(
                store,
                *events,
                what,
                &format!("{rate:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {} errors", median.errors),
            );
        }
    }
    for (events, server) in &servers {
        let began = Instant::now();
        server.command(&["projections", "check"]);
        row(
            store,
            *events,
            "projections check, all, beside the idle server",
            &format!("{:.1} s", began.elapsed().as_secs_f64()),
        );
    }
}

/// A server with a log of that length, ready and with nothing left to do.
async fn prepare(store: Store, events: u64, plan: &Plan) -> Grantlog {
    let mut server = Grantlog::new(store).await;
    server.stop();
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs().cast_signed();
    let began = Instant::now();
    let log = fill::Log { client: server.client(), events, living: plan.living.min(events), now };
    fill::fill(server.database(), &server.keys(), log).await;
    report(store, events, "fill the log", began.elapsed());
    server.start().await;
    let began = Instant::now();
    while server.is_behind() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    report(store, events, "the tables catch up with the log", began.elapsed());
    server.stop();
    let all = ["grants", "tokens", "activity", "clients", "users", "sessions", "keys", "participants"];
    for name in all.into_iter().filter(|_| !plan.quick) {
        let began = Instant::now();
        server.command(&["projections", "rebuild", name]);
        report(store, events, &format!("projections rebuild {name}"), began.elapsed());
    }
    let ready = server.start().await;
    row(
        store,
        events,
        &format!("start to /health/ready with {} live tokens", plan.living.min(events)),
        &format!("{:.2} s", ready.as_secs_f64()),
    );
    row(store, events, "resident memory after the start", &format!("{:.0} MiB", server.memory_mib()));
    let (began, expired) = (Instant::now(), server.expired_rows().await);
    while server.expired_rows().await > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if expired > 0 {
        let rate = expired as f64 / began.elapsed().as_secs_f64();
        row(store, events, "expired rows leave the tables", &format!("{rate:.0} rows/s"));
    }
    // What rebuilds, or a table that has caught up, leave to be done.
    fill::settle(&server.open().await).await;
    server
}

fn report(store: Store, events: u64, what: &str, took: Duration) {
    let seconds = took.as_secs_f64();
    row(store, events, what, &format!("{seconds:.1} s, {:.0} events/s", events as f64 / seconds));
}

fn row(store: Store, events: u64, what: &str, figure: &str) {
    println!("| {store:?} | {events} | {what} | {figure} |");
}

fn median(outcomes: &[Outcome]) -> Outcome {
    let mut all: Vec<&Outcome> = outcomes.iter().collect();
    all.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let errors = all.iter().map(|outcome| outcome.errors).sum();
    Outcome { errors, ..all[all.len() / 2].clone() }
}
