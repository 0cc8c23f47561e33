//! A backup taken while the server works, as docs/reliability.md tells operators to, and restored elsewhere.

use std::fs;
use std::process::Command;
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};

use crate::harness::{Server, Site, Store};
use crate::model::{Expected, Grant};
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};
use crate::world::{Load, SETTINGS};

pub const SCENARIO: Scenario = Scenario {
    name: "backup",
    fault: "restored from a backup that was taken under load",
    stores: BOTH,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(backup(run)),
};

async fn backup(run: Run) -> Report {
    let site = Site::new(run.store, SETTINGS);
    let mut load = Load::new(&run, &site, &[]).await;
    for _ in 0..run.rounds {
        // All that is acknowledged here was so before the backup began.
        let working = load.begin().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        load.end(working).await;
        load.verify().await;
        let before: Vec<Vec<Grant>> = load.flows.iter().map(|flow| flow.grants.clone()).collect();
        let working = load.begin().await;
        let restored = taken_and_restored(&site).await;
        load.end(working).await;
        let now: Vec<&Grant> = load.flows.iter().flat_map(|flow| &flow.grants).collect();
        let server = Server::on(&restored, &[]).await;
        for old in before.iter().flatten() {
            // What a grant went through after the snapshot is not known to have come before or after the backup.
            let Some(new) = now
                .iter()
                .find(|new| new.tokens.first().map(|it| &it.access) == old.tokens.first().map(|it| &it.access))
            else {
                continue;
            };
            hold(&server, old, new, &mut load.report).await;
        }
        server.stop();
        let check = restored.run(&["projections", "check"]).await;
        load.report.check(check.status.success(), || {
            format!("projections check of the restored: {}", String::from_utf8_lossy(&check.stderr))
        });
        let found = crate::log::read(&restored).await;
        load.report.checked += found.counted.values().sum::<usize>();
        load.report.violations.extend(found.wrong);
        if !load.verify().await {
            break;
        }
    }
    load.finish().await
}

/// What was so before the backup and still is must be so in it; so must every end.
async fn hold(server: &Server, old: &Grant, new: &Grant, report: &mut Report) {
    for token in &old.tokens {
        let Some(later) = new.tokens.iter().find(|later| later.access == token.access) else { continue };
        let expected = match (old.expected_of(token), new.expected_of(later)) {
            (Expected::Ended, _) => Expected::Ended,
            (Expected::Active, Expected::Active) => Expected::Active,
            _ => continue,
        };
        let active = server.is_active(&old.client, &token.access).await;
        report.check(expected.allows(active), || {
            format!(
                "{expected:?} was acknowledged before the backup, but after the restore the token is active: {active}"
            )
        });
    }
}

async fn taken_and_restored(site: &Site) -> Site {
    let restored = match site.store() {
        Store::Sqlite => {
            let restored = Site::new(Store::Sqlite, SETTINGS);
            let from = site.directory().join("grantlog.db");
            let mut reader = SqliteConnection::connect(from.to_str().expect("UTF-8")).await.expect("it opens");
            let to = restored.directory().join("grantlog.db");
            let done = sqlx::query("VACUUM INTO $1").bind(to.to_str().expect("UTF-8")).execute(&mut reader).await;
            done.expect("a backup");
            restored
        }
        Store::Postgres => {
            let dump = site.directory().join("backup.dump");
            let run = |command: &mut Command| {
                let output = command.output().expect("it comes with postgresql");
                assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            };
            // As docs/reliability.md says: the read models are built again.
            let exclude = "--exclude-table=grantlog_read_models.*";
            run(Command::new("pg_dump")
                .args(["--format=custom", exclude, "--dbname", site.owner(), "--file"])
                .arg(&dump));
            let restored = Site::empty(Store::Postgres, SETTINGS);
            run(Command::new("pg_restore").args(["--exit-on-error", "--dbname", restored.owner()]).arg(&dump));
            restored
        }
    };
    // The pepper is kept apart from the backups of the database.
    fs::copy(site.directory().join("grantlog.pepper"), restored.directory().join("grantlog.pepper")).expect("copied");
    restored
}
