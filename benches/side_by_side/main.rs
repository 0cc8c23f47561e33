//! Grantlog beside what it is measured against, in one run: bare warp, pgbench, SQLite row by row, Argon2id.
//!
//! `benches/run` starts it. Figures are medians over the rounds; the pairs of a row run right after one another, so that
//! both see the same machine.

mod baselines;
mod load;
mod scripts;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use load::{Fixed, Outcome};
use servers::{Bare, Grantlog, Kind};

/// What one run measures for how long.
struct Plan {
    rounds: usize,
    length: Duration,
    connections: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if let [_, flag, address, body] = &arguments[..]
        && flag == "--bare"
    {
        return runtime.block_on(servers::serve_bare(address.parse().expect("an address"), body.clone()));
    }
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let plan = Plan {
        rounds: number("--rounds", 3),
        length: Duration::from_secs(number("--seconds", 4) as u64),
        connections: number("--connections", 32),
    };
    runtime.block_on(measure(&plan));
}

async fn measure(plan: &Plan) {
    println!("{} rounds of {} s, {} connections; medians", plan.rounds, plan.length.as_secs(), plan.connections);
    println!("\n| what | Grantlog/s | p50 ms | p99 ms | errors | held against | its rate/s | its p99 ms | ratio |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let server = Arc::new(Grantlog::start(kind).await);
        if kind == Kind::Sqlite {
            reads(plan, &server).await;
        }
        writes(plan, &server, kind).await;
        println!("| peak memory of the server ({}) | {:.0} MiB | | | | | | | |", name(kind), server.peak_memory_mib());
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "SQLite, synchronous=FULL",
        Kind::Postgres => "PostgreSQL",
    }
}

/// Introspection, `/api/me` and discovery against a bare warp route with the same request and answer.
async fn reads(plan: &Plan, server: &Grantlog) {
    let token = server.user_token().await["access_token"].as_str().expect("a token response has a token").to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let requests = [
        ("introspection", load::post("/oauth/introspect", &server.basic, &format!("token={token}"))),
        ("/api/me", load::get("/api/me", &bearer)),
        ("discovery", load::get("/.well-known/oauth-authorization-server", "")),
    ];
    for (what, request) in requests {
        let (status, _, body) = load::once(server.address, &request).await;
        assert_eq!(status, 200, "{what}: {body}");
        let bare = Bare::start(&body).await;
        let mut pairs = Vec::new();
        for _ in 0..plan.rounds {
            let script = || vec![Fixed(request.clone()); plan.connections];
            let theirs = load::run(bare.address, script(), plan.length).await;
            pairs.push((load::run(server.address, script(), plan.length).await, theirs));
        }
        let (ours, theirs) = (median(pairs.iter().map(|pair| &pair.0)), median(pairs.iter().map(|pair| &pair.1)));
        row(what, &ours, Some(("bare warp, same bytes", theirs.per_second, Some(theirs.p99))));
    }
}

/// What leaves events behind, against one event row a transaction.
async fn writes(plan: &Plan, server: &Arc<Grantlog>, kind: Kind) {
    let store = name(kind);
    let pgbench_database = match kind {
        Kind::Postgres => servers::migrated_postgres_database().await,
        Kind::Sqlite => String::new(),
    };
    if kind == Kind::Postgres {
        baselines::prepare_pgbench(&pgbench_database).await;
    }
    let cookie = server.sign_in().await;
    server.consent(&cookie).await;
    let mut rounds = [const { Vec::new() }; 4];
    let mut held_against = Vec::new();
    for _ in 0..plan.rounds {
        held_against.push(match kind {
            Kind::Sqlite => (baselines::sqlite_one_by_one(plan.length).await, 1),
            Kind::Postgres => baselines::pgbench_best(&pgbench_database, plan.length),
        });
        let tokens = vec![Fixed(server.client_credentials()); plan.connections];
        rounds[0].push(load::run(server.address, tokens, plan.length).await);
        let codes = scripts::codes(server, &cookie, plan.connections, plan.length).await;
        let families = scripts::Families::default();
        let redemptions = scripts::redemptions(server, codes, &families, plan.connections);
        rounds[1].push(load::run(server.address, redemptions, plan.length).await);
        let refreshes = scripts::refreshes(server, &families, plan.connections);
        rounds[2].push(load::run(server.address, refreshes, plan.length).await);
        let flows = scripts::flows(server, &cookie, plan.connections);
        rounds[3].push(load::run(server.address, flows, plan.length).await);
    }
    held_against.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (rate, clients) = held_against[held_against.len() / 2];
    let against = match kind {
        Kind::Sqlite => "SQLite, one row a transaction".to_owned(),
        Kind::Postgres => format!("pgbench, best of 8/32/64 clients ({clients})"),
    };
    for (what, round) in ["client_credentials tokens", "code redemption", "refresh"].into_iter().zip(&rounds) {
        row(&format!("{what}, {store}"), &median(round.iter()), Some((&against, rate, None)));
    }
    // One flow is three requests: authorize, token, introspect.
    let flow = median(rounds[3].iter());
    let flow = Outcome { per_second: flow.per_second / 3.0, ..flow };
    row(&format!("whole code flows (p50 and p99 of one request), {store}"), &flow, None);
    if kind == Kind::Sqlite {
        passwords(plan, server).await;
    }
}

/// The password grant against Argon2id alone, and introspection while passwords are checked.
async fn passwords(plan: &Plan, server: &Grantlog) {
    let token = server.user_token().await["access_token"].as_str().expect("a token response has a token").to_owned();
    let introspect = load::post("/oauth/introspect", &server.basic, &format!("token={token}"));
    let (mut ours, mut alone, mut idle, mut busy) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        alone.push(scripts::argon2_alone(plan.length));
        ours.push(load::run(server.address, vec![Fixed(server.password()); 8], plan.length).await);
        idle.push(load::run(server.address, vec![Fixed(introspect.clone())], plan.length).await);
        let (_, during) = tokio::join!(
            load::run(server.address, vec![Fixed(server.password()); 8], plan.length),
            load::run(server.address, vec![Fixed(introspect.clone())], plan.length)
        );
        busy.push(during);
    }
    alone.sort_by(f64::total_cmp);
    row(
        "password grant",
        &median(ours.iter()),
        Some(("Argon2id alone, as many threads as cores", alone[alone.len() / 2], None)),
    );
    let idle = median(idle.iter());
    let busy = median(busy.iter());
    row(
        "introspection beside password grants, 1 connection",
        &busy,
        Some(("the same when idle", idle.per_second, Some(idle.p99))),
    );
}

fn median<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Outcome {
    let mut all: Vec<&Outcome> = outcomes.collect();
    all.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let errors = all.iter().map(|outcome| outcome.errors).sum();
    Outcome { errors, ..all[all.len() / 2].clone() }
}

fn row(what: &str, ours: &Outcome, against: Option<(&str, f64, Option<Duration>)>) {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    let (held, rate, p99, ratio) = match against {
        None => (String::new(), String::new(), String::new(), String::new()),
        Some((held, rate, p99)) => (
            held.to_owned(),
            format!("{rate:.0}"),
            p99.map_or_else(String::new, ms),
            format!("{:.2}", ours.per_second / rate),
        ),
    };
    println!(
        "| {what} | {:.0} | {} | {} | {} | {held} | {rate} | {p99} | {ratio} |",
        ours.per_second,
        ms(ours.p50),
        ms(ours.p99),
        ours.errors
    );
}
