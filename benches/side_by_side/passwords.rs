//! What a password costs, and what others notice of it.

use crate::load::{self, Fixed, Outcome};
use crate::servers::Grantlog;
use crate::table::paired;
use crate::{Plan, scripts};

/// Connections that send passwords.
const PASSWORDS: usize = 8;

/// The password grant against Argon2id alone, and introspection while passwords are checked.
pub async fn rows(plan: &Plan, server: &Grantlog) {
    let token = server.user_token().await["access_token"].as_str().expect("a token response has a token").to_owned();
    let introspect = load::post("/oauth/introspect", &server.basic, &format!("token={token}"));
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    // One connection shows what a single request waits for; the others are the load of every other row.
    let mut beside = [1, plan.connections].map(|connections| (connections, Vec::<Outcome>::new(), Vec::new()));
    for _ in 0..plan.rounds {
        alone.push((scripts::argon2_alone(plan.length), None));
        ours.push(load::run(server.address, vec![Fixed(server.password()); PASSWORDS], plan.length).await);
        for (connections, idle, busy) in &mut beside {
            let asking = || load::run(server.address, vec![Fixed(introspect.clone()); *connections], plan.length);
            idle.push(asking().await);
            let passwords = load::run(server.address, vec![Fixed(server.password()); PASSWORDS], plan.length);
            busy.push(tokio::join!(asking(), passwords).0);
        }
    }
    paired("password grant", &ours, ("Argon2id alone, as many threads as cores", &alone));
    for (connections, idle, busy) in &beside {
        let what = format!("introspection beside password grants, {connections} connections");
        let idle: Vec<_> = idle.iter().map(|idle| (idle.per_second, Some(idle.p99))).collect();
        paired(&what, busy, ("the same when idle", &idle));
    }
}
