//! A transaction of somebody else, left open in the same cluster: it holds the tables of the read models back, and must
//! not hold back a revocation.

use std::time::{Duration, Instant};

use crate::harness::{Server, Site, Store, poll, site::query};
use crate::scenario::{POSTGRES, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "postgres-foreign",
    fault: "a foreign transaction left open, one second a round",
    stores: POSTGRES,
    rounds: Rounds { small: 5, full: 60 },
    run: |run| Box::pin(foreign(run)),
};

/// `store.max_staleness_ms`, as it is by default.
const MAX_STALENESS: Duration = Duration::from_secs(1);

async fn foreign(run: Run) -> Report {
    let mut report = Report { rounds: run.rounds, ..Report::default() };
    let site = Site::new(Store::Postgres, &[]);
    let (one, other) = (Server::on(&site, &[]).await, Server::on(&site, &[]).await);
    let client = one.service_client().await;
    other.knows(&client).await;
    let database = Store::postgres_url().expect("tests/run sets it");
    let open_for = run.rounds + 1;
    let open = format!("BEGIN; SELECT pg_current_xact_id(); SELECT pg_sleep({open_for}); COMMIT");
    let transaction = tokio::task::spawn_blocking(move || query(&database, &open));
    poll::until("the foreign transaction is open", async || {
        let held = query(
            site.database(),
            "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND query LIKE '%pg_sleep%'",
        );
        (held != "0").then_some(())
    })
    .await;
    let mut slowest = Duration::ZERO;
    while !transaction.is_finished() {
        let token = one.service_token(&client).await;
        poll::until("another node knows a new token", async || other.is_active(&client, &token).await.then_some(()))
            .await;
        one.revoke_as(&client, &token).await.expect(200);
        let acknowledged = Instant::now();
        report.acknowledged += 2;
        report.check(!one.is_active(&client, &token).await, || "active on the node that revoked it".to_owned());
        let mut seen = None;
        while acknowledged.elapsed() < MAX_STALENESS {
            if !other.is_active(&client, &token).await {
                seen.get_or_insert(acknowledged.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        report.check(!other.is_active(&client, &token).await, || {
            format!("active on another node {MAX_STALENESS:?} after its revocation was acknowledged")
        });
        slowest = slowest.max(seen.unwrap_or(MAX_STALENESS));
    }
    transaction.await.expect("psql runs");
    report
        .notes
        .push(format!("open for {open_for} s; a revocation was seen by another node after at most {slowest:?}"));
    crate::log::caught_up(&site).await;
    let check = site.run(&["projections", "check"]).await;
    report.check(check.status.success(), || format!("projections check: {}", String::from_utf8_lossy(&check.stderr)));
    report
}
