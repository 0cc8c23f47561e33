//! kill -9 at random moments, while clients issue, refresh and revoke.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Mutex;

use crate::harness::{Answer, Client, Server, Site, http::Request};
use crate::model::{Expected, Held};
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "kill",
    fault: "kill -9 under load",
    stores: BOTH,
    rounds: Rounds { small: 5, full: 200 },
    run: |run| Box::pin(rounds(run)),
};

/// Clients at work when the server is killed.
const WORKERS: usize = 24;
/// Tokens that a worker keeps of one round; older ones are forgotten unchecked. Below the number of access tokens that
/// one grant holds (64), because the oldest of those leave first.
const HELD_MAX: usize = 40;
/// The longest time before the kill.
const ROUND_MAX: Duration = Duration::from_millis(700);

/// What a worker learned in one round.
#[derive(Default)]
struct Work {
    held: Vec<Held>,
    acknowledged: usize,
}

impl Work {
    fn hold(&mut self, held: Held) {
        self.held.push(held);
        if self.held.len() > HELD_MAX {
            self.held.remove(0);
        }
    }
}

/// Runs `rounds` crashes on one database.
async fn rounds(run: Run) -> Report {
    let rounds = run.rounds;
    let site = Site::new(run.store, &[]);
    let (mut server, mut report) = (Server::on(&site, &[]).await, Report::default());
    let client = server.password_client().await;
    let user = server.user().await;
    // Argon2 is slow on purpose: families are made before the round, and refreshed within it.
    for round in 0..rounds {
        let families = join_all((0..WORKERS / 4).map(|_| server.password_tokens(&client, &user))).await;
        let mut seeds = families.into_iter().map(|tokens| Held::new(tokens.access, Some(tokens.refresh)));
        let work: Vec<Arc<Mutex<Work>>> = (0..WORKERS).map(|_| Arc::default()).collect();
        let workers: Vec<_> = work
            .iter()
            .enumerate()
            .map(|(number, work)| {
                let seed = if number % 4 == 0 { seeds.next() } else { None };
                tokio::spawn(worker(server.clone(), client.clone(), Arc::clone(work), seed))
            })
            .collect();
        let moment = u32::try_from(round * 7919 % 100).unwrap_or(0);
        tokio::time::sleep(ROUND_MAX * moment / 100).await;
        server.kill();
        report.rounds += 1;
        join_all(workers).await;
        server = Server::on(&site, &[]).await;
        for work in work {
            check(&server, &client, &*work.lock().await, &mut report).await;
        }
        if !report.violations.is_empty() {
            break;
        }
    }
    equal_after_all(&site, &mut report).await;
    report
}

/// Works until the server does not answer any more.
async fn worker(server: Server, client: Client, work: Arc<Mutex<Work>>, seed: Option<Held>) {
    let mut work = work.lock().await;
    if let Some(seed) = seed {
        work.held.push(seed);
        while refresh(&server, &client, &mut work).await.is_some() {}
        return;
    }
    let mut number = 0_usize;
    while step(&server, &client, number, &mut work).await.is_some() {
        number += 1;
    }
}

/// Rotates the worker's family once. `None` when there was no answer.
async fn refresh(server: &Server, client: &Client, work: &mut Work) -> Option<()> {
    let token = work.held.last()?.refresh.clone()?;
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let Some(answer) = answered(server.post_as(client, "/oauth/token", &form).try_send().await) else {
        let held = work.held.last_mut()?;
        held.refresh_in_doubt = true;
        return None;
    };
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    work.hold(Held::new(text("access_token"), Some(text("refresh_token"))));
    work.acknowledged += 1;
    Some(())
}

/// Issues a token, and revokes every second one.
async fn step(server: &Server, client: &Client, number: usize, work: &mut Work) -> Option<()> {
    let form = [("grant_type", "client_credentials")];
    let answer = answered(server.post_as(client, "/oauth/token", &form).try_send().await)?;
    let mut held = Held::new(answer.json()["access_token"].as_str().unwrap_or_default().to_owned(), None);
    work.acknowledged += 1;
    let mut alive = Some(());
    if number % 2 == 1 {
        let revoked = server.post_as(client, "/oauth/revoke", &[("token", held.access.as_str())]).try_send().await;
        held.expected = match answered(revoked) {
            Some(_) => Expected::Ended,
            None => Expected::Either,
        };
        alive = (held.expected == Expected::Ended).then_some(());
        work.acknowledged += usize::from(alive.is_some());
    }
    work.hold(held);
    alive
}

/// A 200; anything else while the server dies is no acknowledgement.
fn answered(outcome: reqwest::Result<Answer>) -> Option<Answer> {
    outcome.ok().filter(|answer| answer.status == 200)
}

async fn check(server: &Server, client: &Client, work: &Work, report: &mut Report) {
    report.acknowledged += work.acknowledged;
    let asked = work.held.iter().map(|held| server.post_as(client, "/oauth/introspect", &[("token", &held.access)]));
    for (held, answer) in work.held.iter().zip(join_all(asked.map(Request::send)).await) {
        held.check(&answer, report);
    }
    // The newest refresh token works, unless a refresh that got no answer may have replaced it.
    if let Some(Held { refresh: Some(token), refresh_in_doubt: false, .. }) = work.held.last() {
        report.checked += 1;
        let answer = server.refresh(client, token).await;
        if answer.status != 200 {
            report.violations.push(format!("an acknowledged refresh token is refused: {}", answer.text()));
        }
    }
}

/// No crash may leave the read models beside the log.
async fn equal_after_all(site: &Site, report: &mut Report) {
    let output = site.run(&["projections", "check"]).await;
    report.checked += 1;
    if !output.status.success() {
        report.violations.push(format!("projections check: {}", String::from_utf8_lossy(&output.stderr)));
    }
}
