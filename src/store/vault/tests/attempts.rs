//! Failed sign-ins: what they lock, for how long, and what is kept of them.

use super::super::Attempt;
use super::*;

/// One failure, as a sign-in counts it; answers whether it was allowed to be tried.
async fn fail(vault: &Vault, name: &str, source: Source) -> Attempt {
    let attempt = vault.sign_in_allowed(name, source).await.expect("read");
    if attempt == Attempt::Allowed {
        vault.sign_in_failed(name, source).await.expect("counted");
    }
    attempt
}

/// As many failures as lock an account for the whole time.
async fn lock(vault: &Vault, clock: &Clock, name: &str, source: Source) {
    for failures in 1..=LIMITS.per_account {
        if failures == LIMITS.per_account {
            // The pause behind the failure before it.
            clock.advance(Duration::from_secs(1));
        }
        vault.sign_in_failed(name, source).await.expect("counted");
    }
}

#[tokio::test]
async fn guessing_locks_the_account_and_a_lock_ends() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, clock) = vault(fresh);
        let second = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(fail(&vault, "ann", address(1)).await, Attempt::Allowed);
        }
        assert_eq!(fail(&vault, "Ann", address(2)).await, Attempt::Allowed);
        assert_eq!(fail(&vault, "ann", address(3)).await, Attempt::AccountLocked { retry_after: second });
        clock.advance(second);
        assert_eq!(fail(&vault, "ann", address(3)).await, Attempt::Allowed);
        // The fifth failure locks it for long, from everywhere; others are not concerned.
        assert_eq!(fail(&vault, "ann", address(4)).await, Attempt::AccountLocked { retry_after: LIMITS.lock });
        assert_eq!(fail(&vault, "bob", address(4)).await, Attempt::Allowed);
        clock.advance(LIMITS.lock + second);
        assert_eq!(fail(&vault, "ann", address(4)).await, Attempt::Allowed);
        // Success clears the account.
        assert_eq!(vault.sign_in_succeeded("ann", address(4)).await.expect("cleared"), Attempt::Allowed);
        for _ in 0..3 {
            assert_eq!(fail(&vault, "ann", address(5)).await, Attempt::Allowed);
        }
    })
    .await;
}

#[tokio::test]
async fn right_passwords_at_the_same_time_lock_nobody_out() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        for _ in 0..20 {
            assert_eq!(vault.sign_in_allowed("ann", address(1)).await.expect("read"), Attempt::Allowed);
        }
        for _ in 0..20 {
            assert_eq!(vault.sign_in_succeeded("ann", address(1)).await.expect("read"), Attempt::Allowed);
        }
    })
    .await;
}

#[tokio::test]
async fn a_guess_that_comes_out_right_behind_a_lock_is_refused() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        // All of them were allowed before the first one had failed.
        for _ in 0..LIMITS.per_account {
            vault.sign_in_failed("ann", address(1)).await.expect("counted");
        }
        let attempt = vault.sign_in_succeeded("ann", address(1)).await.expect("read");
        assert!(matches!(attempt, Attempt::AccountLocked { .. }));
    })
    .await;
}

#[tokio::test]
async fn an_address_that_guesses_names_is_locked_and_old_rows_are_forgotten() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, clock) = vault(fresh);
        for name in 0..8 {
            assert_eq!(fail(&vault, &format!("user{name}"), address(1)).await, Attempt::Allowed, "{name}");
        }
        let locked = Attempt::SourceLocked { retry_after: LIMITS.lock };
        assert_eq!(fail(&vault, "user9", address(1)).await, locked);
        let rows = async || number(fresh.store.db(), "SELECT count(*) FROM sign_in_attempts").await;
        assert_eq!(rows().await, 9);
        clock.advance(LIMITS.lock * 2 + Duration::from_secs(1));
        fail(&vault, "user9", address(2)).await;
        vault.forget_attempts().await.expect("forgotten");
        assert_eq!(rows().await, 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_locked_counts_for_its_source_and_not_for_itself() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, clock) = vault(fresh);
        lock(&vault, &clock, "ann", address(1)).await;
        clock.advance(Duration::from_secs(1));
        for _ in 0..LIMITS.per_address {
            vault.sign_in_failed("ann", address(2)).await.expect("counted");
        }
        // The lock of the account ends when it would have; who went on guessing is locked by now.
        let rest = LIMITS.lock - Duration::from_secs(1);
        let attempt = async |last| vault.sign_in_allowed("ann", address(last)).await.expect("read");
        assert_eq!(attempt(3).await, Attempt::AccountLocked { retry_after: rest });
        assert_eq!(attempt(2).await, Attempt::SourceLocked { retry_after: LIMITS.lock });
    })
    .await;
}

#[tokio::test]
async fn a_client_is_counted_by_itself_and_has_a_limit_of_its_own() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let new_client = || Source::Client(ClientId(Entropy::system().uuid_v7(1_000_000_000)));
        let (client, other) = (new_client(), new_client());
        for name in 0..LIMITS.per_client {
            assert_eq!(fail(&vault, &format!("user{name}"), client).await, Attempt::Allowed, "{name}");
        }
        assert_eq!(fail(&vault, "ann", client).await, Attempt::SourceLocked { retry_after: LIMITS.lock });
        assert_eq!(fail(&vault, "ann", other).await, Attempt::Allowed);
        assert_eq!(fail(&vault, "ann", address(1)).await, Attempt::Allowed);
    })
    .await;
}

#[tokio::test]
async fn no_flood_of_failures_pushes_a_lock_out() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, clock) = vault(fresh);
        let rows = async |what: &str| {
            number(fresh.store.db(), &format!("SELECT count(*) FROM sign_in_attempts WHERE locked_until {what}")).await
        };
        let attempt = async |name: &str| vault.sign_in_allowed(name, address(200)).await.expect("read");
        lock(&vault, &clock, "ann", address(0)).await;
        for last in 1..100 {
            clock.advance(Duration::from_secs(1));
            vault.sign_in_failed(&format!("user{last}"), address(last)).await.expect("counted");
        }
        vault.forget_attempts().await.expect("forgotten");
        assert!(matches!(attempt("ann").await, Attempt::AccountLocked { .. }));
        assert_eq!((rows("> 0").await, rows("= 0").await), (1, i64::from(LIMITS.rows)));
        // What is locked is bounded too; those that end first go.
        for number in 0..10 {
            lock(&vault, &clock, &format!("victim{number}"), address(100 + number)).await;
        }
        vault.forget_attempts().await.expect("forgotten");
        assert_eq!(rows("> 0").await, i64::from(LIMITS.rows));
        assert_eq!(attempt("ann").await, Attempt::Allowed, "its lock would have ended before all others");
        for number in 0..10 {
            assert!(matches!(attempt(&format!("victim{number}")).await, Attempt::AccountLocked { .. }), "{number}");
        }
    })
    .await;
}
