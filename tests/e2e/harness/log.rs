//! Rows that a test writes into the event log by itself: as a Grantlog would, or as somebody who has the database alone.

use std::path::Path;

use grantlog::entropy::Entropy;
use grantlog::secrets::{PepperSource, Secrets};
use grantlog_domain::Timestamp;
use grantlog_projections::db::{Db, OpenOptions, Value};
use grantlog_projections::mac::{Content, MacKeys};

use super::{Site, Store};

impl Site {
    /// Runs an INSERT whose rows have the code `''`, and gives them the one that a Grantlog would have given.
    pub async fn append_sql(&self, sql: &str) {
        self.append_coded(sql, &self.keys()).await;
    }

    /// The keys of the site's log.
    pub fn keys(&self) -> MacKeys {
        let source = PepperSource::File(self.directory().join("grantlog.pepper"));
        Secrets::open(&source, &[], &Entropy::system(), Timestamp(0)).expect("the site's pepper").mac_keys()
    }

    /// Runs statements as the role that the server runs as.
    #[allow(dead_code, reason = "the faults have no need of it")]
    pub async fn execute_as_server(&self, statements: &[&str]) {
        let db = match self.store() {
            Store::Postgres => Db::open(self.database(), &OpenOptions::default()).await.expect("it opens"),
            Store::Sqlite => self.open_database().await,
        };
        for sql in statements {
            assert!(db.execute(sql, &[]).await.expect(sql) > 0, "{sql}");
        }
    }

    async fn append_coded(&self, sql: &str, keys: &MacKeys) {
        let db = self.open_database().await;
        let mut tx = db.begin().await.expect("a transaction");
        tx.execute(sql, &[]).await.expect("appended");
        let rows = "SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, CAST(payload AS text), \
                    CAST(metadata AS text) FROM events WHERE mac = ''";
        let mut codes = Vec::new();
        for row in tx.fetch(rows, &[]).await.expect("read") {
            let text = |index| row.str(index).expect("a text");
            let content = Content {
                aggregate_type: text(0),
                aggregate_id: text(1),
                sequence: row.int(2).expect("a number"),
                event_type: text(3),
                event_version: text(4),
                payload: text(5),
                metadata: text(6),
            };
            let mac = keys.decided(&content).as_str().to_owned();
            codes.push((text(0).to_owned(), text(1).to_owned(), content.sequence, mac));
        }
        let of_row = "e.aggregate_type = c.t AND e.aggregate_id = c.i AND e.sequence = c.s";
        let texts = |of: fn(&(String, String, i64, String)) -> &String| {
            Value::TextArray(codes.iter().map(|code| Some(of(code).clone())).collect())
        };
        if db.is_postgres() {
            let sql = format!(
                "UPDATE events AS e SET mac = c.mac FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[]) \
                 AS c (t, i, s, mac) WHERE {of_row}"
            );
            let sequences = Value::IntArray(codes.iter().map(|code| Some(code.2)).collect());
            let values = [texts(|code| &code.0), texts(|code| &code.1), sequences, texts(|code| &code.3)];
            tx.execute(&sql, &values).await.expect("their codes");
        } else {
            let sql = format!(
                "UPDATE events AS e SET mac = c.mac FROM (SELECT value ->> 0 AS t, value ->> 1 AS i, value ->> 2 AS s, \
                 value ->> 3 AS mac FROM json_each($1)) AS c WHERE {of_row}"
            );
            tx.execute(&sql, &[serde_json::json!(codes).to_string().into()]).await.expect("their codes");
        }
        tx.commit().await.expect("committed");
    }

    /// The site's database, as its owner opens it.
    pub async fn open_database(&self) -> Db {
        let options = OpenOptions::default();
        match self.store() {
            Store::Postgres => Db::open(self.owner(), &options).await,
            Store::Sqlite => {
                let name = self.database().trim_start_matches("sqlite:");
                Db::open_sqlite(&self.directory().join(Path::new(name)), &options).await
            }
        }
        .expect("the database opens")
    }
}
