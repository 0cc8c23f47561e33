//! The ambiguous moments: a connection that is lost after the server has committed and before we hear of it, one that is
//! lost before the server has heard anything, and a database that is away for a while.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::{Fresh, event, new_database, number, open};
use crate::store::{AppendError, StoreOptions};

const PASS: u8 = 0;
/// Swallows the next answer of the server, then cuts the connection.
const CUT_ANSWER: u8 = 1;
/// Swallows the next request to the server, then cuts the connection.
const CUT_REQUEST: u8 = 2;

/// Stands between the store and the cluster's unix socket.
struct Proxy {
    cut: Arc<AtomicU8>,
    /// `false`: every connection ends, and none is taken.
    up: watch::Sender<bool>,
    folder: TempDir,
}

impl Proxy {
    fn start(server: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("bound");
        let (cut, up) = (Arc::new(AtomicU8::new(PASS)), watch::Sender::new(true));
        let (proxy_cut, mut proxy_up) = (Arc::clone(&cut), up.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *proxy_up.borrow_and_update() {
                    let server = UnixStream::connect(&server).await.expect("connected");
                    tokio::spawn(forward(client, server, Arc::clone(&proxy_cut), proxy_up.clone()));
                }
            }
        });
        Self { cut, up, folder }
    }
}

async fn forward(mut client: UnixStream, mut server: UnixStream, cut: Arc<AtomicU8>, mut up: watch::Receiver<bool>) {
    let (mut request, mut answer) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let (from, bytes) = tokio::select! {
            read = client.read(&mut request) => (CUT_REQUEST, &request[..read.unwrap_or(0)]),
            read = server.read(&mut answer) => (CUT_ANSWER, &answer[..read.unwrap_or(0)]),
            _ = up.changed() => return,
        };
        // The end of a connection, or the cut that was asked for; then both sides are dropped.
        if bytes.is_empty() || cut.compare_exchange(from, PASS, SeqCst, SeqCst).is_ok() {
            return;
        }
        let to = if from == CUT_REQUEST { &mut server } else { &mut client };
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// A store that reaches its fresh database only through a proxy, with its one lane connected and warm.
async fn behind_proxy() -> Option<(Fresh, Proxy)> {
    let url = new_database().await?;
    let options: PgConnectOptions = url.parse().expect("a URL");
    let Some(socket) = options.get_socket() else {
        eprintln!("SKIPPED: the test cluster is not reached through a unix socket");
        return None;
    };
    let proxy = Proxy::start(socket.join(format!(".s.PGSQL.{}", options.get_port())));
    let mut through = url::Url::parse(&url).expect("a URL");
    through.set_query(Some(&format!("host={}", proxy.folder.path().display())));
    let options = StoreOptions {
        append_lanes: 1,
        connect_timeout: Duration::from_secs(1),
        settle_timeout: Duration::from_secs(2),
        ..StoreOptions::default()
    };
    let fresh = open(through.as_str(), options).await;
    fresh.store.group_commit().append(vec![event("warm", 1)]).await.expect("appended");
    fresh.store.group_commit().append(vec![event("warm", 2), event("warm", 3)]).await.expect("appended");
    Some((fresh, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_is_lost_is_found_by_its_event_id() {
    let Some((fresh, proxy)) = behind_proxy().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    for (at, cut) in [CUT_ANSWER, CUT_REQUEST, CUT_ANSWER].into_iter().enumerate() {
        let id = format!("stream{at}");
        proxy.cut.store(cut, SeqCst);
        let places = fresh.store.group_commit().append(vec![event(&id, 1)]).await.expect("settled");
        assert_eq!(proxy.cut.load(SeqCst), PASS, "nothing was cut");
        let sql = format!("SELECT max(position) FROM events WHERE aggregate_id = '{id}'");
        assert_eq!(number(fresh.store.db(), &sql).await, places[0].position);
    }
    assert_eq!(number(fresh.store.db(), "SELECT count(*) FROM events").await, 6);
}

/// The same, in each step of the transaction that several events take: BEGIN, INSERT, COMMIT.
#[tokio::test(flavor = "multi_thread")]
async fn several_events_whose_answer_is_lost_are_there_once_or_not_at_all() {
    let Some((fresh, proxy)) = behind_proxy().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    for round in 0..30 {
        let id = format!("stream{round}");
        let append = tokio::spawn({
            let (store, id) = (fresh.store.clone(), id.clone());
            async move { store.group_commit().append(vec![event(&id, 1), event(&id, 2)]).await }
        });
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        proxy.cut.store(if round % 3 == 0 { CUT_REQUEST } else { CUT_ANSWER }, SeqCst);
        append.await.expect("no panic").expect("settled");
        proxy.cut.store(PASS, SeqCst);
        let sql = format!("SELECT count(*) FROM events WHERE aggregate_id = '{id}'");
        assert_eq!(number(fresh.store.db(), &sql).await, 2, "{id}");
    }
}

/// A conflict is not hidden by settling: the place belongs to somebody else's event.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_about_a_taken_place_is_a_conflict() {
    let Some((fresh, proxy)) = behind_proxy().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    proxy.cut.store(CUT_ANSWER, SeqCst);
    let outcome = fresh.store.group_commit().append(vec![event("warm", 1)]).await;
    assert_eq!(outcome, Err(AppendError::Conflict));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_not_available_and_comes_back_without_a_restart() {
    let Some((fresh, proxy)) = behind_proxy().await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    proxy.up.send_replace(false);
    let started = Instant::now();
    let outcome = fresh.store.group_commit().append(vec![event("one", 1)]).await;
    assert!(matches!(outcome, Err(AppendError::Unavailable(_))), "{outcome:?}");
    // Known to be away: answered at once from here on.
    let again = fresh.store.group_commit().append(vec![event("one", 1)]).await;
    assert!(matches!(again, Err(AppendError::Unavailable(_))), "{again:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    proxy.up.send_replace(true);
    fresh.store.group_commit().append(vec![event("one", 1)]).await.expect("appended");
    let count = "SELECT count(*) FROM events WHERE aggregate_id = 'one'";
    // Whoever takes a connection that rested for less than a second is who hears that it is dead, once for each.
    while let Err(error) = fresh.store.db().fetch(count, &[]).await {
        assert!(error.is_unavailable(), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
    }
    assert_eq!(number(fresh.store.db(), count).await, 1);
}
