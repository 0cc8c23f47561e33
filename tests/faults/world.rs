//! A site under load: its server, the flows that work on it, and what is asked of it after each fault.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::flow::Flow;
use crate::harness::{Browser, Client, Pkce, Server, Site, User, poll};
use crate::log::{self, Counted};
use crate::model::{Expected, Tally};
use crate::scenario::{Report, Run};

/// Flows at work at once.
pub const FLOWS: usize = 100;
/// A server that recovers from an outage gets so long.
const RECOVERY: Duration = Duration::from_secs(60);
/// Of so many percent of the grants the code or refresh token is used after each fault.
const DEEP_PERCENT: u8 = 25;

/// What the flows share.
pub struct World {
    pub site: Site,
    server: Mutex<Server>,
    running: AtomicBool,
    /// Arguments of every server that is started here.
    arguments: Mutex<Vec<String>>,
    pub service: Client,
    pub password: Client,
    pub web: Client,
    pub user: User,
    /// The cookies of a browser in which the user is signed in and has allowed the web client.
    pub cookies: String,
    /// What stood in the log before the flows began.
    before: Counted,
}

/// A world and its flows at rest.
pub struct Load {
    pub world: Arc<World>,
    pub flows: Vec<Flow>,
    pub report: Report,
    pub rng: Rng,
    /// The victim of the next round.
    victim: Option<Victim>,
    /// What is done beside the flows.
    tally: Tally,
}

/// A client that an operator disables while everything else goes on, and its tokens.
struct Victim {
    client: Client,
    tokens: Vec<String>,
    expected: Expected,
}

/// The flows at work.
pub struct Working {
    tasks: Vec<JoinHandle<Flow>>,
    operator: JoinHandle<Victim>,
}

/// Lifetimes long enough that nothing expires by itself during a slow fault.
pub const SETTINGS: &[(&str, &str)] =
    &[("OAUTH_CODE_LIFETIME_SECONDS", "600"), ("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "86400")];

/// Longest time until a server knows what the command line appended.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

impl World {
    /// Starts a server with these arguments, and makes its clients and its user.
    pub async fn new(site: &Site, arguments: &[&str]) -> Arc<World> {
        let server = Server::on(site, arguments).await;
        let user = server.user().await;
        let web = server.web_client().await;
        let mut browser = Browser::new(&server);
        browser.authorize(&server.code_url(&web, &Pkce::new()), &user).await.callback();
        let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // It asks about tokens of others too.
        let service = ["--kind", "machine", "--scope", "profile read", "--resource-server", "true"];
        let (service, password) = (server.client(&service).await, server.password_client().await);
        Arc::new(World {
            server: Mutex::new(server),
            running: AtomicBool::new(false),
            arguments: Mutex::new(arguments.iter().map(|text| (*text).to_owned()).collect()),
            service,
            password,
            web,
            user,
            cookies: cookies.join("; "),
            before: log::read(site).await.counted,
            site: site.clone(),
        })
    }

    pub fn server(&self) -> Server {
        self.server.lock().expect("not poisoned").clone()
    }

    pub fn is_running(&self) -> bool {
        self.running.load(SeqCst)
    }

    /// Starts the server again after it was killed or stopped.
    pub async fn restart(&self) {
        let arguments = self.arguments.lock().expect("not poisoned").clone();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let server = Server::on(&self.site, &arguments).await;
        *self.server.lock().expect("not poisoned") = server;
    }

    /// Waits until the server says that it is ready.
    pub async fn recovered(&self) {
        let server = self.server();
        poll::until_at_most(RECOVERY, "the server is ready again", async || {
            assert_eq!(server.exit_status(), None, "the server has ended");
            server.get("/health/ready").try_send().await.ok().filter(|answer| answer.status == 200)
        })
        .await;
    }
}

impl Load {
    pub async fn new(run: &Run, site: &Site, arguments: &[&str]) -> Load {
        let world = World::new(site, arguments).await;
        let flows = (0..FLOWS as u64).map(|number| Flow::new(&world, run.seed.wrapping_add(number << 32))).collect();
        Load {
            world,
            flows,
            report: Report::default(),
            rng: Rng::with_seed(run.seed),
            victim: None,
            tally: Tally::default(),
        }
    }

    /// Sets the flows to work.
    pub async fn begin(&mut self) -> Working {
        self.report.rounds += 1;
        let victim = self.world.victim().await;
        victim.tokens.iter().for_each(|_| self.tally.acknowledged("grant.opened"));
        self.world.running.store(true, SeqCst);
        let tasks = self.flows.drain(..).map(|flow| tokio::spawn(flow.run())).collect();
        let (world, wait) = (Arc::clone(&self.world), self.moment(Duration::from_millis(500)));
        let operator = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            world.disable(victim).await
        });
        Working { tasks, operator }
    }

    /// A token that no flow has, for who looks on.
    pub async fn token(&mut self) -> String {
        self.tally.acknowledged("grant.opened");
        self.world.server().service_token(&self.world.service).await
    }

    /// A random time up to `longest`.
    pub fn moment(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.rng.f64())
    }

    /// Lets the flows finish what they are at.
    pub async fn end(&mut self, working: Working) {
        self.world.running.store(false, SeqCst);
        for flow in join_all(working.tasks).await {
            self.flows.push(flow.expect("a flow does not panic"));
        }
        self.victim = Some(working.operator.await.expect("the operator does not panic"));
    }

    /// Holds everything that was acknowledged against what a server that is well says now. Answers whether all held.
    pub async fn verify(&mut self) -> bool {
        self.world.recovered().await;
        let deep = if self.flows.iter().all(|flow| flow.violations.is_empty()) { DEEP_PERCENT } else { 0 };
        self.flows = join_all(self.flows.drain(..).map(|flow| flow.verify(deep))).await;
        if let Some(victim) = self.victim.take() {
            self.world.verify_victim(&victim, &mut self.report).await;
        }
        self.flows.iter().all(|flow| flow.violations.is_empty()) && !self.report.is_broken()
    }

    /// Reads the whole log, compares the read models with it, and answers what was found.
    pub async fn finish(mut self) -> Report {
        let mut tally = std::mem::take(&mut self.tally);
        for flow in &mut self.flows {
            tally.add(&flow.tally);
            self.report.checked += flow.checked;
            self.report.violations.append(&mut flow.violations);
        }
        self.report.acknowledged += tally.total();
        log::check(&self.world.site, &self.world.before, &tally, &mut self.report).await;
        self.report
    }
}

impl Working {
    /// Waits until no command is at work any more.
    pub async fn operator_ended(&self) {
        poll::until("the operator has disabled a client", async || self.operator.is_finished().then_some(())).await;
    }
}

impl World {
    /// A client of its own with two tokens.
    async fn victim(&self) -> Victim {
        let server = self.server();
        let client = server.service_client().await;
        let tokens = vec![server.service_token(&client).await, server.service_token(&client).await];
        Victim { client, tokens, expected: Expected::Active }
    }

    async fn disable(&self, victim: Victim) -> Victim {
        let output = self.site.run(&["client", "disable", &victim.client.id]).await;
        let expected = if output.status.success() { Expected::Ended } else { Expected::Either };
        Victim { expected, ..victim }
    }

    /// A client that was disabled is not let in, and its tokens are not active.
    async fn verify_victim(&self, victim: &Victim, report: &mut Report) {
        if victim.expected != Expected::Ended {
            return;
        }
        report.acknowledged += 1;
        let (server, client) = (self.server(), &victim.client);
        // The command line appended it; the server hears of it through the log.
        let seen = poll::within(SEEN_WITHIN, async || {
            let answer =
                server.token_as(client, &[("grant_type", "refresh_token"), ("refresh_token", "unknown")]).await;
            (answer.status == 401).then_some(())
        });
        report.check(seen.await.is_some(), || "a client that was disabled is let in".to_owned());
        for token in &victim.tokens {
            let active = server.is_active(&self.service, token).await;
            report.check(!active, || "a token of a client that was disabled is active".to_owned());
        }
    }
}
