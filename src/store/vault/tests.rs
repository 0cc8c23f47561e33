//! The vault on both databases.

mod attempts;

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::client::{ApplicationType, ClientMetadata, GrantType, TokenEndpointAuthMethod};
use grantlog_domain::signing_key::Algorithm;
use grantlog_domain::{ClientId, KeyId, Scope, SecretHash, Timestamp, UserId};

use super::{Attempt, REGISTRATION_SECONDS_MAX, SignInLimits, Source, Vault, VaultError};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::secrets::password::{Origin, PasswordSettings, Passwords};
use crate::secrets::{Secret, Secrets};
use crate::store::StoreOptions;
use crate::store::tests::{Fresh, event, number, on_both};

const LIMITS: SignInLimits =
    SignInLimits { per_account: 5, per_address: 8, per_client: 12, lock: Duration::from_secs(900), rows: 10 };

/// A vault with the cheapest hashing and a clock that tests move.
fn vault(fresh: &Fresh) -> (Vault, Clock) {
    let (entropy, clock) = (Entropy::system(), Clock::manual(Timestamp(1_000_000)));
    let cheap =
        PasswordSettings { memory_kib: 8, iterations: 1, parallelism: 1, threads: 2, ..PasswordSettings::default() };
    let passwords = Passwords::new(cheap, &entropy).expect("in range");
    let secrets = Secrets::ephemeral(&entropy);
    (Vault::new(fresh.store.db().clone(), secrets, passwords, clock.clone(), LIMITS), clock)
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// One of many addresses.
fn address(last: u8) -> Source {
    Source::Address([192, 0, 2, last].into())
}

fn user() -> UserId {
    UserId(Entropy::system().uuid_v7(1_000_000_000))
}

#[tokio::test]
async fn a_user_signs_in_with_the_right_name_and_password_only() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let ann = user();
        vault.register(ann, " Ann ", Some(secret("right"))).await.expect("registered");
        let verify =
            async |name, password| vault.verify_password(name, secret(password), address(0)).await.expect("verified");
        assert_eq!(verify("ann", "right").await, Some(ann));
        assert_eq!(verify("ANN", "right").await, Some(ann));
        assert_eq!(verify("ann", "wrong").await, None);
        assert_eq!(verify("bob", "right").await, None);
        assert_eq!(verify("", "right").await, None);
        let dan = user();
        vault.register(dan, "dan", None).await.expect("registered");
        assert_eq!(verify("dan", "").await, None);
        assert!(vault.set_password(dan, secret("new"), Origin::default()).await.expect("set"));
        assert_eq!(verify("dan", "new").await, Some(dan));
        assert!(!vault.set_password(user(), secret("new"), Origin::default()).await.expect("nobody"));
        for name in ["", "  ", "a\u{0}b", "a\u{202e}b", "a\u{200b}b", "line\nbreak", &"x".repeat(129)] {
            assert!(matches!(vault.register(user(), name, None).await, Err(VaultError::Username)), "{name:?}");
        }
        assert_eq!(vault.find("DAN").await.expect("found"), Some(dan));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_name_one_gets_it() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let vault = vault.clone();
                tokio::spawn(async move { vault.register(user(), "ann", None).await })
            })
            .collect();
        let mut registered = 0;
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(()) => registered += 1,
                Err(error) => assert!(matches!(error, VaultError::UsernameTaken), "{error}"),
            }
        }
        assert_eq!(registered, 1);
        let keys = number(fresh.store.db(), "SELECT count(*) FROM vault_user_keys").await;
        assert_eq!(keys, 1);
    })
    .await;
}

#[tokio::test]
async fn a_name_left_behind_is_free_after_a_minute_and_one_in_use_never() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, clock) = vault(fresh);
        let (left, owner) = (user(), user());
        vault.register(left, "left", None).await.expect("registered");
        vault.register(owner, "owned", None).await.expect("registered");
        let mut registered = event(&owner.to_string(), 1);
        registered.aggregate_type = "user".to_owned();
        fresh.store.group_commit().append(vec![registered]).await.expect("appended");
        assert!(matches!(vault.register(user(), "left", None).await, Err(VaultError::UsernameTaken)));
        clock.advance(Duration::from_secs(REGISTRATION_SECONDS_MAX.unsigned_abs() + 1));
        let heir = user();
        vault.register(heir, "left", None).await.expect("registered");
        assert_eq!(vault.find("left").await.expect("found"), Some(heir));
        assert_eq!(vault.profile(left).await.expect("read"), None);
        assert!(matches!(vault.register(user(), "owned", None).await, Err(VaultError::UsernameTaken)));
    })
    .await;
}

#[tokio::test]
async fn profiles_are_sealed_and_erasing_a_user_leaves_nothing() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let (ann, bob) = (user(), user());
        vault.register(ann, "Ann", Some(secret("right"))).await.expect("registered");
        vault.register(bob, "Bob", None).await.expect("registered");
        let claims = serde_json::from_str(r#"{"email":"ann@example.org"}"#).expect("an object");
        assert!(vault.set_claims(ann, claims).await.expect("set"));
        let profile = vault.profile(ann).await.expect("read").expect("there");
        assert_eq!((profile.username.as_str(), profile.claims["email"].as_str()), ("Ann", Some("ann@example.org")));
        let names = vault.usernames(&[ann, bob, user()]).await.expect("read");
        assert_eq!((names.len(), names[&ann].as_str(), names[&bob].as_str()), (2, "Ann", "Bob"));
        // With the quotes of JSON: three letters alone may stand in sealed bytes by chance.
        let plain =
            "SELECT count(*) FROM vault_users WHERE sealed_profile LIKE '%example%' OR sealed_profile LIKE '%\"Ann\"%'";
        assert_eq!(number(fresh.store.db(), plain).await, 0);
        // Rows that were swapped open for nobody.
        let swap = "UPDATE vault_users SET sealed_profile = (SELECT o.sealed_profile FROM vault_users o \
                    WHERE o.user_id <> vault_users.user_id)";
        fresh.store.db().execute(swap, &[]).await.expect("swapped");
        assert!(matches!(vault.profile(ann).await, Err(VaultError::Damaged { .. })));
        vault.erase(ann).await.expect("erased");
        vault.erase(ann).await.expect("nothing to do");
        assert_eq!(vault.profile(ann).await.expect("read"), None);
        assert_eq!(vault.verify_password("Ann", secret("right"), address(0)).await.expect("verified"), None);
        vault.register(user(), "ann", None).await.expect("the name is free");
    })
    .await;
}

#[tokio::test]
async fn signing_keys_sign_what_their_public_half_verifies() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        for alg in Algorithm::ALL {
            let key = vault.create_signing_key(*alg, None).await.expect("made");
            let jwk = &key.public_jwk;
            assert_eq!(jwk["kid"].as_str(), Some(key.key_id.0.as_str()));
            assert!(!jwk.contains_key("d"));
            let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("text")).expect("base64url");
            let signer = vault.signer(&key.key_id).await.expect("read").expect("there");
            let signature = signer.sign(b"message").expect("signed");
            match alg {
                Algorithm::RS256 => RsaPublicKeyComponents { n: number("n"), e: number("e") }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    b"message",
                    &signature,
                ),
                Algorithm::PS256 => RsaPublicKeyComponents { n: number("n"), e: number("e") }.verify(
                    &RSA_PSS_2048_8192_SHA256,
                    b"message",
                    &signature,
                ),
                Algorithm::ES256 => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], &*number("x"), &*number("y")].concat())
                        .verify(b"message", &signature)
                }
                Algorithm::EdDSA => UnparsedPublicKey::new(&ED25519, number("x")).verify(b"message", &signature),
            }
            .expect("verified");
            vault.destroy_signing_key(&key.key_id).await.expect("destroyed");
            assert!(vault.signer(&key.key_id).await.expect("read").is_none());
        }
        assert!(vault.signer(&KeyId("none".to_owned())).await.expect("read").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_key_has_one_successor_whoever_asks_for_it() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let all = (0..4).map(|_| vault.create_signing_key(Algorithm::EdDSA, None));
        let first: Vec<_> =
            futures::future::join_all(all).await.into_iter().map(|key| key.expect("made").key_id).collect();
        assert!(first.iter().all(|key_id| *key_id == first[0]), "{first:?}");
        let second = vault.create_signing_key(Algorithm::EdDSA, Some(&first[0])).await.expect("made").key_id;
        assert_ne!(second, first[0]);
        let other = vault.create_signing_key(Algorithm::ES256, Some(&first[0])).await.expect("made").key_id;
        assert_ne!(other, second);
    })
    .await;
}

/// RFC 7638 3.1 and RFC 8037 A.3.
#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let thumbprint = |jwk: &str| super::signing_keys::thumbprint(&serde_json::from_str(jwk).expect("an object"));
    let ed25519 = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(thumbprint(ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

/// The metadata of a client with that method.
fn client_with(method: TokenEndpointAuthMethod) -> ClientMetadata {
    ClientMetadata {
        client_name: "Test".into(),
        client_uri: None,
        redirect_uris: Vec::new(),
        grant_types: vec![GrantType::ClientCredentials],
        response_types: Vec::new(),
        scope: Scope::default(),
        token_endpoint_auth_method: method,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    }
}

#[tokio::test]
async fn only_secrets_that_are_signed_with_are_kept_and_only_as_long_as_they_are_current() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, clock) = vault(fresh);
        let id = ClientId(Entropy::system().uuid_v7(1_000_000_000));
        let held = async |hash: &SecretHash| {
            let secret = vault.client_secret(id, hash).await.expect("asked");
            secret.map(|secret| String::from_utf8(secret.expose().clone()).expect("a text"))
        };
        let basic = client_with(TokenEndpointAuthMethod::ClientSecretBasic);
        let other = vault.mint_client_secret(id, &basic).await.expect("made");
        assert_eq!(held(&other.1).await, None);
        let signing = client_with(TokenEndpointAuthMethod::ClientSecretJwt);
        let first = vault.mint_client_secret(id, &signing).await.expect("made");
        let second = vault.mint_client_secret(id, &signing).await.expect("made");
        assert_eq!(held(&first.1).await.as_deref(), Some(first.0.expose().as_str()));
        let rows = fresh.store.db().fetch("SELECT sealed_secret FROM vault_client_secrets", &[]).await.expect("rows");
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| !row.str(0).expect("a text").contains(first.0.expose().as_str())));
        let only_second = |of: ClientId, hash: &SecretHash| of == id && *hash == second.1;
        // A moment later the registration may still be on its way into the log.
        vault.forget_client_secrets(only_second).await.expect("forgotten");
        assert!(held(&first.1).await.is_some());
        clock.advance(Duration::from_secs(3601));
        vault.forget_client_secrets(only_second).await.expect("forgotten");
        assert_eq!((held(&first.1).await.is_some(), held(&second.1).await.is_some()), (false, true));
    })
    .await;
}

#[tokio::test]
async fn an_assertion_is_used_once_and_forgotten_when_it_has_expired() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let id = |number: u64| ClientId(Entropy::seeded(number).uuid_v7(1_000_000_000));
        let used = async |of: ClientId, jti: &str| vault.use_assertion(of, jti, Timestamp(100)).await.expect("noted");
        assert!(used(id(1), "a").await);
        assert!(!used(id(1), "a").await);
        assert!(used(id(1), "b").await && used(id(2), "a").await);
        vault.forget_assertions(Timestamp(100)).await.expect("forgotten");
        assert!(!used(id(1), "a").await, "one that has not expired was forgotten");
        vault.forget_assertions(Timestamp(101)).await.expect("forgotten");
        assert!(used(id(1), "a").await);
    })
    .await;
}

#[tokio::test]
async fn one_name_is_one_however_it_is_written_and_whatever_it_looks_like() {
    // RFC 8265 3.3; Unicode Technical Standard 39, 4.
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        let (admin, zoe) = (user(), user());
        vault.register(admin, "Admin", Some(secret("right"))).await.expect("registered");
        vault.register(zoe, "Zo\u{eb}", Some(secret("right"))).await.expect("registered");
        for like in ["admin", "ADMIN", "\u{ff41}dmin", "\u{430}dmin", "adm\u{456}n", "adm\u{131}n", "zoe\u{308}"] {
            let refused = vault.register(user(), like, None).await;
            assert!(matches!(refused, Err(VaultError::UsernameTaken)), "{like}: {refused:?}");
        }
        for (typed, whose) in [("zoe\u{308}", zoe), ("ZO\u{cb}", zoe), ("\u{ff21}dmin", admin)] {
            assert_eq!(vault.verify_password(typed, secret("right"), address(0)).await.expect("verified"), Some(whose));
        }
        // One account has one count, whatever is written.
        for like in ["admin", "\u{430}dmin", "adm\u{456}n", "\u{ff41}dmin", "ADMIN"] {
            vault.sign_in_failed(like, address(1)).await.expect("counted");
        }
        let attempt = vault.sign_in_allowed("Admin", address(2)).await.expect("asked");
        assert!(matches!(attempt, Attempt::AccountLocked { .. }), "{attempt:?}");
    })
    .await;
}

#[tokio::test]
async fn names_of_before_are_found_as_they_were() {
    on_both(StoreOptions::default(), async |fresh: &Fresh| {
        let (vault, _) = vault(fresh);
        // As they were registered: under themselves in lower case.
        let before = async |name: &str, placeholder: &str| {
            let id = user();
            vault.register(id, placeholder, Some(secret("right"))).await.expect("registered");
            let index = vault.0.secrets.username_indexes(name).remove(0).1;
            let sql = "UPDATE vault_users SET username_index = $1 WHERE user_id = $2";
            vault.0.db.execute(sql, &[index.into(), id.to_string().into()]).await.expect("written");
            id
        };
        let (wide, hidden) = (before("\u{ff41}nn", "one").await, before("be\u{200b}n", "two").await);
        let ann = user();
        vault.register(ann, "ann", Some(secret("right"))).await.expect("registered");
        for (name, whose) in [("\u{ff41}nn", wide), ("\u{ff21}NN", wide), ("be\u{200b}n", hidden), ("Ann", ann)] {
            assert_eq!(vault.find(name).await.expect("found"), Some(whose), "{name:?}");
            let verified = vault.verify_password(name, secret("right"), address(0)).await.expect("verified");
            assert_eq!(verified, Some(whose), "{name:?}");
        }
        assert!(matches!(vault.register(user(), "\u{ff41}nn", None).await, Err(VaultError::UsernameTaken)));
        assert_eq!(vault.find("ben").await.expect("looked for"), None);
    })
    .await;
}
