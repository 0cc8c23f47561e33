//! What is answered from memory, against a bare warp route with the same request and answer, byte for byte.

use crate::Plan;
use crate::load::{self, Fixed};
use crate::servers::{Bare, Grantlog};
use crate::table::paired;

/// How many connections ask at once: throughput must not fall from the third to the fourth.
const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

/// Introspection, `/api/me` and discovery.
pub async fn rows(plan: &Plan, server: &Grantlog) {
    for (what, request) in requests(server).await {
        let bare = Bare::like(server.address, &request).await;
        pair(plan, server, &bare, (what, &request), plan.connections).await;
    }
}

/// Introspection by more and more connections.
pub async fn connection_rows(plan: &Plan, server: &Grantlog) {
    let [(what, request), ..] = requests(server).await;
    let bare = Bare::like(server.address, &request).await;
    for connections in CONNECTIONS {
        let what = format!("{what}, {connections} connections");
        pair(plan, server, &bare, (&what, &request), connections).await;
    }
}

async fn requests(server: &Grantlog) -> [(&'static str, Vec<u8>); 3] {
    let token = server.user_token().await["access_token"].as_str().expect("a token response has a token").to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    [
        ("introspection", load::post("/oauth/introspect", &server.basic, &format!("token={token}"))),
        ("/api/me", load::get("/api/me", &bearer)),
        ("discovery", load::get("/.well-known/oauth-authorization-server", "")),
    ]
}

/// A row of which both sides are measured in turn.
async fn pair(plan: &Plan, server: &Grantlog, bare: &Bare, (what, request): (&str, &[u8]), connections: usize) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let script = || vec![Fixed(request.to_vec()); connections];
        let bare = load::run(bare.address, script(), plan.length).await;
        theirs.push((bare.per_second, Some(bare.p99)));
        ours.push(load::run(server.address, script(), plan.length).await);
    }
    paired(what, &ours, ("bare warp, same bytes", &theirs));
}
