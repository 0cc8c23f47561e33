//! The machine's clock jumps a day ahead and then an hour back: nothing that has expired comes back to life, not even
//! over a crash, and what is given now still lives and ends as it should.

use std::fs;
use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::harness::{Client, Pkce, Server, Site, Store, poll};
use crate::scenario::{BOTH, Report, Rounds, Run, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "clock",
    fault: "the clock a day ahead, then an hour back, then kill -9",
    stores: BOTH,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(clock(run)),
};

/// The clock of the server and of its database, by libfaketime: an offset in a file that is read at every look.
struct Faked {
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Faked {
    fn new() -> Faked {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        // PostgreSQL runs as another user.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let variables = vec![
            ("LD_PRELOAD", library().to_str().expect("UTF-8").to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", directory.path().join("offset").to_str().expect("UTF-8").to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let faked = Faked { directory, variables };
        faked.set("+0");
        faked
    }

    /// Sets the clock to the true time and so many seconds.
    fn set(&self, offset: &str) {
        // Another file in its place, so that nobody reads half of it.
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{offset}\n")).expect("written");
        fs::rename(new, self.directory.path().join("offset")).expect("replaced");
    }
}

/// Where Debian's libfaketime is, on whatever machine.
fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").expect("libraries").flatten();
    let mut found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1")).filter(|file| file.exists());
    found.next().expect("libfaketime is installed (tests/run does it)")
}

async fn clock(run: Run) -> Report {
    let mut report = Report::default();
    let faked = Faked::new();
    let variables: Vec<(&str, &str)> = faked.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let cluster = match run.store {
        Store::Postgres => Some(Cluster::create(&std::env::temp_dir(), &variables)),
        Store::Sqlite => None,
    };
    for _ in 0..run.rounds {
        report.rounds += 1;
        faked.set("+0");
        let settings = [("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "15")];
        let site = match &cluster {
            Some(cluster) => Site::on_cluster(&cluster.url(), &settings),
            None => Site::new(run.store, &settings),
        };
        let site = variables.iter().fold(site, |site, (name, value)| site.with_variable(name, value));
        jumps(&site, &faked, &mut report).await;
    }
    report
}

/// What has expired on a day that was then taken back.
struct Expired {
    access: String,
    code: String,
    pkce: Pkce,
}

async fn jumps(site: &Site, faked: &Faked, report: &mut Report) {
    let server = Server::on(site, &[]).await;
    let (web, user) = (server.web_client().await, server.user().await);
    let pkce = Pkce::new();
    let first = server.tokens(&web, &user).await;
    let expired = Expired { code: server.code(&web, &user, &pkce).await, access: first.access, pkce };
    report.acknowledged += 2;

    faked.set("+86400");
    dead(&server, &web, &expired, report).await;
    // The grant lives for 30 days.
    let tomorrow = crate::harness::Tokens::of(server.refresh(&web, &first.refresh).await);
    report.check(server.is_active(&web, &tomorrow.access).await, || "a token of tomorrow is not active".to_owned());

    faked.set("-3600");
    dead(&server, &web, &expired, report).await;
    let back = crate::harness::Tokens::of(server.refresh(&web, &tomorrow.refresh).await);
    report.check(server.is_active(&web, &back.access).await, || "a token given after the step back".to_owned());

    server.kill();
    let server = Server::on(site, &[]).await;
    dead(&server, &web, &expired, report).await;
    let after = crate::harness::Tokens::of(server.refresh(&web, &back.refresh).await);
    report.acknowledged += 3;
    report.check(server.is_active(&web, &after.access).await, || "a token given after the crash".to_owned());
    // Time still passes: 15 seconds later it is over.
    poll::until("a token given after the step back expires", async || {
        (!server.is_active(&web, &after.access).await).then_some(())
    })
    .await;
    report.check(!server.log().contains("panicked"), || "something panicked; see the server's log".to_owned());
    let check = site.run(&["projections", "check"]).await;
    report.check(check.status.success(), || format!("projections check: {}", String::from_utf8_lossy(&check.stderr)));
}

async fn dead(server: &Server, web: &Client, expired: &Expired, report: &mut Report) {
    report.check(!server.is_active(web, &expired.access).await, || "an expired access token is active".to_owned());
    let answer = server.redeem(web, &expired.code, &expired.pkce).await;
    report.check(answer.status == 400, || format!("an expired code was taken: {answer}"));
}
