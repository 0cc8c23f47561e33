//! Four nodes on one PostgreSQL, each behind a proxy of its own; one after the other is cut off from the database. None may
//! say of a token that it is active when its end was acknowledged more than `max_staleness` before the question was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::watch;

use crate::harness::{Client, Server, Site, Store, User, http::Request, poll};
use crate::proxy::Proxy;
use crate::scenario::{POSTGRES, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "nodes",
    fault: "one of four nodes cut off from PostgreSQL",
    stores: POSTGRES,
    // A round takes about three seconds: with --full ten minutes.
    rounds: Rounds { small: 6, full: 200 },
    run: |run| Box::pin(rounds(run)),
};

const NODES: usize = 4;
/// `store.max_staleness_ms` of the nodes.
pub const MAX_STALENESS: Duration = Duration::from_secs(1);
/// How long a round's fault lasts: longer than what a node may rely on.
const FAULT: Duration = Duration::from_millis(2200);
/// Clients that issue and revoke at the same time.
const WORKERS: usize = 4;
/// Ended tokens that are asked for again and again; older ones were asked for often enough.
const ENDED_MAX: usize = 400;

/// The nodes, and the proxies between them and the database.
pub struct Cluster {
    pub site: Site,
    pub nodes: Vec<Server>,
    pub proxies: Vec<Proxy>,
}

impl Cluster {
    pub async fn start(nodes: usize) -> Cluster {
        let site = Site::new(Store::Postgres, &[("STORE_CONNECT_TIMEOUT_SECONDS", "2")]);
        let mut cluster = Cluster { site, nodes: Vec::new(), proxies: Vec::new() };
        for _ in 0..nodes {
            cluster.add().await;
        }
        cluster
    }

    pub async fn add(&mut self) {
        let proxy = Proxy::to(self.site.database()).await;
        self.nodes.push(Server::on(&self.site, &["--database", proxy.url()]).await);
        self.proxies.push(proxy);
    }

    pub async fn known(&self, client: Client) -> Client {
        for node in &self.nodes {
            node.knows(&client).await;
        }
        client
    }

    /// Waits until every node reads the log again.
    pub async fn ready(&self) {
        for node in &self.nodes {
            poll::until("a node is up to date again", async || {
                let ready = node.get("/health/ready").try_send().await;
                ready.is_ok_and(|answer| answer.status == 200).then_some(())
            })
            .await;
        }
    }
}

/// What comes between a node and its database.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Connections end, and no new ones are made.
    Refused,
    /// Nothing comes through, and nobody says so.
    Swallowed,
    /// Connections end again and again.
    Flapping,
}

pub const CUTS: [Cut; 3] = [Cut::Refused, Cut::Swallowed, Cut::Flapping];

impl Cut {
    pub async fn last(self, proxy: &Proxy, duration: Duration) {
        match self {
            Cut::Refused => proxy.cut(),
            Cut::Swallowed => proxy.stall(),
            Cut::Flapping => {
                let until = Instant::now() + duration;
                while Instant::now() < until {
                    proxy.kill_connections();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        if !matches!(self, Cut::Flapping) {
            tokio::time::sleep(duration).await;
        }
    }
}

/// What must not be active any more.
#[derive(Clone)]
struct Ended {
    token: Arc<str>,
    how: &'static str,
    /// When the answer that it has ended was here.
    at: Instant,
}

/// All that the workers share.
struct World {
    nodes: Vec<Server>,
    /// Issues, and is never disabled.
    service: Client,
    /// Asks.
    asking: Client,
    ended: watch::Sender<Vec<Ended>>,
    /// The node that is cut off in this round.
    victim: watch::Sender<Option<usize>>,
    stop: watch::Sender<bool>,
}

impl World {
    /// A node that is not cut off.
    fn healthy(&self, number: usize) -> &Server {
        let victim = *self.victim.borrow();
        let number = number % NODES;
        &self.nodes[if victim == Some(number) { (number + 1) % NODES } else { number }]
    }

    fn end(&self, token: &str, how: &'static str) {
        self.ended.send_modify(|ended| {
            ended.push(Ended { token: token.into(), how, at: Instant::now() });
            if ended.len() > ENDED_MAX {
                ended.remove(0);
            }
        });
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

async fn rounds(run: Run) -> Report {
    let cluster = Cluster::start(NODES).await;
    let service = cluster.known(cluster.nodes[0].service_client().await).await;
    let asking = cluster.known(cluster.nodes[0].api_client().await).await;
    let password = cluster.known(cluster.nodes[0].password_client().await).await;
    let mut report = Report { rounds: run.rounds, ..Report::default() };
    let world = Arc::new(World {
        nodes: cluster.nodes.clone(),
        service,
        asking,
        ended: watch::Sender::default(),
        victim: watch::Sender::default(),
        stop: watch::Sender::default(),
    });
    let workers: Vec<_> = (0..WORKERS).map(|number| tokio::spawn(revoke(Arc::clone(&world), number))).collect();
    let checkers: Vec<_> = (0..NODES).map(|node| tokio::spawn(ask(Arc::clone(&world), node))).collect();
    for round in 0..run.rounds {
        // The seed decides the order; every node and every cut gets its turn.
        let number = round + usize::try_from(run.seed % 12).unwrap_or(0);
        let (victim, cut) = (number % NODES, CUTS[number % CUTS.len()]);
        let parties = Parties::new(&cluster, &password).await;
        world.victim.send_replace(Some(victim));
        let disabling = parties.disable(&cluster.site, &world);
        tokio::join!(cut.last(&cluster.proxies[victim], FAULT), disabling);
        // While it is still cut off; or, where its connections only ended again and again, when it must know.
        tokio::time::sleep(MAX_STALENESS).await;
        parties.refused(&cluster.nodes[victim], &mut report).await;
        cluster.proxies[victim].heal();
        cluster.ready().await;
        world.victim.send_replace(None);
        if report.is_broken() {
            break;
        }
    }
    world.stop.send_replace(true);
    for acknowledged in join_all(workers).await {
        report.acknowledged += acknowledged.expect("a worker's end");
    }
    let mut unanswered = 0;
    for asked in join_all(checkers).await {
        let asked = asked.expect("a checker's end");
        unanswered += asked.notes.len();
        report.checked += asked.checked;
        report.violations.extend(asked.violations);
    }
    report.notes.push(format!("{unanswered} of the questions were answered 503"));
    // Not vacuous: there were nodes that did not know better.
    report.check(unanswered > 0 || run.rounds == 0, || "no question was ever answered 503".to_owned());
    report
}

/// A client and a user with a token each, to be disabled by an operator.
struct Parties {
    client: Client,
    client_token: String,
    user: User,
    user_token: String,
    password: Client,
}

impl Parties {
    async fn new(cluster: &Cluster, password: &Client) -> Parties {
        let node = &cluster.nodes[0];
        let client = cluster.known(node.service_client().await).await;
        let client_token = node.service_token(&client).await;
        let user = node.user().await;
        // The command line made the user; the node hears of it through the log.
        let form = [("grant_type", "password"), ("username", &*user.username), ("password", &*user.password)];
        let user_token = poll::until("the node knows a user that the command line made", async || {
            let answer = node.token_as(password, &form).await;
            (answer.status == 200).then(|| answer.json()["access_token"].as_str().expect("a token").to_owned())
        })
        .await;
        Parties { client, client_token, user, user_token, password: password.clone() }
    }

    async fn disable(&self, site: &Site, world: &World) {
        site.run_well(&["client", "disable", &self.client.id]).await;
        world.end(&self.client_token, "its client was disabled");
        site.run_well(&["user", "disable", &self.user.username]).await;
        world.end(&self.user_token, "its user was disabled");
    }

    /// A node that does not know of it gives them nothing.
    async fn refused(&self, node: &Server, report: &mut Report) {
        let as_client = node.post_as(&self.client, "/oauth/token", &[("grant_type", "client_credentials")]);
        let form = [("grant_type", "password"), ("username", &*self.user.username), ("password", &*self.user.password)];
        let as_user = node.post_as(&self.password, "/oauth/token", &form);
        let asked = [("token", self.client_token.as_str())];
        let introspection = node.post_as(&self.client, "/oauth/introspect", &asked);
        for (what, request) in [("client", as_client), ("user", as_user), ("asking client", introspection)] {
            let answer = request.try_send().await;
            let given = answer.as_ref().is_ok_and(|answer| answer.status == 200);
            report.check(!given, || format!("a disabled {what} is served: {answer:?}"));
        }
    }
}

/// Issues at one node and revokes at another until told to stop. Answers how many revocations were acknowledged.
async fn revoke(world: Arc<World>, worker: usize) -> usize {
    let (mut acknowledged, mut number) = (0, worker);
    while !world.stopped() {
        number += 1;
        let issue =
            world.healthy(number).post_as(&world.service, "/oauth/token", &[("grant_type", "client_credentials")]);
        let Ok(issued) = issue.try_send().await else { continue };
        let Some(token) = json_text(&issued.body, "access_token") else { continue };
        let revoke = world.healthy(number / 2).post_as(&world.service, "/oauth/revoke", &[("token", token.as_str())]);
        if revoke.try_send().await.is_ok_and(|answer| answer.status == 200) {
            world.end(&token, "it was revoked");
            acknowledged += 1;
        }
        // A steady trickle: what is measured here is who knows what, not how fast.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acknowledged
}

fn json_text(body: &[u8], name: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    json[name].as_str().map(str::to_owned)
}

/// Asks one node for what has ended, again and again. Each 503 is a note.
async fn ask(world: Arc<World>, node: usize) -> Report {
    let (mut report, server, mut number) = (Report::default(), world.nodes[node].clone(), node);
    while !world.stopped() {
        number = number.wrapping_mul(31).wrapping_add(7);
        let ended = {
            let ended = world.ended.borrow();
            // The newest half the time: that is where a node may not know yet.
            let at = if number.is_multiple_of(2) {
                ended.len().saturating_sub(1 + number % 60)
            } else {
                number % ended.len().max(1)
            };
            ended.get(at).cloned()
        };
        let Some(ended) = ended else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (what, request): (_, Request) = match number % 3 {
            0 => ("/api/me", server.get("/api/me").bearer(&ended.token)),
            _ => ("introspection", server.post_as(&world.asking, "/oauth/introspect", &[("token", &*ended.token)])),
        };
        // Both instants are of one clock, and the answer to the revocation was here before the first: nothing to allow for.
        let sent_at = Instant::now();
        let Ok(answer) = request.try_send().await else { continue };
        let active = answer.status == 200 && (what == "/api/me" || answer.json()["active"] == true);
        if sent_at >= ended.at + MAX_STALENESS {
            report
                .check(!active, || format!("node {node}, {what}: active {:?} after {}", sent_at - ended.at, ended.how));
        }
        if answer.status == 503 {
            report.notes.push(String::new());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    report
}
