//! An honest sign-in beside somebody who sends wrong passwords over many connections, all from one address.

use crate::load::{self, Answer, Script};
use crate::servers::{Grantlog, Kind};
use crate::table::{median, paired};
use crate::{Plan, name};

/// Connections of the attack, each with a name of its own.
const ATTACKING: usize = 300;
/// People who sign in meanwhile, each from an address of their own.
const HONEST: usize = 4;
/// What the slowest of a hundred may wait.
const P99_MS_MAX: f64 = 1000.0;

/// The same form for ever; a redirect into the session is right.
#[derive(Clone)]
struct SignIn(Vec<u8>);

/// The same form with a wrong password for ever; whatever is answered.
#[derive(Clone)]
struct Guess(Vec<u8>);

impl Script for SignIn {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0);
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        answer.status == 303
    }
}

impl Script for Guess {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0);
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        matches!(answer.status, 403 | 429 | 503)
    }
}

/// Once while the address of the attack is locked, and once as if it were never locked.
pub async fn rows(plan: &Plan) {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        for (what, attempts) in [("locked by now", "50"), ("never locked", "100000")] {
            let settings =
                [("GRANTLOG_HTTP_TRUSTED_PROXIES", "127.0.0.1"), ("GRANTLOG_SIGN_IN_ATTEMPTS_PER_ADDRESS", attempts)];
            let server = Grantlog::start_as(kind, "profile", &[], &settings).await;
            beside_an_attack(plan, &server, &format!("{what}, {}", name(kind))).await;
        }
    }
}

async fn beside_an_attack(plan: &Plan, server: &Grantlog, what: &str) {
    let (mut honest, mut attack) = (Vec::new(), Vec::new());
    for number in 0..HONEST {
        honest.push(SignIn(server.honest_login(&format!("192.0.2.{number}")).await));
    }
    for number in 0..ATTACKING {
        attack.push(Guess(server.wrong_login(&format!("name{number}"), "203.0.113.1").await));
    }
    let (mut idle, mut beside, mut guesses) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let signing_in = || load::run(server.address, honest.clone(), plan.length);
        let alone = signing_in().await;
        idle.push((alone.per_second, Some(alone.p99)));
        let (signed_in, guessed) = tokio::join!(signing_in(), load::run(server.address, attack.clone(), plan.length));
        beside.push(signed_in);
        guesses.push(guessed);
    }
    let what = format!("sign-in beside {ATTACKING} connections that guess from one address, {what}");
    paired(&what, &beside, ("the same when idle", &idle));
    let slowest = beside.iter().map(|outcome| outcome.p99.as_secs_f64() * 1000.0).fold(0.0, f64::max);
    let held = if slowest < P99_MS_MAX { "kept" } else { "NOT KEPT" };
    let guesses = median(guesses.iter()).per_second;
    println!(
        "| its slowest p99 of a round, ms; guesses answered a second | {slowest:.0}; {guesses:.0} | | | | below {P99_MS_MAX:.0} ms: {held} | | | |"
    );
}
