//! More appends than the log takes: what does not fit is refused at once, memory stays bounded, and it recovers.

use std::time::Duration;

use futures::future::join_all;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::harness::{Answer, Server, Site, Store, poll, site::query};
use crate::log;
use crate::model::Tally;
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "queue",
    fault: "the append queue full",
    stores: BOTH,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(queue(run)),
};

/// Requests at once; far more than fit into the queue, the batch and what is decided meanwhile.
const REQUESTS: usize = 500;
/// Seconds for which nothing is appended. Below every time-out, so what waits is done in the end.
const BLOCKED_SECONDS: u64 = 3;
/// KiB that so many requests may take.
const MEMORY_KIB: u64 = 100 * 1024;

async fn queue(run: Run) -> Report {
    let settings = [("STORE_APPEND_QUEUE", "16"), ("STORE_APPEND_BATCH", "8")];
    let site = Site::new(run.store, &settings);
    let server = Server::on(&site, &[]).await;
    let client = server.service_client().await;
    let (mut report, mut tally) = (Report::default(), Tally::default());
    let before = log::read(&site).await.counted;
    for _ in 0..run.rounds {
        report.rounds += 1;
        // Warm: connections and allocations that every load needs.
        for _ in 0..16 {
            join_all((0..4).map(|_| server.service_token(&client))).await;
            (0..4).for_each(|_| tally.acknowledged("grant.opened"));
        }
        let memory = server.memory_kib();
        let blocked = tokio::spawn(block(site.clone()));
        poll::until("appends wait", async || {
            let answer = answered_within(&server, &client, Duration::from_millis(300)).await;
            match &answer {
                Some(answer) if answer.status == 200 => tally.acknowledged("grant.opened"),
                _ => tally.in_doubt("grant.opened"),
            }
            answer.is_none().then_some(())
        })
        .await;
        let asked = (0..REQUESTS)
            .map(|_| server.post_as(&client, "/oauth/token", &[("grant_type", "client_credentials")]).try_send());
        let answers = join_all(asked).await;
        blocked.await.expect("the block ends");
        let mut refused = 0;
        for answer in answers {
            let Ok(answer) = answer else {
                report.violations.push("a request was not answered".to_owned());
                continue;
            };
            match answer.status {
                200 => tally.acknowledged("grant.opened"),
                503 => refused += 1,
                _ => {}
            }
            report.check(is_allowed(&answer), || format!("neither done nor put off: {answer}"));
        }
        report.check(refused > REQUESTS / 2, || format!("only {refused} of {REQUESTS} were refused"));
        let grown = server.memory_kib().saturating_sub(memory);
        report.check(grown < MEMORY_KIB, || format!("{REQUESTS} requests took {grown} KiB"));
        report.notes.push(format!("{refused} of {REQUESTS} requests refused, {grown} KiB more"));
        // It recovers by itself, at once.
        let token = server.service_token(&client).await;
        tally.acknowledged("grant.opened");
        report.check(server.is_active(&client, &token).await, || "the next token is not active".to_owned());
    }
    report.acknowledged = tally.total();
    log::check(&site, &before, &tally, &mut report).await;
    report
}

fn is_allowed(answer: &Answer) -> bool {
    answer.status == 200 || (answer.status == 503 && answer.header("retry-after").is_some())
}

/// The answer to one request for a token, if it comes soon.
async fn answered_within(server: &Server, client: &crate::harness::Client, limit: Duration) -> Option<Answer> {
    let request = server.post_as(client, "/oauth/token", &[("grant_type", "client_credentials")]).send();
    tokio::time::timeout(limit, request).await.ok()
}

/// Holds what every append needs.
async fn block(site: Site) {
    match site.store() {
        Store::Postgres => {
            let sql = format!(
                "BEGIN; LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep({BLOCKED_SECONDS}); COMMIT"
            );
            let database = site.owner().to_owned();
            tokio::task::spawn_blocking(move || query(&database, &sql)).await.expect("psql runs");
        }
        Store::Sqlite => {
            let file = site.directory().join("grantlog.db");
            let mut other = SqliteConnection::connect(file.to_str().expect("UTF-8")).await.expect("it opens");
            other.execute("PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE").await.expect("its turn comes");
            tokio::time::sleep(Duration::from_secs(BLOCKED_SECONDS)).await;
            other.execute("ROLLBACK").await.expect("it gives way");
        }
    }
}
