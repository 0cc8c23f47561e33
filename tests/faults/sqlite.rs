//! What may happen to a SQLite file: its disk is full, read-only or broken, or another process has it locked.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::disk::Disk;
use crate::harness::{Site, Store, poll};
use crate::rounds;
use crate::scenario::{Report, Rounds, Run, SQLITE, Scenario};
use crate::strace::Injection;
use crate::world::{Load, SETTINGS};

pub const FULL: Scenario = Scenario {
    name: "sqlite-full",
    fault: "the disk of the SQLite file full",
    stores: SQLITE,
    rounds: Rounds { small: 2, full: 30 },
    run: |run| Box::pin(full(run)),
};

pub const READ_ONLY: Scenario = Scenario {
    name: "sqlite-read-only",
    fault: "the SQLite file read-only, at work and at the start",
    stores: SQLITE,
    rounds: Rounds { small: 2, full: 20 },
    run: |run| Box::pin(read_only(run)),
};

pub const BROKEN: Scenario = Scenario {
    name: "sqlite-io-error",
    fault: "fsync of the SQLite file fails",
    stores: SQLITE,
    rounds: Rounds { small: 2, full: 30 },
    run: |run| Box::pin(broken(run)),
};

pub const LOCKED: Scenario = Scenario {
    name: "sqlite-locked",
    fault: "another process writes to the SQLite file",
    stores: SQLITE,
    rounds: Rounds { small: 2, full: 20 },
    run: |run| Box::pin(locked(run)),
};

async fn full(run: Run) -> Report {
    let disk = Disk::new(256);
    let site = Site::on_file(&disk.path().join("grantlog.db"), SETTINGS);
    rounds::online(&run, &site, &[], async |load, server| {
        let noticed = server.log().matches("is full").count();
        disk.fill();
        poll::until("the server notices that the disk is full", async || {
            (server.log().matches("is full").count() > noticed).then_some(())
        })
        .await;
        tokio::time::sleep(load.moment(Duration::from_millis(500))).await;
        disk.free();
    })
    .await
}

/// At work: writing fails as on a file system that was mounted read-only. At the start: on one that is.
async fn read_only(run: Run) -> Report {
    let disk = Disk::new(256);
    let site = Site::on_file(&disk.path().join("grantlog.db"), SETTINGS);
    let mut load = Load::new(&run, &site, &[]).await;
    for _ in 0..run.rounds {
        let working = load.begin().await;
        tokio::time::sleep(load.moment(Duration::from_millis(300))).await;
        let injection = Injection::into(&load.world.server(), "pwrite64:error=EROFS").await;
        tokio::time::sleep(load.moment(Duration::from_secs(1))).await;
        injection.end().await;
        load.world.recovered().await;
        load.end(working).await;
        if !load.verify().await {
            break;
        }
        load.world.server().stop();
        disk.set_read_only(true);
        let output = site.run(&["serve", "--listen", "127.0.0.1:0"]).await;
        let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
        let says_why = text.contains("the file may only be read");
        load.report
            .check(!output.status.success() && says_why, || format!("a start on a read-only file system: {text}"));
        disk.set_read_only(false);
        load.world.restart().await;
        if !load.verify().await {
            break;
        }
    }
    load.finish().await
}

async fn broken(run: Run) -> Report {
    let site = Site::new(Store::Sqlite, SETTINGS);
    rounds::online(&run, &site, &[], async |load, server| {
        let from = load.rng.u8(1..10);
        let injection = Injection::into(server, &format!("fsync,fdatasync:error=EIO:when={from}+3")).await;
        tokio::time::sleep(load.moment(Duration::from_secs(1))).await;
        injection.end().await;
    })
    .await
}

async fn locked(run: Run) -> Report {
    let site = Site::new(Store::Sqlite, SETTINGS);
    let file = site.directory().join("grantlog.db");
    rounds::online(&run, &site, &[], async |load, _| {
        let mut other = SqliteConnection::connect(file.to_str().expect("UTF-8")).await.expect("it opens");
        other.execute("PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE").await.expect("its turn comes");
        // Longer and shorter than the server waits (5 s).
        let seconds = if load.rng.bool() { 2 } else { 7 };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        other.execute("ROLLBACK").await.expect("it gives way");
        other.close().await.expect("it closes");
    })
    .await
}
