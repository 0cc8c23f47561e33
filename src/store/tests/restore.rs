//! After a logical restore, and with peppers that do not belong to the database.

use std::time::Duration;

use super::{Fresh, event, number, on_both, open, postgres};
use crate::secrets::{PepperSource, Secret, SecretsError};
use crate::store::{StoreError, StoreOptions};

#[tokio::test]
async fn a_log_from_another_cluster_is_refused_until_it_is_rebased() {
    let Some(fresh) = postgres(StoreOptions::default()).await else {
        eprintln!("SKIPPED: GRANTLOG_TEST_POSTGRES is not set");
        return;
    };
    let db = fresh.store.db();
    fresh.store.group_commit().append(vec![event("old", 1)]).await.expect("appended");
    // As a restore leaves it: rows from a cluster whose transaction ids were far ahead.
    db.execute("UPDATE log_identity SET system_identifier = 1", &[]).await.expect("changed");
    db.execute(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac, txid) \
         VALUES ('grant', 'restored', 1, 'grant.opened', '1.0', '{}', '{}', '', 5000000)",
        &[],
    )
    .await
    .expect("inserted");
    let check = fresh.store.check().await;
    assert!(matches!(check, Err(StoreError::ForeignLog { recorded: 1, .. })), "{check:?}");
    assert!(matches!(fresh.store.migrate(&mut |_| ()).await, Err(StoreError::ForeignLog { .. })));
    let bias = fresh.store.rebase().await.expect("rebased").expect("a bias");
    assert!(bias > 0);
    fresh.store.check().await.expect("at home");
    assert_eq!(fresh.store.rebase().await.expect("nothing to do"), None);
    let places = fresh.store.group_commit().append(vec![event("new", 1)]).await.expect("appended");
    assert!(places[0].txid > 5_000_000, "{places:?}");
    let visible = "SELECT count(*) FROM events WHERE txid < \
                   pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT bias FROM log_identity)";
    // Other tests have transactions in the same cluster, so it may take until those have ended.
    while number(db, visible).await != 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_lost_pepper_file_is_noticed_at_the_next_start() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let folder = tempfile::tempdir().expect("a folder");
        let source = PepperSource::File(folder.path().join("peppers"));
        let first = fresh.store.open_secrets(&source).await.expect("made");
        let again = open(fresh.url.expose(), StoreOptions::default()).await;
        let known = again.store.open_secrets(&source).await.expect("opened").known_peppers();
        assert_eq!(known, first.known_peppers());
        std::fs::remove_file(folder.path().join("peppers")).expect("removed");
        let lost = again.store.open_secrets(&source).await.err();
        assert!(matches!(lost, Some(StoreError::Secrets(SecretsError::Lost { id: 1, .. }))), "{lost:?}");
        assert!(!folder.path().join("peppers").exists());
        let other = PepperSource::Text(Secret::new(format!("1 {}", "A".repeat(43))));
        let swapped = again.store.open_secrets(&other).await.err();
        assert!(matches!(swapped, Some(StoreError::Secrets(SecretsError::Different { id: 1, .. }))), "{swapped:?}");
    })
    .await;
}
