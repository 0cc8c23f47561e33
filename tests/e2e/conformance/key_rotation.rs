//! Signing keys change while people sign in: OpenID Connect Core 10.1.1. No request fails, and every `kid` is found until the
//! last token with it has expired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::Value;

use super::rp::{Rp, now};
use crate::harness::{
    Browser, Server, Store, User, poll,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![no_request_fails_while_keys_rotate]];

/// Algorithms whose keys are changed, with a client for each.
const ALGORITHMS: [&str; 2] = ["RS256", "ES256"];
const ROTATIONS: usize = 3;

/// What was handed out: by `kid`, when the last token with it expires.
#[derive(Default)]
struct Issued {
    expiry: Mutex<BTreeMap<String, i64>>,
    flows: AtomicUsize,
    done: AtomicBool,
}

impl Issued {
    fn note(&self, id_token: &str, claims: &Value) {
        let kid = jsonwebtoken::decode_header(id_token).expect("a header").kid.expect("a kid");
        let exp = claims["exp"].as_i64().expect("exp");
        let mut expiry = self.expiry.lock().expect("not poisoned");
        let last = expiry.entry(kid).or_default();
        *last = exp.max(*last);
    }

    fn kids(&self) -> usize {
        self.expiry.lock().expect("not poisoned").len()
    }

    /// Those with tokens that have a second to live.
    fn needed(&self) -> BTreeSet<String> {
        let expiry = self.expiry.lock().expect("not poisoned");
        expiry.iter().filter(|(_, exp)| **exp > now() + 1).map(|(kid, _)| kid.clone()).collect()
    }
}

/// Signs in and refreshes until everything is done; each step must succeed, and each ID token is verified at once.
async fn sign_in_again_and_again(server: &Server, user: &User, alg: &'static str, issued: &Issued) {
    let rp = Rp::with(server, "code", &["--id-token-alg", alg]).await;
    let mut browser = Browser::signed_in(server, user).await;
    rp.login(&mut browser, user, &[]).await;
    while !issued.done.load(Ordering::SeqCst) {
        let login = rp.login(&mut browser, user, &[("prompt", "none")]).await;
        issued.note(login.id_token(), &login.claims);
        let refresh_token = login.tokens["refresh_token"].as_str().expect("a refresh token");
        let refreshed = server.refresh(&rp.client, refresh_token).await.expect(200).json();
        let id_token = refreshed["id_token"].as_str().expect("an ID token");
        issued.note(id_token, &rp.validated(id_token).await);
        issued.flows.fetch_add(1, Ordering::SeqCst);
    }
}

/// Looks all the time whether every key that is still needed is published.
async fn watch(server: &Server, issued: &Issued) {
    while !issued.done.load(Ordering::SeqCst) {
        let needed = issued.needed();
        let keys = server.get("/oauth/jwks").send().await.expect(200).json();
        let keys = keys["keys"].as_array().expect("keys").iter().filter_map(|key| key["kid"].as_str());
        let published: BTreeSet<&str> = keys.collect();
        for kid in needed {
            assert!(
                published.contains(kid.as_str()),
                "{kid} signed tokens that have not expired, and is not published"
            );
        }
        tokio::task::yield_now().await;
    }
}

async fn rotate(server: &Server, issued: &Issued) {
    for keys in 1..=ROTATIONS + 1 {
        poll::until_at_most(poll::PATIENCE * 2, "the next keys sign", async || {
            (issued.kids() >= ALGORITHMS.len() * keys).then_some(())
        })
        .await;
        for alg in ALGORITHMS.iter().filter(|_| keys <= ROTATIONS) {
            server.site().run_well(&["key", "rotate", "--alg", alg]).await;
        }
    }
    // Until nothing that the first keys signed is good any more.
    let first = issued.expiry.lock().expect("not poisoned").values().min().copied().expect("a token");
    poll::until_at_most(poll::PATIENCE * 2, "the first keys are over", async || (now() > first).then_some(())).await;
    issued.done.store(true, Ordering::SeqCst);
}

async fn no_request_fails_while_keys_rotate(store: Store) {
    let settings =
        [("KEYS_PUBLISH_SECONDS", "1"), ("KEYS_RETIRED_SECONDS", "10"), ("OAUTH_ID_TOKEN_LIFETIME_SECONDS", "10")];
    let server = Server::start(store, &settings).await;
    let (user, issued) = (server.user().await, Issued::default());
    let flows = ALGORITHMS.map(|alg| sign_in_again_and_again(&server, &user, alg, &issued));
    // What fails in any of them ends the case.
    tokio::join!(futures::future::join_all(flows), watch(&server, &issued), rotate(&server, &issued));
    assert!(issued.flows.load(Ordering::SeqCst) > 2 * ALGORITHMS.len(), "nothing was going on");
    println!("{} flows with {} keys", issued.flows.load(Ordering::SeqCst), issued.kids());
}
