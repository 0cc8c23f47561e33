//! Rotating and retiring peppers, on both databases.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::client::{ApplicationType, ClientMetadata, GrantType, TokenEndpointAuthMethod};
use grantlog_domain::signing_key::Algorithm;
use grantlog_domain::{ClientId, Scope, UserId};

use super::{Fresh, on_both};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::secrets::password::{PasswordSettings, Passwords};
use crate::secrets::{Kind, PepperSource, Purpose, Secret, Secrets, SecretsError};
use crate::store::vault::{SignInLimits, Source, Vault, VaultError};
use crate::store::{StoreError, StoreOptions};

const HERE: Source = Source::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn source(ids: &[u8]) -> PepperSource {
    let line = |id: &u8| format!("{id} {}", URL_SAFE_NO_PAD.encode([*id; 32]));
    PepperSource::Text(Secret::new(ids.iter().map(line).collect::<Vec<_>>().join(";")))
}

fn vault(fresh: &Fresh, secrets: &Secrets) -> Vault {
    let cheap =
        PasswordSettings { memory_kib: 8, iterations: 1, parallelism: 1, threads: 2, ..PasswordSettings::default() };
    let passwords = Passwords::new(cheap, &Entropy::system()).expect("in range");
    let limits =
        SignInLimits { per_account: 5, per_address: 8, per_client: 12, lock: Duration::from_secs(900), rows: 10 };
    Vault::new(fresh.store.db().clone(), secrets.clone(), passwords, Clock::system(), limits)
}

fn new_user() -> UserId {
    UserId(Entropy::system().uuid_v7(1_000_000_000))
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// A database of pepper 1, and the secrets of a node that has it and 2, which has taken over.
async fn rotated(fresh: &Fresh) -> (Vault, Secrets) {
    let now = Clock::system().now();
    let first = fresh.store.open_secrets(&source(&[1])).await.expect("opened");
    let old = vault(fresh, &first);
    fresh.store.open_secrets(&source(&[1, 2])).await.expect("opened");
    fresh.store.use_pepper(2, now).await.expect("said");
    (old, fresh.store.open_secrets(&source(&[1, 2])).await.expect("opened"))
}

#[tokio::test]
async fn a_pepper_that_is_new_in_the_file_is_known_and_used_when_it_is_said() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let store = &fresh.store;
        assert_eq!(store.open_secrets(&source(&[1])).await.expect("opened").newest_pepper(), 1);
        assert_eq!(store.open_secrets(&source(&[1, 2])).await.expect("opened").newest_pepper(), 1);
        store.use_pepper(2, Clock::system().now()).await.expect("said");
        assert_eq!(store.open_secrets(&source(&[1, 2])).await.expect("opened").newest_pepper(), 2);
        let lost = store.open_secrets(&source(&[1])).await;
        assert!(matches!(lost, Err(StoreError::Secrets(SecretsError::Lost { id: 2, .. }))));
    })
    .await;
}

#[tokio::test]
async fn what_can_be_made_anew_opens_without_the_old_pepper() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (old, both) = rotated(fresh).await;
        let (ann, client) = (new_user(), ClientId(Entropy::system().uuid_v7(1_000_000_000)));
        old.register(ann, "Ann", Some(secret("right"))).await.expect("registered");
        let key = old.create_signing_key(Algorithm::ES256, None).await.expect("made");
        let metadata = ClientMetadata {
            client_name: "Signs".to_owned(),
            client_uri: None,
            redirect_uris: Vec::new(),
            grant_types: vec![GrantType::ClientCredentials],
            response_types: Vec::new(),
            scope: Scope::parse("read").expect("a scope"),
            token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretJwt,
            application_type: ApplicationType::Web,
            require_pkce: false,
            resource_server: false,
            openid: Box::default(),
        };
        let (shown, hash) = old.mint_client_secret(client, &metadata).await.expect("made");
        let subject = both.blind_index(Purpose::PairwiseSubject, "sector ann");

        let vault_of_both = vault(fresh, &both);
        assert_eq!(vault_of_both.held_under(1).await.expect("counted").rows(), 4);
        fresh.store.begin_retiring(1, Clock::system().now()).await.expect("said");
        let renewed = vault_of_both.renew(1, &mut |_| {}).await.expect("made anew");
        assert_eq!((renewed.rows, renewed.damaged.len()), (4, 0));
        assert_eq!(vault_of_both.held_under(1).await.expect("counted").rows(), 0);
        fresh.store.keep_identifiers(&both).await.expect("kept");
        fresh.store.end_retiring(1, Clock::system().now()).await.expect("said");

        let old_token = old_code(&both);
        let second = fresh.store.open_secrets(&source(&[2])).await.expect("opened without the first");
        let vault = vault(fresh, &second);
        assert_eq!(vault.verify_password("ann", secret("right"), HERE).await.expect("verified"), Some(ann));
        assert_eq!(vault.find("ANN").await.expect("found"), Some(ann));
        assert!(matches!(vault.register(new_user(), "ann", None).await, Err(VaultError::UsernameTaken)));
        assert!(vault.signer(&key.key_id).await.expect("opened").is_some());
        let opened = vault.client_secret(client, &hash).await.expect("opened").expect("there");
        assert_eq!(opened.expose(), shown.expose().as_bytes());
        assert_eq!(second.blind_index(Purpose::PairwiseSubject, "sector ann"), subject);
        assert_eq!(second.parse(Kind::Code, old_token.expose()), None);
        // And again with the line still there, and with a third one that takes the kept key over.
        for ids in [&[1, 2][..], &[1, 2, 3]] {
            let secrets = fresh.store.open_secrets(&source(ids)).await.expect("opened");
            assert_eq!(secrets.parse(Kind::Code, old_token.expose()), None);
        }
        fresh.store.use_pepper(3, Clock::system().now()).await.expect("said");
        let third = fresh.store.open_secrets(&source(&[2, 3])).await.expect("opened");
        fresh.store.begin_retiring(2, Clock::system().now()).await.expect("said");
        let vault = self::vault(fresh, &third);
        assert_eq!(vault.renew(2, &mut |_| {}).await.expect("made anew").rows, 4);
        fresh.store.keep_identifiers(&third).await.expect("kept");
        fresh.store.end_retiring(2, Clock::system().now()).await.expect("said");
        let third = fresh.store.open_secrets(&source(&[3])).await.expect("opened");
        assert_eq!(third.blind_index(Purpose::PairwiseSubject, "sector ann"), subject);
        assert_eq!(self::vault(fresh, &third).find("ann").await.expect("found"), Some(ann));
    })
    .await;
}

/// A code under the first pepper.
fn old_code(both: &Secrets) -> Secret<String> {
    let old = Secrets::open(&source(&[1]), &[], &Entropy::system(), Clock::system().now()).expect("opened");
    let (code, _) = old.mint(Kind::Code, uuid::Uuid::nil());
    assert!(both.parse(Kind::Code, code.expose()).is_some());
    code
}

#[tokio::test]
async fn a_name_is_one_name_while_its_pepper_is_being_retired() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (old, both) = rotated(fresh).await;
        let (node, other) = (vault(fresh, &both), vault(fresh, &both));
        let (ann, ben) = (new_user(), new_user());
        old.register(ann, "ann", None).await.expect("registered");
        // Until it begins, everybody writes under the first one.
        node.register(new_user(), "cid", None).await.expect("registered");
        assert_eq!(node.held_under(1).await.expect("counted").usernames, 2);
        fresh.store.begin_retiring(1, Clock::system().now()).await.expect("said");
        node.register(ben, "ben", None).await.expect("registered");
        assert_eq!(node.held_under(2).await.expect("counted").usernames, 1);
        for vault in [&node, &other] {
            for name in ["ann", "ben", "cid"] {
                assert!(
                    matches!(vault.register(new_user(), name, None).await, Err(VaultError::UsernameTaken)),
                    "{name}"
                );
            }
        }
        node.renew(1, &mut |_| {}).await.expect("made anew");
        assert_eq!(node.find("ann").await.expect("found"), Some(ann));
        assert_eq!(other.find("ben").await.expect("found"), Some(ben));
        for name in ["ann", "ben", "cid"] {
            assert!(matches!(other.register(new_user(), name, None).await, Err(VaultError::UsernameTaken)), "{name}");
        }
        // A new name at the same time on many nodes goes to one of them.
        let taking = (0..8).map(|at| if at % 2 == 0 { &node } else { &other });
        let taken = futures::future::join_all(taking.map(|vault| vault.register(new_user(), "dan", None))).await;
        assert_eq!(taken.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_stopped_in_the_middle_goes_on_where_it_was() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (old, both) = rotated(fresh).await;
        for at in 0..520 {
            old.register(new_user(), &format!("user {at}"), None).await.expect("registered");
        }
        fresh.store.begin_retiring(1, Clock::system().now()).await.expect("said");
        let node = vault(fresh, &both);
        let seen = Arc::new(AtomicI64::new(0));
        let (stopped, looked) = (node.clone(), seen.clone());
        let killed = tokio::spawn(async move {
            stopped
                .renew(1, &mut |rows| {
                    looked.fetch_add(rows, Ordering::SeqCst);
                    panic!("killed, as this test wants it");
                })
                .await
        });
        assert!(killed.await.expect_err("it was killed").is_panic());
        assert_eq!(seen.load(Ordering::SeqCst), 500);
        let held = node.held_under(1).await.expect("counted");
        assert_eq!((held.user_keys, held.usernames), (20, 520));
        assert!(node.find("user 7").await.expect("found").is_some());
        assert_eq!(node.renew(1, &mut |_| {}).await.expect("made anew").rows, 540);
        assert_eq!(node.held_under(1).await.expect("counted").rows(), 0);
        assert!(node.find("user 519").await.expect("found").is_some());
    })
    .await;
}
