//! What must have one winner has one, however many try at once: on both stores, and across two server processes.

use std::collections::HashSet;

use futures::future::join_all;

use crate::harness::{
    Answer, Client, Pkce, Server, Site, Store, Tokens,
    suite::{Case, on, own},
};

pub const CASES: &[&[Case]] = &[
    own![
        of_fifty_redemptions_of_one_code_exactly_one_wins,
        of_fifty_refreshes_at_most_one_family_lives,
        of_fifty_refreshes_within_the_grace_at_most_one_family_lives,
        a_redemption_and_a_revocation_at_once_leave_nothing_half_done,
    ],
    on![Postgres:
        across_two_processes_exactly_one_redemption_wins,
        across_two_processes_at_most_one_family_lives,
    ],
];

const AT_ONCE: usize = 50;

/// What a loser may hear: that it lost, or that it should come again.
fn is_a_loss(answer: &Answer) -> bool {
    (answer.status == 400 && answer.json()["error"] == "invalid_grant")
        || (answer.status == 503 && answer.header("retry-after").is_some())
}

async fn race_for_a_code(servers: &[Server]) {
    let server = &servers[0];
    let (user, client) = (server.user().await, server.web_client().await);
    join_all(servers.iter().map(|server| server.knows(&client))).await;
    for _ in 0..3 {
        let pkce = Pkce::new();
        let code = server.code(&client, &user, &pkce).await;
        let attempts = (0..AT_ONCE).map(|number| servers[number % servers.len()].redeem(&client, &code, &pkce));
        let answers = join_all(attempts).await;
        let winners: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(winners.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert!(is_a_loss(answer), "{answer}");
        }
        // The others were replays: what the winner got is revoked (RFC 6749 4.1.2).
        let tokens = Tokens::of(winners[0].clone());
        server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
        crate::harness::poll::until("the winner's access token is revoked everywhere", async || {
            let active = join_all(servers.iter().map(|server| server.is_active(&client, &tokens.access))).await;
            active.iter().all(|active| !active).then_some(())
        })
        .await;
    }
}

/// Races, then counts the refresh tokens that still work: at most one may.
async fn race_for_a_refresh(servers: &[Server]) {
    let server = &servers[0];
    let (user, client) = (server.user().await, server.web_client().await);
    join_all(servers.iter().map(|server| server.knows(&client))).await;
    for _ in 0..3 {
        let first = server.tokens(&client, &user).await;
        let attempts = (0..AT_ONCE).map(|number| servers[number % servers.len()].refresh(&client, &first.refresh));
        let answers = join_all(attempts).await;
        let mut given = HashSet::new();
        for answer in &answers {
            if answer.status == 200 {
                given.insert(Tokens::of(answer.clone()).refresh);
            } else {
                assert!(is_a_loss(answer), "{answer}");
            }
        }
        assert!(!given.is_empty(), "nobody won: {:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        let living = count_living(server, &client, &given).await;
        assert!(living <= 1, "{living} families live");
    }
}

/// How many of these refresh tokens introspection calls active at the same time.
async fn count_living(server: &Server, client: &Client, refresh_tokens: &HashSet<String>) -> usize {
    let mut living = 0;
    for token in refresh_tokens {
        let answer = server.refresh(client, token).await;
        if answer.status == 200 {
            living += 1;
        } else {
            assert!(is_a_loss(&answer), "{answer}");
        }
    }
    living
}

async fn of_fifty_redemptions_of_one_code_exactly_one_wins(store: Store) {
    // RFC 6749 4.1.2 and 10.5.
    race_for_a_code(&[Server::start(store, &[]).await]).await;
}

async fn of_fifty_refreshes_at_most_one_family_lives(store: Store) {
    // RFC 9700 4.14.2.
    race_for_a_refresh(&[Server::start(store, &[]).await]).await;
}

async fn of_fifty_refreshes_within_the_grace_at_most_one_family_lives(store: Store) {
    // RFC 9700 4.14.2, setting `oauth.refresh_grace_seconds`.
    race_for_a_refresh(&[Server::start(store, &[("OAUTH_REFRESH_GRACE_SECONDS", "60")]).await]).await;
}

async fn a_redemption_and_a_revocation_at_once_leave_nothing_half_done(store: Store) {
    // RFC 7009 2: whichever comes first, after the revocation nothing of the grant is active.
    let server = Server::start(store, &[]).await;
    let (user, client) = (server.user().await, server.web_client().await);
    for _ in 0..10 {
        let tokens = server.tokens(&client, &user).await;
        let (refreshed, revoked) =
            tokio::join!(server.refresh(&client, &tokens.refresh), server.revoke_as(&client, &tokens.refresh));
        revoked.expect(200);
        assert!(!server.is_active(&client, &tokens.access).await);
        if refreshed.status == 200 {
            let tokens = Tokens::of(refreshed);
            assert!(!server.is_active(&client, &tokens.access).await, "a token was given after the revocation");
            server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
        } else {
            assert!(is_a_loss(&refreshed), "{refreshed}");
        }
    }
}

async fn two_nodes(store: Store) -> [Server; 2] {
    let site = Site::new(store, &[]);
    let first = Server::on(&site, &[]).await;
    let second = Server::on(&site, &[]).await;
    [first, second]
}

async fn across_two_processes_exactly_one_redemption_wins(store: Store) {
    // RFC 6749 4.1.2 and 10.5.
    race_for_a_code(&two_nodes(store).await).await;
}

async fn across_two_processes_at_most_one_family_lives(store: Store) {
    // RFC 9700 4.14.2.
    race_for_a_refresh(&two_nodes(store).await).await;
}
