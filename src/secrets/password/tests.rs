//! What is verified, and what it costs others.

use super::*;

/// As cheap as Argon2 allows: the tests are about the rules around it.
fn settings() -> PasswordSettings {
    PasswordSettings { memory_kib: 8, iterations: 1, parallelism: 1, threads: 1, ..PasswordSettings::default() }
}

fn passwords(settings: PasswordSettings) -> Passwords {
    Passwords::new(settings, &Entropy::seeded(5)).expect("in range")
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[tokio::test]
async fn only_the_right_password_is_verified() {
    let passwords = passwords(settings());
    let stored = passwords.hash(secret("right"), Origin::default()).await.expect("hashed");
    assert!(stored.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    let verify = |password, stored| passwords.verify(secret(password), stored, Origin::default());
    assert!(matches!(verify("right", Some(stored.clone())).await, Ok(Verified::Yes { rehashed: None })));
    assert!(matches!(verify("wrong", Some(stored.clone())).await, Ok(Verified::No)));
    // In memory that another verification has used.
    assert!(matches!(verify("right", Some(stored.clone())).await, Ok(Verified::Yes { rehashed: None })));
    assert!(matches!(verify("right", None).await, Ok(Verified::No)));
    assert!(matches!(verify("right", Some(secret("$nonsense"))).await, Err(PasswordError::Damaged)));
}

#[tokio::test]
async fn a_hash_of_other_settings_is_verified_and_made_anew() {
    let stored = passwords(settings()).hash(secret("right"), Origin::default()).await.expect("hashed");
    let passwords = passwords(PasswordSettings { iterations: 2, ..settings() });
    let verified = passwords.verify(secret("right"), Some(stored), Origin::default()).await;
    let Ok(Verified::Yes { rehashed: Some(rehashed) }) = verified else { panic!("{verified:?}") };
    assert!(rehashed.expose().contains(",t=2,"));
    assert!(matches!(
        passwords.verify(secret("right"), Some(rehashed), Origin::default()).await,
        Ok(Verified::Yes { rehashed: None })
    ));
}

#[tokio::test]
async fn too_long_is_refused_and_never_verified() {
    let passwords = passwords(settings());
    let long = "x".repeat(PASSWORD_BYTES_MAX);
    let stored = passwords.hash(secret(&long), Origin::default()).await.expect("hashed");
    let longer = format!("{long}x");
    assert_eq!(passwords.hash(secret(&longer), Origin::default()).await.err(), Some(PasswordError::TooLong));
    assert!(matches!(passwords.verify(secret(&longer), Some(stored), Origin::default()).await, Ok(Verified::No)));
}

#[tokio::test]
async fn more_than_may_wait_are_busy() {
    let passwords = passwords(PasswordSettings { waiting_max: 0, ..settings() });
    let held = passwords.hold().await;
    assert_eq!(passwords.hash(secret("second"), Origin::default()).await.err(), Some(PasswordError::Busy));
    drop(held);
    assert!(passwords.hash(secret("third"), Origin::default()).await.is_ok());
}

/// proc_pid_stat(5): field 19 is the nice value, 41 the policy; the name of the thread is in parentheses.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hash_has_a_thread_of_the_lowest_priority() {
    let stat = || std::fs::read_to_string("/proc/thread-self/stat").expect("proc is mounted");
    let fields = |stat: &str| {
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let fields: Vec<String> = fields.split_whitespace().map(str::to_owned).collect();
        (fields[19 - 3].clone(), fields[41 - 3].clone())
    };
    let before = fields(&stat());
    let hashing = passwords(settings()).on_thread(Origin::default(), move |_| Ok(stat())).await.expect("hashed");
    assert_eq!(fields(&hashing), ("19".to_owned(), libc::SCHED_BATCH.to_string()));
    assert_eq!(fields(&stat()), before, "of that thread alone");
}

#[tokio::test]
async fn a_password_is_one_however_it_is_typed_and_old_hashes_hold() {
    // RFC 8265 4.2.2: composed and decomposed.
    let (composed, decomposed) = ("p\u{e4}sswort", "pa\u{308}sswort");
    let passwords = passwords(settings());
    let verify =
        |password, stored: &Secret<String>| passwords.verify(secret(password), Some(stored.clone()), Origin::default());
    let stored = passwords.hash(secret(decomposed), Origin::default()).await.expect("hashed");
    for typed in [composed, decomposed] {
        assert!(matches!(verify(typed, &stored).await, Ok(Verified::Yes { rehashed: None })), "{typed}");
    }
    // As they were made before: of what was typed. Whoever types that again is known either way from then on.
    let old = hash(&passwords.0.argon2, decomposed.as_bytes(), &[7; 16]).expect("hashed");
    assert!(matches!(verify(composed, &old).await, Ok(Verified::No)));
    let Ok(Verified::Yes { rehashed: Some(new) }) = verify(decomposed, &old).await else { panic!("not known") };
    assert!(matches!(verify(composed, &new).await, Ok(Verified::Yes { rehashed: None })));
    assert!(matches!(verify("pa\u{308}sswor", &new).await, Ok(Verified::No)));
}
