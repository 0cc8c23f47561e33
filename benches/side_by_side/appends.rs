//! One append by one client, below HTTP: Grantlog's group commit against `persist` of postgres-es.

use std::time::{Duration, Instant};

use cqrs_es::persist::{PersistedEventRepository as _, SerializedEvent};
use grantlog::clock::Clock;
use grantlog::entropy::Entropy;
use grantlog::store::group_commit::NewEvent;
use grantlog::store::{Store, StoreOptions};
use grantlog_domain::grant::Grant;
use grantlog_projections::mac::{KEY_BYTES, MacKeys};
use postgres_es::{PostgresEventRepository, default_postgress_pool};

use crate::baselines::{METADATA, PAYLOAD};
use crate::load::Outcome;
use crate::table::{median, paired};
use crate::{Plan, servers};

/// Both write one event of the same size into the same table, and wait until it is durable.
pub async fn rows(plan: &Plan) {
    let database = servers::migrated_postgres_database().await;
    let url = database.parse().expect("a database URL");
    let store = Store::open(&url, StoreOptions::default(), Clock::system(), Entropy::system()).await;
    let store = store.expect("the store opens");
    store.log().open(MacKeys::new([(1, [1; KEY_BYTES])]));
    // postgres-es gives no event a code.
    let takes_any = "ALTER TABLE events DROP CONSTRAINT events_mac";
    store.db().execute(takes_any, &[]).await.expect("the constraint is dropped");
    let repository = PostgresEventRepository::new(default_postgress_pool(&database).await);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        theirs.push(repeat(plan.length, async |id| persist(&repository, id).await).await);
        ours.push(repeat(plan.length, async |id| append(&store, id).await).await);
    }
    store.close().await;
    let held = format!("postgres-es persist, p50 {:.2} ms", median(theirs.iter()).p50.as_secs_f64() * 1000.0);
    let theirs: Vec<_> = theirs.iter().map(|theirs| (theirs.per_second, Some(theirs.p99))).collect();
    paired("one append, one client", &ours, (&held, &theirs));
}

async fn append(store: &Store, id: String) {
    let event = NewEvent {
        aggregate_type: "grant".to_owned(),
        aggregate_id: id,
        sequence: 1,
        event_type: "grant.opened".to_owned(),
        event_version: "1.0".to_owned(),
        payload: PAYLOAD.to_owned(),
        metadata: METADATA.to_owned(),
        event_id: uuid::Uuid::nil(),
    };
    store.group_commit().append(vec![event]).await.expect("the event is appended");
}

async fn persist(repository: &PostgresEventRepository, id: String) {
    let event = SerializedEvent {
        aggregate_id: id,
        sequence: 1,
        aggregate_type: "grant".to_owned(),
        event_type: "grant.opened".to_owned(),
        event_version: "1.0".to_owned(),
        payload: serde_json::from_str(PAYLOAD).expect("JSON"),
        metadata: serde_json::from_str(METADATA).expect("JSON"),
    };
    repository.persist::<Grant>(&[event], None).await.expect("the event is persisted");
}

/// One after the other, with ids that rise with time.
async fn repeat(length: Duration, once: impl AsyncFn(String)) -> Outcome {
    let (entropy, clock) = (Entropy::system(), Clock::system());
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < length {
        let id = entropy.uuid_v7(clock.now_millis()).to_string();
        let sent = Instant::now();
        once(id).await;
        times.push(sent.elapsed());
    }
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    Outcome { per_second, p50: times[times.len() / 2], p99: times[(times.len() - 1) * 99 / 100], errors: 0 }
}
