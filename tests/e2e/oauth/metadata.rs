//! Authorization server metadata: RFC 8414. It must say what is there, and nothing else.

use serde_json::{Value, json};

use crate::harness::{
    Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    the_issuer_is_the_one_that_clients_compare,
    every_endpoint_named_is_there,
    what_is_supported_is_named,
    only_s256_is_named,
    the_iss_parameter_is_announced,
    keys_are_public_halves_only,
]];

async fn metadata(server: &Server) -> Value {
    server.get("/.well-known/oauth-authorization-server").send().await.expect(200).json()
}

fn has(metadata: &Value, list: &str, value: &str) -> bool {
    metadata[list].as_array().is_some_and(|values| values.contains(&json!(value)))
}

async fn the_issuer_is_the_one_that_clients_compare(server: Server) {
    // RFC 8414 3.3: "MUST be identical to the authorization server's issuer identifier".
    assert_eq!(metadata(&server).await["issuer"], server.base());
}

async fn every_endpoint_named_is_there(server: Server) {
    // RFC 8414 2: made from the same table as the routes.
    let metadata = metadata(&server).await;
    let object = metadata.as_object().expect("an object");
    let required = ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "introspection_endpoint"];
    for name in required {
        assert!(object.contains_key(name), "{name} is missing in {metadata}");
    }
    for (name, url) in object.iter().filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("_uri")) {
        let url = url.as_str().expect("a URL");
        assert!(url.starts_with(&format!("{}/", server.base())), "{name}: {url}");
        let answer = server.get(url).send().await;
        assert_ne!(answer.status, 404, "{name}: {answer}");
        assert!(answer.status < 500, "{name}: {answer}");
    }
}

async fn what_is_supported_is_named(server: Server) {
    // RFC 8414 2.
    let metadata = metadata(&server).await;
    for grant in ["authorization_code", "implicit", "password", "client_credentials", "refresh_token"] {
        assert!(has(&metadata, "grant_types_supported", grant), "{grant} in {metadata}");
    }
    for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"] {
        assert!(has(&metadata, "token_endpoint_auth_methods_supported", method), "{method} in {metadata}");
    }
    assert!(has(&metadata, "response_types_supported", "code"), "{metadata}");
    assert!(has(&metadata, "response_types_supported", "token"), "{metadata}");
    // RFC 7662 2.1: introspection is for clients that prove who they are.
    assert!(!has(&metadata, "introspection_endpoint_auth_methods_supported", "none"), "{metadata}");
}

async fn only_s256_is_named(server: Server) {
    // RFC 7636 4.3, RFC 8414 2.
    assert_eq!(metadata(&server).await["code_challenge_methods_supported"], json!(["S256"]));
}

async fn the_iss_parameter_is_announced(server: Server) {
    // RFC 9207 3.
    assert_eq!(metadata(&server).await["authorization_response_iss_parameter_supported"], json!(true));
}

async fn keys_are_public_halves_only(server: Server) {
    // RFC 7517 4, RFC 7518 6: no private member leaves the server.
    let Some(uri) = metadata(&server).await["jwks_uri"].as_str().map(str::to_owned) else { return };
    let keys = server.get(&uri).send().await.expect(200);
    let json: Value = serde_json::from_slice(&keys.body).expect("JSON");
    for key in json["keys"].as_array().expect("a list of keys") {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(key.get(private).is_none(), "{private} in {key}");
        }
    }
}
