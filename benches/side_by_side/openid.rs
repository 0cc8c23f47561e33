//! What is signed, against `openssl speed` with the same kind of key on the same cores; and tokens that are checked offline,
//! against a bare warp route with the same answer.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use grantlog::resource::{Authorized, Jwt, JwtSettings, ResourceServer, refusal};
use warp::Filter as _;

use crate::load::{self, Fixed, Outcome};
use crate::servers::{Bare, Grantlog, Kind, free_address, wait_until_ready};
use crate::table::{median, row};
use crate::{Plan, name, scripts};

/// `alg`, and what `openssl speed` calls it.
const ALGORITHMS: [(&str, &str); 2] = [("ES256", "ecdsap256"), ("RS256", "rsa2048")];

/// Codes redeemed with an ID token, whole flows, access tokens as JSON Web Tokens, and these checked by an API.
pub async fn rows(plan: &Plan) {
    for (alg, key) in ALGORITHMS {
        let signatures = signatures(key, plan.length);
        let against = format!("openssl speed {key}, signatures");
        let held = |rate: f64| Some((against.as_str(), rate, None));
        let with_id_token = ["--id-token-alg", alg];
        let server = Arc::new(Grantlog::start_as(Kind::Postgres, "openid profile", &with_id_token, &[]).await);
        let [redemptions, flows] = code_flows(plan, &server).await;
        let store = name(Kind::Postgres);
        row(&format!("code redemption with an ID token, {alg}, {store}"), &redemptions, held(signatures));
        row(&format!("whole code flows with an ID token, {alg}, {store}"), &flows, held(signatures));
        drop(server);

        let settings = [("GRANTLOG_OAUTH_ACCESS_TOKEN_SIGNING_ALG", alg)];
        let jwt = ["--access-token-format", "jwt"];
        let server = Grantlog::start_as(Kind::Postgres, "profile", &jwt, &settings).await;
        let tokens = || vec![Fixed(server.client_credentials()); plan.connections];
        let mut issued = Vec::new();
        for _ in 0..plan.rounds {
            issued.push(load::run(server.address, tokens(), plan.length).await);
        }
        row(
            &format!("client_credentials tokens that are JWTs, {alg}, {store}"),
            &median(issued.iter()),
            held(signatures),
        );
        let (ours, bare) = offline(plan, &server).await;
        let bare = Some(("bare warp, same bytes", bare.per_second, Some(bare.p99)));
        row(&format!("a JWT access token checked offline by the filter, {alg}"), &ours, bare);
    }
}

async fn code_flows(plan: &Plan, server: &Arc<Grantlog>) -> [Outcome; 2] {
    let cookie = server.sign_in().await;
    server.consent(&cookie).await;
    let (mut redeemed, mut flown) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let codes = scripts::codes(server, &cookie, plan.connections, plan.length).await;
        let families = scripts::Families::default();
        let redemptions = scripts::redemptions(server, codes, &families, plan.connections);
        redeemed.push(load::run(server.address, redemptions, plan.length).await);
        let flows = scripts::flows(server, &cookie, plan.connections);
        flown.push(load::run(server.address, flows, plan.length).await);
    }
    // One flow is three requests: authorize, token, introspect.
    let flows = median(flown.iter());
    [median(redeemed.iter()), Outcome { per_second: flows.per_second / 3.0, ..flows }]
}

/// Signatures a second of all cores, nothing else running.
fn signatures(key: &str, length: Duration) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new("openssl")
        .args(["speed", "-seconds", &length.as_secs().max(1).to_string(), "-multi", &cores.to_string(), key])
        .output()
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    // "rsa 2048 bits 0.000288s 0.000008s 3472.5 123456.7": seconds for each operation, then operations a second.
    let rate = text.lines().rev().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_time = |word: &&str| word.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
        let last = words.iter().rposition(is_time)?;
        words.get(last + 1)?.parse::<f64>().ok()
    });
    rate.unwrap_or_else(|| panic!("openssl speed {key} printed no rate:\n{text}"))
}

/// An API that checks tokens by itself, and the same answer from bare warp.
async fn offline(plan: &Plan, server: &Grantlog) -> (Outcome, Outcome) {
    let (status, _, body) = load::once(server.address, &server.client_credentials()).await;
    assert_eq!(status, 200, "{body}");
    let token: serde_json::Value = serde_json::from_str(&body).expect("a token response is JSON");
    let token = token["access_token"].as_str().expect("a token");
    let request = load::get("/hello", &format!("Authorization: Bearer {token}\r\n"));
    let api = Api::start(server.address).await;
    let bare = Bare::like(api.address, &request).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let script = || vec![Fixed(request.clone()); plan.connections];
        theirs.push(load::run(bare.address, script(), plan.length).await);
        ours.push(load::run(api.address, script(), plan.length).await);
    }
    (median(ours.iter()), median(theirs.iter()))
}

struct Api {
    address: SocketAddr,
    process: Child,
}

impl Api {
    async fn start(server: SocketAddr) -> Self {
        let address = free_address();
        let this = std::env::current_exe().expect("a program knows itself");
        let mut command = Command::new(this);
        command.args(["--api", &address.to_string(), &format!("http://{server}")]);
        let process = command.spawn().expect("the API starts");
        wait_until_ready(address).await;
        Self { address, process }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server of `--api`.
pub async fn serve_api(address: SocketAddr, issuer: &str) {
    let settings = JwtSettings::new(issuer, issuer, format!("{issuer}/oauth/jwks"));
    let protect = ResourceServer::jwt(Jwt::new(settings).expect("settings that fit together"));
    let hello = |caller: Authorized| format!("hello {}\n", caller.client_id);
    let hello = warp::path!("hello").and(protect.require_oauth("profile")).map(hello).recover(refusal);
    let ready = warp::path!("health" / "ready").map(|| "ready");
    warp::serve(ready.or(hello)).run(address).await;
}
