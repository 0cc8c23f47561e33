//! What a password costs, and what others notice of it.

use crate::load::{self, Fixed};
use crate::servers::Grantlog;
use crate::table::{median, row};
use crate::{Plan, scripts};

/// The password grant against Argon2id alone, and introspection while passwords are checked.
pub async fn rows(plan: &Plan, server: &Grantlog) {
    let token = server.user_token().await["access_token"].as_str().expect("a token response has a token").to_owned();
    let introspect = load::post("/oauth/introspect", &server.basic, &format!("token={token}"));
    let (mut ours, mut alone, mut idle, mut busy) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        alone.push(scripts::argon2_alone(plan.length));
        ours.push(load::run(server.address, vec![Fixed(server.password()); 8], plan.length).await);
        idle.push(load::run(server.address, vec![Fixed(introspect.clone())], plan.length).await);
        let (_, during) = tokio::join!(
            load::run(server.address, vec![Fixed(server.password()); 8], plan.length),
            load::run(server.address, vec![Fixed(introspect.clone())], plan.length)
        );
        busy.push(during);
    }
    alone.sort_by(f64::total_cmp);
    row(
        "password grant",
        &median(ours.iter()),
        Some(("Argon2id alone, as many threads as cores", alone[alone.len() / 2], None)),
    );
    let idle = median(idle.iter());
    let busy = median(busy.iter());
    row(
        "introspection beside password grants, 1 connection",
        &busy,
        Some(("the same when idle", idle.per_second, Some(idle.p99))),
    );
}
