//! A projection that a later program folds in another way.

use std::sync::Arc;

use grantlog_domain::{GrantId, Recorded};
use uuid::Uuid;

use super::super::projection;
use crate::check::compare;
use crate::db::{DbError, Row, Scan, Value};
use crate::feed::Wake;
use crate::rebuild::build_anew;
use crate::table::{Column, FoldError, Table};
use crate::tables::tokens::{self, Tokens};
use crate::testing::{NOW, append, append_all, now, postgres, scenario, until};
use crate::{Projector, ProjectorOptions, status};

/// The projection of the tokens as a later program would have it.
struct NextTokens;

impl Table for NextTokens {
    const VERSION: i64 = Tokens::VERSION + 1;
    const NAME: &'static str = Tokens::NAME;
    const AGGREGATES: &'static [&'static str] = Tokens::AGGREGATES;
    const COLUMNS: &'static [Column] = Tokens::COLUMNS;
    const KEY: usize = Tokens::KEY;
    const ORDER: &'static str = Tokens::ORDER;
    const INDEXES: &'static [&'static str] = Tokens::INDEXES;
    const EXPIRES: Option<&'static str> = Tokens::EXPIRES;
    type Row = <Tokens as Table>::Row;

    fn group(event: &Recorded) -> Option<String> {
        Tokens::group(event)
    }

    fn opens(event: &Recorded) -> bool {
        Tokens::opens(event)
    }

    fn fold(rows: &mut Vec<Self::Row>, event: &Recorded) -> Result<(), FoldError> {
        Tokens::fold(rows, event)
    }

    fn read(row: &Row) -> Result<Self::Row, DbError> {
        Tokens::read(row)
    }

    fn write(row: &Self::Row) -> Vec<Value> {
        Tokens::write(row)
    }
}

#[tokio::test]
async fn a_new_version_is_built_while_programs_of_the_earlier_one_run() {
    // On SQLite one program has the file.
    let Some(fresh) = postgres().await else { return };
    let db = &fresh.db;
    let events = scenario(15, 60);
    let (first, second) = events.split_at(events.len() / 2);
    append_all(db, first).await;
    let earlier = Projector::start(db, &Wake::new(db), ProjectorOptions::new(now()));
    let next = projection::of::<NextTokens>();
    let answering = async {
        for event in second {
            append(db, event).await;
            let rows = tokens::of_grant(db, GrantId(Uuid::from_u128(0x1000))).await;
            assert!(rows.is_ok(), "the earlier version answers: {rows:?}");
        }
    };
    let (built, ()) = tokio::join!(build_anew(db, Arc::clone(&next), NOW, |_| ()), answering);
    let built = built.unwrap();
    assert_eq!((built.replaced, built.dropped, built.comparison), (None, Vec::new(), None));
    let later = Projector::with(db, &Wake::new(db), ProjectorOptions::new(now()), vec![Arc::clone(&next)]);
    until("both are up to date", || async {
        let status = status::read(db, NOW).await.unwrap();
        status.tables.iter().filter(|table| table.name == "tokens").all(|table| table.lag_events == 0)
    })
    .await;
    let mut snapshot = Scan::open(db).await.unwrap();
    let both = compare(db, &mut snapshot, &*next, ["tokens_v1_b1", "tokens_v2_b1"], NOW).await.unwrap();
    assert!(both.is_equal() && both.left.rows > 0, "{both:?}");
    // When the programs of the earlier version have ended, its table goes with the next build.
    earlier.stop().await;
    let built = build_anew(db, next, NOW, |_| ()).await.unwrap();
    assert_eq!(built.dropped, ["tokens_v1_b1"]);
    assert!(built.comparison.unwrap().is_equal());
    later.stop().await;
}
