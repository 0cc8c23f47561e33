//! kill -9 at random moments under load, and precisely between an append and its answer.

use std::time::Duration;

use crate::harness::{Site, Store, poll};
use crate::proxy::Proxy;
use crate::rounds;
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};
use crate::strace::Injection;
use crate::world::SETTINGS;

pub const SCENARIO: Scenario = Scenario {
    name: "kill",
    fault: "kill -9 at a random moment",
    stores: BOTH,
    rounds: Rounds { small: 4, full: 200 },
    run: |run| Box::pin(kill(run)),
};

pub const IN_APPEND: Scenario = Scenario {
    name: "kill-in-append",
    fault: "kill -9 between append and answer",
    stores: BOTH,
    rounds: Rounds { small: 3, full: 50 },
    run: |run| Box::pin(kill_in_append(run)),
};

async fn kill(run: Run) -> Report {
    let site = Site::new(run.store, SETTINGS);
    rounds::crash(&run, &site, &[], async |_, _| {}).await
}

async fn kill_in_append(run: Run) -> Report {
    let site = Site::new(run.store, SETTINGS);
    match run.store {
        Store::Postgres => {
            let proxy = Proxy::to(site.database()).await;
            rounds::crash(&run, &site, &["--database", proxy.url()], async |load, server| {
                proxy.hold_answers();
                proxy.until_held().await;
                tokio::time::sleep(load.moment(Duration::from_millis(20))).await;
                server.kill();
                proxy.heal();
            })
            .await
        }
        // The process dies in its n-th write to the file, or when it has written all and waits for the disk.
        Store::Sqlite => {
            rounds::crash(&run, &site, &[], async |load, server| {
                let call = if load.rng.bool() { "fsync,fdatasync" } else { "pwrite64" };
                let rule = format!("{call}:signal=SIGKILL:when={}", load.rng.u8(1..30));
                let injection = Injection::into(server, &rule).await;
                poll::until("the server dies while it writes", async || server.exit_status()).await;
                injection.end().await;
            })
            .await
        }
    }
}
