//! What an operator changes beside revocations, and how a node shows that it has heard of it.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::harness::{Client, Pkce, Server, poll};
use crate::nodes::{Cluster, MAX_STALENESS};
use crate::scenario::Report;

/// Longest that is waited for a node.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub enum Change {
    ClientDisabled,
    UserDisabled,
    SecretRotated,
    RedirectUriChanged,
    KeyRotated,
}

impl Change {
    pub const ALL: [Change; 5] = [
        Change::ClientDisabled,
        Change::UserDisabled,
        Change::SecretRotated,
        Change::RedirectUriChanged,
        Change::KeyRotated,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Change::ClientDisabled => "a disabled client",
            Change::UserDisabled => "a disabled user",
            Change::SecretRotated => "a rotated client secret",
            Change::RedirectUriChanged => "a changed redirect URI",
            Change::KeyRotated => "a rotated key",
        }
    }

    /// Makes the change on the command line, and asks every node until it answers as it must from then on. From the end of
    /// the command to the first such answer.
    pub async fn seen(self, cluster: &Cluster, asking: &Client, report: &mut Report) -> Vec<Duration> {
        let before = self.before(cluster, asking).await;
        cluster.site.run_well(&before.command.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let changed = Instant::now();
        report.acknowledged += 1;
        let lags = join_all(cluster.nodes.iter().map(async |node| {
            let (mut sent, mut late) = (Duration::ZERO, false);
            while self.is_old(node, asking, &before).await && sent < WAIT_MAX {
                late = late || sent >= MAX_STALENESS;
                sent = changed.elapsed();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (changed.elapsed(), late)
        }))
        .await;
        for (lag, late) in &lags {
            report.check(!late, || format!("{} was not seen for {lag:?}", self.name()));
        }
        lags.into_iter().map(|(lag, _)| lag).collect()
    }

    /// Something that every node knows, and the command that changes it.
    async fn before(self, cluster: &Cluster, asking: &Client) -> Before {
        let node = &cluster.nodes[0];
        let before = match self {
            Change::ClientDisabled | Change::SecretRotated => {
                let client = cluster.known(node.service_client().await).await;
                let verb = if matches!(self, Change::ClientDisabled) { "disable" } else { "rotate-secret" };
                let command = owned(&["client", verb, &client.id]);
                Before { command, known: node.service_token(&client).await, client }
            }
            Change::UserDisabled => {
                let client = cluster.known(node.password_client().await).await;
                let user = node.user().await;
                let known = poll::until("the node knows a user that the command line made", async || {
                    let form =
                        [("grant_type", "password"), ("username", &*user.username), ("password", &*user.password)];
                    let answer = node.token_as(&client, &form).await;
                    (answer.status == 200).then(|| answer.json()["access_token"].as_str().expect("a token").to_owned())
                })
                .await;
                Before { command: owned(&["user", "disable", &user.username]), known, client }
            }
            Change::RedirectUriChanged => {
                let client = cluster.known(node.web_client().await).await;
                let command = owned(&["client", "update", &client.id, "--redirect-uri", "https://moved.example/cb"]);
                Before { command, known: String::new(), client }
            }
            Change::KeyRotated => {
                let command = owned(&["key", "rotate", "--alg", "ES256", "--now"]);
                Before { command, known: keys(node).await, client: asking.clone() }
            }
        };
        for node in &cluster.nodes {
            poll::until("every node knows what is about to change", async || {
                self.is_old(node, asking, &before).await.then_some(())
            })
            .await;
        }
        before
    }

    /// Whether the node answers as it did before.
    async fn is_old(self, node: &Server, asking: &Client, before: &Before) -> bool {
        match self {
            Change::ClientDisabled | Change::UserDisabled => node.is_active(asking, &before.known).await,
            Change::SecretRotated => {
                let form = [("token", before.known.as_str())];
                node.post_as(&before.client, "/oauth/introspect", &form).send().await.status == 200
            }
            Change::RedirectUriChanged => {
                node.get(&node.code_url(&before.client, &Pkce::new())).send().await.status != 400
            }
            Change::KeyRotated => keys(node).await == before.known,
        }
    }
}

/// What stands before a change.
struct Before {
    command: Vec<String>,
    client: Client,
    /// A token that is active, or the keys that are published.
    known: String,
}

fn owned(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

async fn keys(node: &Server) -> String {
    node.get("/oauth/jwks").send().await.expect(200).text()
}
