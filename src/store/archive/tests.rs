//! Archiving on PostgreSQL: what may leave, what is in the file, what stays equal, and going on after every interruption.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{AccessToken, Grant, GrantCommand, GrantError, GrantEvent, GrantOpened, RevocationReason};
use grantlog_domain::session::SessionEvent;
use grantlog_domain::{Actor, ClientId, Event, Scope, SecretHash, SessionId, Timestamp, UserId};
use grantlog_projections::feed::Wake;
use grantlog_projections::{Now, Projector, ProjectorOptions, base, check, checkpoint, prepare, rebuild};
use uuid::Uuid;

use super::{ArchiveError, ArchiveOptions, Archived, Outcome, Progress, Reader, Stage, records};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::group_commit::NewEvent;
use crate::store::tests::{code, event, new_database, number, unlock};
use crate::store::{CommandContext, Ensured, ExecuteError, Store, StoreOptions};

const DAY: i64 = 86_400;
/// Midnight, and the beginning of a period of seven days.
const START: i64 = 2_900 * 7 * DAY;

/// A log that began at `START`, and its clock.
struct Past {
    store: Store,
    clock: Clock,
    folder: tempfile::TempDir,
    users: [UserId; 2],
    url: String,
}

/// `None`, and said so, without PostgreSQL.
async fn past() -> Option<Past> {
    let Some(url) = new_database().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return None;
    };
    let clock = Clock::manual(Timestamp(START));
    let store = open(&url, &clock).await;
    store.migrate(&mut |_| ()).await.expect("migrated");
    let users = [1, 2].map(|number| UserId(Uuid::from_u128(number)));
    Some(Past { store, clock, folder: tempfile::tempdir().expect("a folder"), users, url })
}

async fn open(url: &str, clock: &Clock) -> Store {
    let parsed = url.parse().expect("a URL");
    let store = Store::open(&parsed, StoreOptions::default(), clock.clone(), Entropy::system()).await.expect("opened");
    unlock(&store);
    store
}

fn row(id: &str, sequence: i64, event_type: &str, payload: String) -> NewEvent {
    let metadata = format!(r#"{{"event_id": "{}",   "actor":"system"}}"#, Uuid::nil());
    let (aggregate_id, event_type) = (id.to_owned(), event_type.to_owned());
    NewEvent { aggregate_id, sequence, event_type, payload, metadata, ..event(id, sequence) }
}

impl Past {
    /// Appends an event as if it were recorded now by the manual clock.
    async fn append(&self, id: &str, sequence: i64, event: impl Into<Event>) {
        let event: Event = event.into();
        let db = self.store.db();
        let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                   metadata, mac, recorded_at) \
                   VALUES ($1, $2, $3, $4, '1.0', $5::json, $6::json, $7, to_timestamp($8 / 1000.0))";
        let row = row(id, sequence, event.event_type(), event.payload().to_string());
        let row = NewEvent { aggregate_type: event.aggregate_type().to_owned(), ..row };
        let mac = code(&self.store, &row);
        let values = [
            row.aggregate_type.into(),
            row.aggregate_id.into(),
            sequence.into(),
            row.event_type.into(),
            row.payload.into(),
            row.metadata.into(),
            mac.into(),
            self.clock.now_millis().into(),
        ];
        db.execute(sql, &values).await.expect("appended");
    }

    fn new_id(&self) -> String {
        Entropy::system().uuid_v7(self.clock.now_millis()).to_string()
    }

    /// A grant made now that lives for so many days; answers its id.
    async fn grant(&self, user: Option<UserId>, days: i64) -> String {
        let id = self.new_id();
        let (at, expires_at) = (self.clock.now(), self.clock.now().plus_seconds(days * DAY));
        let scope = Scope::parse("profile").expect("a scope");
        let hash = SecretHash { pepper: 1, digest: [7; 32] };
        let opened = GrantOpened {
            grant_type: if user.is_some() { GrantType::Implicit } else { GrantType::ClientCredentials },
            client_id: ClientId(Uuid::from_u128(9)),
            user_id: user,
            session_id: None,
            scope: scope.clone(),
            access_token: AccessToken { hash, scope, expires_at },
            refresh_token: None,
            expires_at,
            at,
            authentication: None,
            consent: None,
        };
        self.append(&id, 1, GrantEvent::Opened(opened)).await;
        id
    }

    async fn sign_in(&self, user: UserId) {
        let id = SessionId(Entropy::system().uuid_v7(self.clock.now_millis()));
        let started = SessionEvent::Started {
            user_id: user,
            cookie: SecretHash { pepper: 1, digest: [3; 32] },
            amr: vec!["pwd".to_owned()],
            expires_at: self.clock.now().plus_seconds(3600),
            at: self.clock.now(),
        };
        self.append(&id.to_string(), 1, started).await;
    }

    fn days(&self, days: u64) {
        self.clock.advance(Duration::from_secs(days * 86_400));
    }

    /// Twelve weeks of grants and sign-ins, some of them ended by hand; the last grants still live.
    async fn live_on(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for week in 0..12 {
            for number in 0..4 {
                let user = [None, Some(self.users[0])][usize::from(number == 1)];
                let id = self.grant(user, 10).await;
                if number == 2 {
                    self.append(&id, 2, GrantEvent::Revoked { reason: RevocationReason::Client, at: self.clock.now() })
                        .await;
                }
                ids.push(id);
                self.sign_in(self.users[0]).await;
            }
            if week < 3 {
                ids.push(self.grant(Some(self.users[1]), 20).await);
                self.sign_in(self.users[1]).await;
            }
            self.days(7);
            let ensured = self.store.ensure_partitions().await.expect("looked at");
            assert!(matches!(ensured, Ensured::Made(_)), "{ensured:?}");
        }
        ids
    }

    async fn catch_up(&self) {
        prepare(self.store.log()).await.expect("prepared");
        let clock = self.clock.clone();
        let options = ProjectorOptions::new(Now::new(move || clock.now()));
        let projector = Projector::start(self.store.log(), &Wake::new(self.store.db()), options);
        let end = number(self.store.db(), "SELECT max(position) FROM events").await;
        for _ in 0..3000 {
            let all = checkpoint::all(self.store.db()).await.expect("checkpoints");
            if all.iter().all(|(found, _)| found.cursor.position >= end) {
                projector.stop().await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the tables do not reach the end");
    }

    fn options(&self, days: u64) -> ArchiveOptions {
        ArchiveOptions {
            older_than: Duration::from_secs(days * 86_400),
            folder: self.folder.path().to_owned(),
            dry_run: false,
            keep: false,
            read_models: None,
        }
    }

    async fn archive(&self, days: u64) -> Vec<Archived> {
        self.store.archive(&self.options(days), &mut |_| ()).await.expect("archived")
    }

    /// Every read model equals what base and log say, and can be built from them.
    async fn assert_equal(&self) {
        for name in grantlog_projections::engine::names() {
            let now = self.clock.now();
            let checked = check::check(self.store.log(), name, now, |_| ()).await.expect("checked");
            assert!(checked.comparison.is_equal(), "{name}: {:?}", checked.comparison);
            let rebuilt = rebuild::rebuild(self.store.log(), name, now, |_| ()).await.expect("rebuilt");
            assert!(rebuilt.comparison.is_some_and(|compared| compared.is_equal()), "{name}");
        }
    }

    async fn events(&self) -> i64 {
        number(self.store.db(), "SELECT count(*) FROM events").await
    }
}

/// What was archived, without the partitions that nobody used.
fn done(archived: &[Archived]) -> Vec<(&str, u64, &Path)> {
    let done = archived.iter().filter_map(|archived| match &archived.outcome {
        Outcome::Done { file, totals, .. } if totals.events > 0 => {
            Some((archived.partition.as_str(), totals.events, file.as_path()))
        }
        _ => None,
    });
    done.collect()
}

fn by() -> CommandContext {
    CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_leaves_and_everything_else_stays_as_it_was() {
    let Some(past) = past().await else { return };
    let ids = past.live_on().await;
    past.catch_up().await;
    let before = past.events().await;
    let shown = "SELECT count(*) FROM activity_v1";
    let activity = number(past.store.db(), shown).await;

    let possible =
        past.store.archive(&ArchiveOptions { dry_run: true, ..past.options(40) }, &mut |_| ()).await.expect("looked");
    assert!(possible.iter().any(|archived| matches!(archived.outcome, Outcome::Possible { .. })), "{possible:?}");
    assert_eq!(
        (past.events().await, fs::read_dir(past.folder.path()).expect("read").count()),
        (before, 0),
        "a dry run"
    );

    let archived = past.archive(40).await;
    let done = done(&archived);
    assert!(done.len() >= 2, "{archived:?}");
    let gone: u64 = done.iter().map(|(_, events, _)| events).sum();
    assert_eq!(past.events().await, before - gone as i64);
    // Nothing in the files is younger than asked, nor was of use since.
    let cutoff = past.clock.now().0 - 40 * DAY;
    let mut in_files = Vec::new();
    for (_, events, file) in &done {
        let mut reader = Reader::open(file).expect("opened");
        let mut count = 0;
        while let Some(event) = reader.next_event().expect("whole") {
            count += 1;
            in_files.push(event.aggregate_id);
        }
        assert_eq!(count, *events);
        assert!(reader.verify().expect("whole").trailer.over_since <= cutoff);
    }
    in_files.dedup();
    let records = records(past.store.db()).await.expect("records");
    let sums: Vec<_> =
        done.iter().map(|(_, _, file)| Reader::open(file).and_then(Reader::verify).expect("whole").sha256).collect();
    let recorded = records.iter().filter(|record| record.totals.events > 0).map(|record| record.file_sha256.clone());
    assert_eq!(recorded.collect::<Vec<_>>(), sums);
    // A user who has done little since still sees the archived events, and everything can be built again.
    assert!(number(past.store.db(), "SELECT count(*) FROM events_base").await > 0);
    assert_eq!(number(past.store.db(), shown).await, activity);
    past.assert_equal().await;

    // A grant that left is as one that never was; one that stayed is still itself.
    for id in &ids {
        let loaded = past.store.load::<Grant>(id).await.expect("loaded");
        assert_eq!(loaded.sequence == 0, in_files.contains(id), "{id}");
    }
    let revoke = GrantCommand::Revoke { reason: RevocationReason::Admin, at: past.clock.now() };
    let refused = past.store.execute::<Grant>(&in_files[0], revoke, &by()).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(GrantError::NotFound))), "{refused:?}");

    // Later runs go on from there, and the base follows what is shown.
    for _ in 0..30 {
        past.sign_in(past.users[1]).await;
    }
    past.days(30);
    past.catch_up().await;
    let next = past.archive(40).await;
    assert!(!self::done(&next).is_empty(), "{next:?}");
    past.assert_equal().await;
    let superseded = "SELECT count(*) FROM events_base b WHERE NOT EXISTS \
                      (SELECT 1 FROM activity_v1 a WHERE a.position = b.position)";
    assert_eq!(number(past.store.db(), superseded).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_stays_while_one_grant_in_it_may_be_of_use() {
    let Some(past) = past().await else { return };
    let long = past.grant(None, 300).await;
    past.grant(None, 1).await;
    past.days(200);
    past.store.ensure_partitions().await.expect("made");
    past.catch_up().await;
    let archived = past.archive(90).await;
    assert!(matches!(&archived[0].outcome, Outcome::Stays(reason) if reason.contains(&long)), "{archived:?}");
    assert_eq!(done(&archived), []);
    let of_it = |name: &str| name.contains(&archived[0].partition);
    let files = fs::read_dir(past.folder.path()).expect("read").map(|entry| entry.expect("an entry").file_name());
    assert!(!files.into_iter().any(|name| of_it(&name.to_string_lossy())), "nothing of it is left behind");
    // Longer than asked ago it ended: now it may go.
    past.days(191);
    past.catch_up().await;
    assert_eq!(done(&past.archive(90).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_judge_stays() {
    let Some(past) = past().await else { return };
    let mut damaged = event(&past.new_id(), 1);
    damaged.payload = "{}".to_owned();
    let newer = NewEvent { event_type: "grant.invented".to_owned(), ..event(&past.new_id(), 1) };
    past.store.group_commit().append(vec![damaged]).await.expect("appended");
    past.days(400);
    past.store.ensure_partitions().await.expect("made");
    // Recorded by the database's own clock, so as old as the test's: archived against that one.
    let look = async || past.store.archive(&past.options(0), &mut |_| ()).await.expect("looked");
    let behind = look().await;
    assert!(
        matches!(&behind[0].outcome, Outcome::Stays(reason) if reason.contains("has not come that far")),
        "{behind:?}"
    );
    past.catch_up().await;
    let archived = look().await;
    assert!(
        matches!(&archived[0].outcome, Outcome::Stays(reason) if reason.contains("nobody can tell")),
        "{archived:?}"
    );
    // One event before the damaged one in the order of the ids, of a kind that only a newer Grantlog knows.
    past.store.group_commit().append(vec![newer]).await.expect("appended");
    let objection = look().await;
    assert!(matches!(&objection[0].outcome, Outcome::Stays(_)), "{objection:?}");
}

/// A node of another version still keeps its tables, and this one does not know what they need.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_while_an_update_is_under_way() {
    let Some(past) = past().await else { return };
    past.live_on().await;
    past.catch_up().await;
    let before = past.events().await;
    for sql in [
        "INSERT INTO projection_checkpoint SELECT 'grants_v0_b1', name, 0, txid, position, recorded_at \
         FROM projection_checkpoint WHERE name = 'grants'",
        "INSERT INTO active_projection VALUES ('grants', 0, 'grants_v0_b1')",
    ] {
        past.store.db().execute(sql, &[]).await.expect(sql);
    }
    let archived = past.archive(40).await;
    assert!(!archived.is_empty());
    for archived in &archived {
        assert!(
            matches!(&archived.outcome, Outcome::Stays(reason) if reason.contains("another version")),
            "{archived:?}"
        );
    }
    assert_eq!(past.events().await, before);
}

/// As a process that ends at any of these moments: its session ends, its file stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_interrupted_anywhere_is_finished_by_the_next() {
    let stages = [Stage::Written, Stage::Compared, Stage::Named, Stage::Based, Stage::Detached, Stage::Dropped];
    for stage in stages {
        let Some(past) = past().await else { return };
        past.live_on().await;
        past.catch_up().await;
        let before = past.events().await;
        let options = past.options(40);
        let (url, clock) = (past.url.clone(), past.clock.clone());
        let interrupted = tokio::spawn(async move {
            let store = open(&url, &clock).await;
            let stop = &mut |progress: Progress<'_>| assert_ne!(progress, Progress::Reached(stage), "interrupted");
            store.archive(&options, stop).await
        });
        assert!(interrupted.await.is_err_and(|error| error.is_panic()), "{stage:?}");
        assert_nothing_is_lost(&past, before).await;
        past.assert_equal().await;
        // The session of the interrupted one may take a moment to end.
        let archived = loop {
            match past.store.archive(&past.options(40), &mut |_| ()).await {
                Err(ArchiveError::Busy) => tokio::time::sleep(Duration::from_millis(10)).await,
                archived => break archived.expect("archived"),
            }
        };
        assert!(!archived.is_empty(), "{stage:?}");
        assert_nothing_is_lost(&past, before).await;
        let left = "SELECT count(*) FROM archives a WHERE to_regclass(a.partition_name) IS NOT NULL";
        assert_eq!(number(past.store.db(), left).await, 0, "{stage:?}");
        assert!(number(past.store.db(), "SELECT count(*) FROM archives").await >= 2);
        let partial = |path: PathBuf| path.extension().is_some_and(|extension| extension == "partial");
        assert!(!fs::read_dir(past.folder.path()).expect("read").any(|entry| partial(entry.expect("an entry").path())));
        past.assert_equal().await;
    }
}

/// Each event is in the log, or in a whole file that `archives` names.
async fn assert_nothing_is_lost(past: &Past, before: i64) {
    let mut archived = 0;
    for record in records(past.store.db()).await.expect("records") {
        let found = Reader::open(Path::new(&record.file)).and_then(Reader::verify).expect("a whole file");
        assert_eq!(found.sha256, record.file_sha256);
        archived += i64::try_from(found.trailer.totals.events).expect("few");
    }
    assert_eq!(past.events().await + archived, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_meanwhile_is_in_the_file_too() {
    let Some(past) = past().await else { return };
    let id = past.grant(None, 1).await;
    past.days(200);
    past.store.ensure_partitions().await.expect("made");
    past.catch_up().await;
    let (mut appended, url, clock) = (false, past.url.clone(), past.clock.clone());
    let mut progress = |progress: Progress<'_>| {
        if progress == Progress::Reached(Stage::Based) && !std::mem::replace(&mut appended, true) {
            // Somebody ends the ancient grant after its file was written.
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, \
                               payload, metadata, mac, recorded_at) SELECT aggregate_type, aggregate_id, 2, \
                               'grant.revoked', '1.0', $2::json, metadata, $3, recorded_at FROM events \
                               WHERE aggregate_id = $1";
                    let payload = r#"{"revoked":{"reason":"client","at":1}}"#.to_owned();
                    let store = open(&url, &clock).await;
                    let mac = code(&store, &row(&id, 2, "grant.revoked", payload.clone()));
                    let values = [id.as_str().into(), payload.into(), mac.into()];
                    store.db().execute(sql, &values).await.expect("appended");
                    past.catch_up().await;
                });
            });
        }
    };
    let archived = past.store.archive(&past.options(90), &mut progress).await.expect("archived");
    assert_eq!(done(&archived).iter().map(|(_, events, _)| *events).collect::<Vec<_>>(), [2], "{archived:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_byte_of_a_file_is_found() {
    let Some(past) = past().await else { return };
    past.live_on().await;
    past.catch_up().await;
    let archived = past.archive(40).await;
    let (_, _, file) = done(&archived)[0];
    let whole = fs::read(file).expect("read");
    let copy = past.folder.path().join("copy");
    let damaged = |bytes: &[u8]| {
        fs::write(&copy, bytes).expect("written");
        Reader::open(&copy).and_then(Reader::verify).is_err()
    };
    assert!(!damaged(&whole), "the file itself");
    for at in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(damaged(&changed), "byte {at}");
    }
    for length in [0, 1, 39, 40, whole.len() / 2, whole.len() - 1] {
        assert!(damaged(&whole[..length]), "cut to {length}");
    }
    assert!(damaged(&[&whole[..], b"x"].concat()), "longer");
    // Somebody who can make a new seal cannot make other events pass for these: `archives` has the checksum.
    let foreign = Reader::open(file).and_then(Reader::verify).expect("whole");
    assert_eq!(foreign.sha256, records(past.store.db()).await.expect("records")[0].file_sha256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_base_is_noticed_by_whoever_would_build_on_it() {
    let Some(past) = past().await else { return };
    past.live_on().await;
    past.catch_up().await;
    past.archive(40).await;
    let db = past.store.db();
    base::verify(db).await.expect("as it was left");
    for attempt in [
        "UPDATE events_base SET sequence = 9",
        "TRUNCATE events_base",
        "DELETE FROM archives",
        "DELETE FROM events_base_sums",
    ] {
        let refused = db.execute(attempt, &[]).await.expect_err(attempt).to_string();
        assert!(refused.contains("append-only"), "{attempt}: {refused}");
    }
    db.execute("DELETE FROM events_base WHERE position = (SELECT min(position) FROM events_base)", &[])
        .await
        .expect("removed");
    assert!(base::verify(db).await.is_err());
    assert!(check::check(past.store.log(), "activity", past.clock.now(), |_| ()).await.is_err());
    assert!(rebuild::rebuild(past.store.log(), "activity", past.clock.now(), |_| ()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_file_of_that_name_is_not_overwritten() {
    let Some(past) = past().await else { return };
    past.live_on().await;
    past.catch_up().await;
    let before = past.events().await;
    let first = past.store.partitions().await.expect("partitions")[0].name.clone();
    let file = past.folder.path().join(format!("{first}.ndjson.zst"));
    fs::write(&file, "my diary").expect("written");
    let refused = past.store.archive(&past.options(40), &mut |_| ()).await;
    assert!(matches!(refused, Err(ArchiveError::FileExists(_))), "{refused:?}");
    assert_eq!((past.events().await, fs::read_to_string(&file).expect("read")), (before, "my diary".to_owned()));
}
