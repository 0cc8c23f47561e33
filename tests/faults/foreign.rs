//! A transaction of somebody else, left open in the same cluster: it holds the tables of the read models back, and must
//! not hold back a revocation, nor leave anything out of what somebody takes back as a whole.

use std::time::{Duration, Instant};

use crate::harness::{Browser, Client, Server, Site, Store, User, browser::Page, html::Form, poll, site::query};
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
    let person = Person::new(&one).await;
    let open_for = run.rounds + 6;
    let open = format!("BEGIN; SELECT pg_current_xact_id(); SELECT pg_sleep({open_for}); COMMIT");
    let cluster = database.clone();
    let transaction = tokio::task::spawn_blocking(move || query(&database, &open));
    poll::until("the foreign transaction is open", async || {
        let held = query(
            &cluster,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND query LIKE '%pg_sleep%'",
        );
        (held != "0").then_some(())
    })
    .await;
    person.takes_it_back(&one, &site, &mut report).await;
    report.check(!transaction.is_finished(), || "taking it all back waited for the transaction".to_owned());
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

/// Somebody with an account page that offers to take back what they allowed a client.
struct Person {
    user: User,
    client: Client,
    browser: Browser,
    page: Page,
    form: Form,
}

impl Person {
    async fn new(server: &Server) -> Person {
        let (client, user) = (server.password_client().await, server.user().await);
        server.password_tokens(&client, &user).await;
        let mut browser = Browser::signed_in(server, &user).await;
        let (page, form) = poll::until("the account page lists the client", async || {
            let page = browser.open("/account").await;
            let mut forms = crate::harness::html::forms(&page.answer.text()).into_iter();
            let form = forms.find(|form| form.action == "/account/revoke")?;
            Some((page, form))
        })
        .await;
        Person { user, client, browser, page, form }
    }

    /// On the page, on the command line, and with a new password: all while the tables stand still.
    async fn takes_it_back(mut self, server: &Server, site: &Site, report: &mut Report) {
        let tokens = server.password_tokens(&self.client, &self.user).await;
        let answer = self.browser.submit_form(&self.page, &self.form, "", &[]).await;
        report.check(answer.status == 303, || format!("taking back on the account page: {answer}"));
        self.has_ended(server, &tokens, "on the account page", report).await;

        let tokens = server.password_tokens(&self.client, &self.user).await;
        let output = site.run(&["grant", "revoke", "--client", &self.client.id]).await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        report.check(output.status.success(), || format!("grant revoke --client: {said}"));
        self.has_ended(server, &tokens, "by the command line", report).await;

        let mut other = Browser::signed_in(server, &self.user).await;
        let set = ["user", "set-password", &self.user.username, "--password-stdin"];
        let output = site.run_with(&set, "another password, long enough\n").await;
        report.check(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned());
        let ended = poll::within(MAX_STALENESS, async || {
            other.open("/account").await.form("login-form").is_some().then_some(())
        });
        report.check(ended.await.is_some(), || "a session outlived the password".to_owned());
        report.acknowledged += 3;
    }

    async fn has_ended(&self, server: &Server, tokens: &crate::harness::Tokens, how: &str, report: &mut Report) {
        let ended =
            poll::within(MAX_STALENESS, async || (!server.is_active(&self.client, &tokens.access).await).then_some(()));
        report.check(ended.await.is_some(), || format!("active after all was taken back {how}"));
        let answer = server.refresh(&self.client, &tokens.refresh).await;
        report.check(answer.status == 400, || format!("refreshed after all was taken back {how}: {answer}"));
    }
}
