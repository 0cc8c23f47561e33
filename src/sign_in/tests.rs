//! What is looked at before a password is hashed, and what a failure counts for.

use std::net::IpAddr;

use grantlog_domain::Timestamp;
use grantlog_projections::live::Live;
use tempfile::TempDir;

use super::*;
use crate::app::AppInner;
use crate::clock::Clock;
use crate::config::Settings;
use crate::entropy::Entropy;
use crate::http::request_id::request_context;
use crate::secrets::Secrets;
use crate::secrets::password::{PasswordSettings, Passwords};
use crate::standing::tests::by_system;
use crate::store::vault::{SignInLimits, Vault};
use crate::store::{Store, StoreOptions};

const LIMITS: SignInLimits =
    SignInLimits { per_account: 2, per_address: 3, per_client: 3, lock: Duration::from_secs(900), rows: 100 };
const HONEST: &str = "192.0.2.1";
const ATTACKER: &str = "198.51.100.1";

/// A server with one user, Ann, and one thread that hashes. While it is held, whatever must be hashed is `Unavailable`.
struct Desk {
    app: App,
    passwords: Passwords,
    context: RequestContext,
    _folder: TempDir,
}

impl Desk {
    async fn new() -> Self {
        let cheap = PasswordSettings {
            memory_kib: 8,
            iterations: 1,
            parallelism: 1,
            threads: 1,
            waiting_max: 0,
            ..PasswordSettings::default()
        };
        Self::with(cheap).await
    }

    async fn with(hashing: PasswordSettings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = format!("sqlite:{}", folder.path().join("test.db").display());
        let mut settings = Settings::with(&[("database", &database)]).expect("settings");
        // Nobody tells its live models anything, so the log is asked.
        settings.store.max_staleness = Duration::ZERO;
        let (clock, entropy) = (Clock::manual(Timestamp(1_000_000)), Entropy::system());
        let options = StoreOptions::default();
        let store = Store::open(&settings.database, options, clock.clone(), entropy.clone()).await.expect("opened");
        store.migrate(&mut |_| ()).await.expect("migrated");
        let secrets = Secrets::ephemeral(&entropy);
        store.log().open(secrets.mac_keys());
        let passwords = Passwords::new(hashing, &entropy).expect("in range");
        let vault = Vault::new(store.db().clone(), secrets.clone(), passwords.clone(), clock.clone(), LIMITS);
        let app = App::new(AppInner { settings, store, live: Live::new(), secrets, clock, vault });
        let ann = UserId(app.new_id());
        app.vault.register(ann, "ann", Some(Secret::new("right".to_owned()))).await.expect("registered");
        let command = UserCommand::Register { at: app.now() };
        app.store.create::<User>(&ann.to_string(), command, &by_system()).await.expect("registered");
        let context = warp::test::request().filter(&request_context()).await.expect("a context");
        Self { app, passwords, context, _folder: folder }
    }

    async fn check(&self, from: &str, username: &str, password: &str) -> Result<UserId, SignInError> {
        let caller: IpAddr = from.parse().expect("an address");
        let context = RequestContext { caller, ..self.context.clone() };
        let password = Secret::new(password.to_owned());
        check_password(&self.app, username, password, super::caller(&context), &context).await
    }

    /// So many names that nobody has.
    async fn guess_names(&self, from: &str, count: u32) {
        for number in 0..count {
            let guessed = self.check(from, &format!("nobody{number}"), "wrong").await;
            assert!(matches!(guessed, Err(SignInError::Refused)), "{guessed:?}");
        }
    }
}

#[tokio::test]
async fn a_locked_address_is_refused_before_anything_is_hashed() {
    let desk = Desk::new().await;
    desk.guess_names(ATTACKER, LIMITS.per_address).await;
    let held = desk.passwords.hold().await;
    for (name, password) in [("ann", "right"), ("ann", "wrong"), ("nobody", "wrong")] {
        let refused = desk.check(ATTACKER, name, password).await;
        assert!(
            matches!(refused, Err(SignInError::TooMany { retry_after }) if retry_after == LIMITS.lock),
            "{refused:?}"
        );
    }
    let others = desk.check(HONEST, "ann", "right").await;
    assert!(matches!(others, Err(SignInError::Unavailable)), "theirs is hashed: {others:?}");
    drop(held);
    desk.check(HONEST, "ann", "right").await.expect("signed in");
}

#[tokio::test]
async fn a_locked_account_takes_the_same_work_and_gets_the_same_answer() {
    let desk = Desk::new().await;
    for _ in 0..LIMITS.per_account {
        assert!(matches!(desk.check(ATTACKER, "ann", "wrong").await, Err(SignInError::Refused)));
    }
    assert!(matches!(desk.check(HONEST, "ann", "right").await, Err(SignInError::Refused)));
    let _held = desk.passwords.hold().await;
    let locked = desk.check(HONEST, "ann", "right").await;
    assert!(matches!(locked, Err(SignInError::Unavailable)), "it is hashed too: {locked:?}");
}

#[tokio::test]
async fn a_right_password_behind_a_lock_counts_as_a_wrong_one_does() {
    let desk = Desk::new().await;
    for _ in 0..LIMITS.per_account {
        let _ = desk.check("203.0.113.1", "ann", "wrong").await;
    }
    for (from, password) in [(ATTACKER, "right"), (HONEST, "wrong")] {
        for _ in 0..LIMITS.per_address {
            assert!(matches!(desk.check(from, "ann", password).await, Err(SignInError::Refused)));
        }
        assert!(matches!(desk.check(from, "ann", password).await, Err(SignInError::TooMany { .. })));
    }
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_address() {
    let desk = Desk::new().await;
    for host in 1..=LIMITS.per_address {
        desk.guess_names(&format!("2001:db8::{host}"), 1).await;
    }
    assert!(matches!(desk.check("2001:db8::ffff", "ann", "right").await, Err(SignInError::TooMany { .. })));
    desk.check("2001:db8:0:1::1", "ann", "right").await.expect("signed in");
}

#[tokio::test]
async fn who_has_too_much_waiting_hears_so() {
    let hashing =
        PasswordSettings { memory_kib: 8, iterations: 1, parallelism: 1, threads: 1, ..PasswordSettings::default() };
    for hashing in [
        PasswordSettings { waiting_of_source_max: 0, ..hashing },
        PasswordSettings { waiting_of_account_max: 0, ..hashing },
    ] {
        let desk = Desk::with(hashing).await;
        let _held = desk.passwords.hold().await;
        let refused = desk.check(HONEST, "ann", "right").await;
        assert!(matches!(refused, Err(SignInError::TooMany { retry_after: BUSY_RETRY_AFTER })), "{refused:?}");
    }
}
