//! Discovery and keys: OpenID Connect Discovery 1.0, 3 and 4; OpenID Connect Core 10.

use serde_json::{Value, json};

use super::rp::{RESPONSE_TYPES, Rp};
use crate::harness::{
    Browser, Server, Store, poll,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        oidcc_discovery_endpoint_verification,
        both_documents_are_one,
        what_is_not_supported_is_not_announced,
        a_key_of_every_algorithm_is_published,
    ],
    own![oidcc_server_rotate_keys, two_nodes_make_one_key_of_each_algorithm],
];

async fn configuration(server: &Server) -> Value {
    server.get("/.well-known/openid-configuration").send().await.expect(200).json()
}

async fn keys(server: &Server) -> Vec<Value> {
    let keys = server.get("/oauth/jwks").send().await.expect(200);
    assert!(keys.header("cache-control").is_some_and(|rule| rule.contains("max-age=")), "{keys}");
    keys.json()["keys"].as_array().expect("keys").clone()
}

async fn oidcc_discovery_endpoint_verification(server: Server) {
    let configuration = configuration(&server).await;
    assert_eq!(configuration["issuer"], server.base());
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint"] {
        let url = configuration[name].as_str().unwrap_or_else(|| panic!("no {name}"));
        assert!(url.starts_with(server.base()), "{name}: {url}");
    }
    let has = |list: &str, value: &str| configuration[list].as_array().is_some_and(|all| all.contains(&json!(value)));
    for response_type in RESPONSE_TYPES {
        assert!(has("response_types_supported", response_type), "{response_type}");
    }
    for mode in ["query", "fragment", "form_post"] {
        assert!(has("response_modes_supported", mode), "{mode}");
    }
    for (list, value) in [
        ("scopes_supported", "openid"),
        ("subject_types_supported", "public"),
        ("subject_types_supported", "pairwise"),
        ("scopes_supported", "offline_access"),
        ("userinfo_signing_alg_values_supported", "RS256"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("claims_supported", "sub"),
        ("claims_supported", "phone_number"),
    ] {
        assert!(has(list, value), "{value} in {list}: {configuration}");
    }
}

async fn both_documents_are_one(server: Server) {
    let oauth = server.get("/.well-known/oauth-authorization-server").send().await.expect(200).json();
    assert_eq!(configuration(&server).await, oauth);
}

async fn what_is_not_supported_is_not_announced(server: Server) {
    // Discovery 3: what is left out of these has a default that would be wrong.
    let configuration = configuration(&server).await;
    let algs = configuration["id_token_signing_alg_values_supported"].as_array().expect("a list");
    assert!(!algs.contains(&json!("none")) && !algs.contains(&json!("HS256")), "{algs:?}");
}

async fn a_key_of_every_algorithm_is_published(server: Server) {
    let keys = keys(&server).await;
    for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
        let key = keys.iter().find(|key| key["alg"] == alg).unwrap_or_else(|| panic!("no {alg} key"));
        assert!(key["kid"].is_string() && key["use"] == "sig", "{key}");
    }
}

/// The kid of the ID tokens that are signed now.
async fn signing_kid(rp: &Rp, browser: &mut Browser, user: &crate::harness::User) -> String {
    let login = rp.login(browser, user, &[]).await;
    jsonwebtoken::decode_header(login.id_token()).expect("a header").kid.expect("a kid")
}

async fn oidcc_server_rotate_keys(store: Store) {
    // Core 10.1.1: the next key is published before it signs, the old one afterwards; then it goes.
    let settings = [
        ("KEYS_PUBLISH_SECONDS", "4"),
        ("KEYS_RETIRED_SECONDS", "10"),
        ("OAUTH_ID_TOKEN_LIFETIME_SECONDS", "10"),
        ("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "10"),
    ];
    let server = Server::start(store, &settings).await;
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let old = signing_kid(&rp, &mut browser, &user).await;
    server.site().run_well(&["key", "rotate", "--alg", "RS256"]).await;
    let is_rs256 = |key: &&Value| key["alg"] == "RS256";
    let next = poll::until("the next key is published", async || {
        let keys = keys(&server).await;
        let next = keys.iter().filter(is_rs256).find(|key| key["kid"] != old.as_str())?;
        Some(next["kid"].as_str().expect("a kid").to_owned())
    })
    .await;
    assert_eq!(signing_kid(&rp, &mut browser, &user).await, old, "a key signs as soon as it is published");
    poll::until("the next key signs", async || {
        let kid = signing_kid(&rp, &mut browser, &user).await;
        assert!(kid == old || kid == next);
        (kid == next).then_some(())
    })
    .await;
    assert!(keys(&server).await.iter().any(|key| key["kid"] == old.as_str()), "the old key went at once");
    poll::until("the old key goes", async || {
        keys(&server).await.iter().all(|key| key["kid"] != old.as_str()).then_some(())
    })
    .await;
    rp.login(&mut browser, &user, &[]).await;
}

async fn two_nodes_make_one_key_of_each_algorithm(store: Store) {
    // Both start on an empty database at the same time.
    if store == Store::Sqlite {
        return;
    }
    let site = crate::harness::Site::new(store, &[("ISSUER", "http://127.0.0.1:1")]);
    let (one, two) = tokio::join!(Server::on(&site, &[]), Server::on(&site, &[]));
    for server in [one, two] {
        // The keys of the other node are there as soon as this one has read of them.
        poll::until("every algorithm has a key", async || (keys(&server).await.len() >= 4).then_some(())).await;
        let keys = keys(&server).await;
        for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
            assert_eq!(keys.iter().filter(|key| key["alg"] == alg).count(), 1, "{keys:?}");
        }
    }
}
