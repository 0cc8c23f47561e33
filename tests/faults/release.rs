//! The next release joins, with every read model in a new version: it builds them beside those that answer while the flows
//! work, keeps them, and is taken back again.
//!
//! What makes this process the next release is that it has the same tables under the next version number. Only on
//! PostgreSQL: an SQLite file has one program at a time.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::SystemTime;

use grantlog_domain::{Recorded, Timestamp};
use grantlog_projections::db::{Db, DbError, OpenOptions, Row, Value};
use grantlog_projections::engine::{Projection, names, projection_of};
use grantlog_projections::log::Log;
use grantlog_projections::rebuild::build_anew;
use grantlog_projections::table::{Column, FoldError, Table};
use grantlog_projections::tables::{
    activity::Activity, clients::Clients, grants::Grants, keys::Keys, participants::Participants, sessions::Sessions,
    tokens::Tokens, users::Users,
};
use grantlog_projections::{Now, Projector, ProjectorOptions, Wake};

use crate::harness::{Site, site::query};
use crate::log;
use crate::probe::{Probe, Times};
use crate::rebuild::{WINDOW, site_with_a_log};
use crate::scenario::{POSTGRES, Report, Rounds, Run, Scenario};
use crate::world::Load;

pub const SCENARIO: Scenario = Scenario {
    name: "release",
    fault: "a release with new versions of all read models joins, and is taken back",
    stores: POSTGRES,
    rounds: Rounds { small: 1, full: 10 },
    run: |run| Box::pin(scenario(run)),
};

/// The same table in the next version.
struct Next<T>(PhantomData<T>);

impl<T: Table> Table for Next<T> {
    const NAME: &'static str = T::NAME;
    const VERSION: i64 = T::VERSION + 1;
    const AGGREGATES: &'static [&'static str] = T::AGGREGATES;
    const COLUMNS: &'static [Column] = T::COLUMNS;
    const KEY: usize = T::KEY;
    const ORDER: &'static str = T::ORDER;
    const INDEXES: &'static [&'static str] = T::INDEXES;
    const EXPIRES: Option<&'static str> = T::EXPIRES;
    type Row = T::Row;

    fn group(event: &Recorded) -> Option<String> {
        T::group(event)
    }

    fn opens(event: &Recorded) -> bool {
        T::opens(event)
    }

    fn fold(rows: &mut Vec<T::Row>, event: &Recorded) -> Result<(), FoldError> {
        T::fold(rows, event)
    }

    fn read(row: &Row) -> Result<T::Row, DbError> {
        T::read(row)
    }

    fn write(row: &T::Row) -> Vec<Value> {
        T::write(row)
    }
}

/// A read model in its two versions.
struct Versions {
    name: &'static str,
    columns: Vec<&'static str>,
    now: i64,
    next: Arc<dyn Projection>,
}

fn versions<T: Table>() -> Versions {
    let columns = T::COLUMNS.iter().map(|column| column.name).collect();
    Versions { name: T::NAME, columns, now: T::VERSION, next: projection_of::<Next<T>>() }
}

fn all() -> Vec<Versions> {
    let all = vec![
        versions::<Clients>(),
        versions::<Users>(),
        versions::<Sessions>(),
        versions::<Grants>(),
        versions::<Tokens>(),
        versions::<Keys>(),
        versions::<Activity>(),
        versions::<Participants>(),
    ];
    assert_eq!(all.iter().map(|it| it.name).collect::<Vec<_>>(), names(), "a read model is missing here");
    all
}

async fn scenario(run: Run) -> Report {
    let site = site_with_a_log(&run).await;
    let mut load = Load::new(&run, &site, &[]).await;
    let (mut before, mut during) = (Times::default(), Times::default());
    for _ in 0..run.rounds {
        let working = load.begin().await;
        let probe = Probe::start(&mut load).await;
        tokio::time::sleep(WINDOW).await;
        before.add(probe.take());
        let release = Release::joins(&site, &mut load.report).await;
        during.add(probe.take());
        let wrong = probe.end().await;
        load.report.check(wrong.is_none(), || format!("while the next release joined: {wrong:?}"));
        load.end(working).await;
        load.verify().await;
        log::caught_up(&site).await;
        compare(&site, &mut load.report);
        release.leaves(&site, &mut load.report).await;
        if load.report.is_broken() {
            break;
        }
    }
    let mut report = load.finish().await;
    if run.full {
        during.check_against(&before, &mut report);
    }
    report.notes.push(format!("introspection beside the flows: {before}; while a release joins: {during}"));
    report
}

/// The next release at work.
struct Release(Projector);

impl Release {
    async fn joins(site: &Site, report: &mut Report) -> Release {
        let db = Db::open(site.database(), &OpenOptions::default()).await.expect("PostgreSQL answers");
        let log = Log::new(db, site.keys());
        for Versions { name, next, .. } in all() {
            let built = build_anew(&log, next, now(), |_| ()).await.expect("a new version can be built");
            // Nothing answers in this version yet, and a server keeps the version before.
            let beside = built.replaced.is_none() && built.dropped.is_empty();
            report.check(beside, || format!("the new version of {name} took the place of another: {built:?}"));
        }
        let next = all().into_iter().map(|versions| versions.next).collect();
        Release(Projector::with(&log, &Wake::new(&log), ProjectorOptions::new(Now::new(now)), next))
    }

    /// It ends, and whoever rebuilds with the release before removes what it has left.
    async fn leaves(self, site: &Site, report: &mut Report) {
        self.0.stop().await;
        site.run_well(&["projections", "rebuild"]).await;
        let next = all().into_iter().map(|Versions { name, now, .. }| format!("('{name}', {})", now + 1));
        let next = next.collect::<Vec<_>>().join(", ");
        let left = format!("SELECT count(*) FROM projection_checkpoint WHERE (name, version) IN ({next})");
        let left = query(site.owner(), &left);
        report.check(left == "0", || format!("{left} tables of the release that left are still there"));
    }
}

/// Both versions hold the same rows: nobody works, and both are at the end of the log.
fn compare(site: &Site, report: &mut Report) {
    for Versions { name, columns, now, .. } in all() {
        let (columns, next) = (columns.join(", "), now + 1);
        let [one, other] = [now, next].map(|version| format!("SELECT {columns} FROM {name}_v{version}"));
        let differing = format!(
            "SELECT (SELECT count(*) FROM ({one} EXCEPT {other}) a) + (SELECT count(*) FROM ({other} EXCEPT {one}) b)"
        );
        let differing = query(site.owner(), &differing);
        report.check(differing == "0", || format!("{differing} rows of {name} differ between its versions"));
    }
}

fn now() -> Timestamp {
    Timestamp(SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs().cast_signed())
}
