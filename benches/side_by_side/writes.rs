//! What leaves events behind, against one event row a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantlog_projections::db::{Db, OpenOptions};

use crate::load::{self, Fixed, Outcome};
use crate::servers::{self, Grantlog, Kind};
use crate::table::{median, middle, paired, row};
use crate::{Plan, baselines, name, scripts};

/// Tokens, code redemption, refresh and whole flows.
pub async fn rows(plan: &Plan, server: &Arc<Grantlog>, kind: Kind) {
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
    let (mut held_against, mut best) = (Vec::new(), Vec::new());
    let mut behind = Vec::new();
    for _ in 0..plan.rounds {
        held_against.push(match kind {
            Kind::Sqlite => (baselines::sqlite_one_by_one(plan.length).await, 1),
            Kind::Postgres => baselines::pgbench_best(&pgbench_database, plan.length),
        });
        let tokens = vec![Fixed(server.client_credentials()); plan.connections];
        let tokens = load::run(server.address, tokens, plan.length).await;
        behind.push(catch_up(server).await);
        if kind == Kind::Postgres {
            best.push(best_of(plan, server, &tokens).await);
        }
        rounds[0].push(tokens);
        let codes = scripts::codes(server, &cookie, plan.connections, plan.length).await;
        let families = scripts::Families::default();
        let redemptions = scripts::redemptions(server, codes, &families, plan.connections);
        rounds[1].push(load::run(server.address, redemptions, plan.length).await);
        let refreshes = scripts::refreshes(server, &families, plan.connections);
        rounds[2].push(load::run(server.address, refreshes, plan.length).await);
        let flows = scripts::flows(server, &cookie, plan.connections);
        rounds[3].push(load::run(server.address, flows, plan.length).await);
    }
    let (clients, held_against) = split(held_against);
    let against = match kind {
        Kind::Sqlite => "SQLite, one row a transaction".to_owned(),
        Kind::Postgres => format!("pgbench, best of 8/32/64 clients ({clients})"),
    };
    if kind == Kind::Postgres {
        let (connections, best): (Vec<usize>, Vec<Outcome>) = best.into_iter().unzip();
        let most = middle(connections.iter().map(|connections| *connections as f64));
        let what = format!("client_credentials tokens, {store}, best of 8/32/64 connections ({most})");
        paired(&what, &best, (&against, &held_against));
    }
    for (what, round) in ["client_credentials tokens", "code redemption", "refresh"].into_iter().zip(&rounds) {
        paired(&format!("{what}, {store}"), round, (&against, &held_against));
    }
    behind.sort_unstable();
    let (events, time) = behind[behind.len() / 2];
    let ms = time.as_secs_f64() * 1000.0;
    println!("| tables behind the log when the tokens end, {store} | {events} events | {ms:.0} ms more | | | | | | |");
    // One flow is three requests: authorize, token, introspect.
    let flow = median(rounds[3].iter());
    let flow = Outcome { per_second: flow.per_second / 3.0, ..flow };
    row(&format!("whole code flows (p50 and p99 of one request), {store}"), &flow, None);
}

/// The number of clients that was best most often or nearly, and the rates.
fn split(rounds: Vec<(f64, u32)>) -> (f64, Vec<(f64, Option<Duration>)>) {
    let clients = middle(rounds.iter().map(|(_, clients)| f64::from(*clients)));
    (clients, rounds.into_iter().map(|(rate, _)| (rate, None)).collect())
}

/// Tokens over as many connections as pgbench may choose its clients from, and the number that gave most. `measured`: what
/// 32 of them, or as many as asked for, have given already.
async fn best_of(plan: &Plan, server: &Grantlog, measured: &Outcome) -> (usize, Outcome) {
    let mut best = (plan.connections, measured.clone());
    for connections in [8, 64] {
        let tokens = vec![Fixed(server.client_credentials()); connections];
        let outcome = load::run(server.address, tokens, plan.length).await;
        catch_up(server).await;
        if outcome.per_second > best.1.per_second {
            best = (connections, outcome);
        }
    }
    best
}

/// Tokens over a few and over many connections, against the best that pgbench gives over any of its own.
pub async fn connection_rows(plan: &Plan, server: &Grantlog) {
    const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
    let database = servers::migrated_postgres_database().await;
    baselines::prepare_pgbench(&database).await;
    let mut rounds = [const { Vec::new() }; CONNECTIONS.len()];
    let mut held_against = Vec::new();
    for _ in 0..plan.rounds {
        held_against.push(baselines::pgbench_best(&database, plan.length));
        for (connections, round) in CONNECTIONS.into_iter().zip(&mut rounds) {
            let tokens = vec![Fixed(server.client_credentials()); connections];
            round.push(load::run(server.address, tokens, plan.length).await);
            catch_up(server).await;
        }
    }
    let (clients, held_against) = split(held_against);
    let against = format!("pgbench, best of 8/32/64 clients ({clients})");
    for (connections, round) in CONNECTIONS.into_iter().zip(&rounds) {
        let what = format!("client_credentials tokens, {connections} connections, {}", name(Kind::Postgres));
        paired(&what, round, (&against, &held_against));
    }
}

/// By how many events the table furthest behind is behind now, and how long it takes until it is no more.
async fn catch_up(server: &Grantlog) -> (i64, Duration) {
    let db =
        Db::open(&server.database, &OpenOptions::default()).await.expect("the database of the measured server opens");
    let (began, first) = (Instant::now(), behind(&db).await);
    while began.elapsed() < Duration::from_secs(60) {
        if behind(&db).await <= 0 {
            return (first, began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the tables do not reach the end of the log");
}

/// Events behind the checkpoint furthest back. Counted, because with several lanes the greatest position need not be the
/// last in the order of the log.
async fn behind(db: &Db) -> i64 {
    let sql = "SELECT COUNT(*) FROM events WHERE (txid, position) > (SELECT c.txid, c.position \
               FROM projection_checkpoint c JOIN active_projection a ON a.table_name = c.table_name \
               ORDER BY c.txid, c.position LIMIT 1)";
    let rows = db.fetch(sql, &[]).await.expect("the measured server's database answers");
    rows[0].int(0).expect("a number")
}
