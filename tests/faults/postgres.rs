//! What may happen to a PostgreSQL: it stops, loses connections, is slow, may only be read, has no disk left.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::harness::{Site, Store, poll, site::query, site::try_query};
use crate::proxy::Proxy;
use crate::rounds;
use crate::scenario::{POSTGRES, Report, Rounds, Run, Scenario};
use crate::world::SETTINGS;

pub const RESTART: Scenario = Scenario {
    name: "postgres-restart",
    fault: "PostgreSQL stopped hard and started again",
    stores: POSTGRES,
    rounds: Rounds { small: 2, full: 30 },
    run: |run| Box::pin(restart(run)),
};

pub const COMMIT: Scenario = Scenario {
    name: "postgres-commit",
    fault: "connections lost before, during and after COMMIT",
    stores: POSTGRES,
    rounds: Rounds { small: 2, full: 50 },
    run: |run| Box::pin(commit(run)),
};

pub const SLOW: Scenario = Scenario {
    name: "postgres-slow",
    fault: "appends take 5 s, then every message comes late",
    stores: POSTGRES,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(slow(run)),
};

pub const STALL: Scenario = Scenario {
    name: "postgres-stall",
    fault: "the network to PostgreSQL swallows everything for 15 s",
    stores: POSTGRES,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(stall(run)),
};

pub const READ_ONLY: Scenario = Scenario {
    name: "postgres-read-only",
    fault: "PostgreSQL read-only, as after a failover",
    stores: POSTGRES,
    rounds: Rounds { small: 2, full: 20 },
    run: |run| Box::pin(read_only(run)),
};

pub const FULL: Scenario = Scenario {
    name: "postgres-full",
    fault: "PostgreSQL's disk full",
    stores: POSTGRES,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(full(run)),
};

async fn restart(run: Run) -> Report {
    let cluster = Cluster::create(&std::env::temp_dir(), &[]);
    let site = Site::on_cluster(&cluster.url(), SETTINGS);
    rounds::online(&run, &site, &[], async |load, _| {
        cluster.stop();
        tokio::time::sleep(load.moment(Duration::from_secs(1))).await;
        cluster.start().expect("PostgreSQL starts again");
    })
    .await
}

async fn commit(run: Run) -> Report {
    let site = Site::new(Store::Postgres, SETTINGS);
    let proxy = Proxy::to(site.database()).await;
    rounds::online(&run, &site, &["--database", proxy.url()], async |load, _| {
        proxy.lose_appends(5);
        for _ in 0..10 {
            tokio::time::sleep(load.moment(Duration::from_millis(300))).await;
            if load.rng.bool() {
                proxy.kill_connections();
                continue;
            }
            // One backend in the middle of whatever it does.
            query(
                site.owner(),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'grantlog' \
                 AND datname = current_database() ORDER BY random() LIMIT 1",
            );
        }
        proxy.heal();
    })
    .await
}

async fn slow(run: Run) -> Report {
    let site = Site::new(Store::Postgres, SETTINGS);
    let proxy = Proxy::to(site.database()).await;
    rounds::online(&run, &site, &["--database", proxy.url()], async |_, _| {
        // In their own transaction, rows wait for a lock that somebody else holds.
        let database = site.owner().to_owned();
        let lock = "BEGIN; LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(5); COMMIT";
        tokio::task::spawn_blocking(move || query(&database, lock)).await.expect("psql runs");
        proxy.delay(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_secs(3)).await;
        proxy.heal();
    })
    .await
}

async fn stall(run: Run) -> Report {
    let site = Site::new(Store::Postgres, SETTINGS);
    let proxy = Proxy::to(site.database()).await;
    rounds::online(&run, &site, &["--database", proxy.url()], async |_, _| {
        proxy.stall();
        tokio::time::sleep(Duration::from_secs(15)).await;
        proxy.heal();
    })
    .await
}

async fn read_only(run: Run) -> Report {
    let cluster = Store::postgres_url().expect("tests/run sets it");
    let site = Site::new(Store::Postgres, SETTINGS);
    let name = query(site.owner(), "SELECT current_database()");
    let every_session = |setting: &str| {
        query(&cluster, &format!("ALTER DATABASE {name} {setting}"));
    };
    rounds::online(&run, &site, &[], async |_, server| {
        every_session("SET default_transaction_read_only = on");
        query(
            &cluster,
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'grantlog' AND datname = '{name}'"
            ),
        );
        poll::until("the server notices that nothing can be appended", async || {
            server.log().contains("read-only transaction").then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Sessions of this time stay read-only for as long as they live.
        every_session("RESET default_transaction_read_only");
    })
    .await
}

async fn full(run: Run) -> Report {
    let disk = Disk::new(400);
    let cluster = Cluster::create(disk.path(), &[]);
    let site = Site::on_cluster(&cluster.url(), SETTINGS);
    rounds::online(&run, &site, &[], async |_, server| {
        let failed = || server.log().matches("an append failed").count();
        let before = failed();
        disk.fill();
        // Room in a file that is already there is used up first.
        poll::until_at_most(Duration::from_secs(60), "the server notices that the disk is full", async || {
            (failed() > before).then_some(())
        })
        .await;
        disk.free();
        // PostgreSQL ends itself when it cannot write its WAL; whoever runs it starts it again.
        poll::until("PostgreSQL is up again", async || {
            let up = try_query(&cluster.url(), "SELECT 1").is_ok() || cluster.start().is_ok();
            up.then_some(())
        })
        .await;
    })
    .await
}
