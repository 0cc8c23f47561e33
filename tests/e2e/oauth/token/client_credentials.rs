//! Client credentials: RFC 6749 4.4.

use crate::harness::{
    Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    a_client_gets_a_token_for_itself,
    there_is_no_refresh_token,
    a_scope_beyond_the_registered_one_is_invalid_scope,
    a_malformed_scope_is_invalid_scope,
    a_public_client_cannot_use_it,
]];

async fn a_client_gets_a_token_for_itself(server: Server) {
    // RFC 6749 4.4.
    let client = server.service_client().await;
    let token = server.service_token(&client).await;
    let json = server.introspect_as(&client, &token).await;
    assert_eq!((json["active"].as_bool(), json["client_id"].as_str()), (Some(true), Some(&*client.id)), "{json}");
}

async fn there_is_no_refresh_token(server: Server) {
    // RFC 6749 4.4.3: "A refresh token SHOULD NOT be included."
    let client = server.service_client().await;
    let json = server.token_as(&client, &[("grant_type", "client_credentials")]).await.expect(200).json();
    assert!(json.get("refresh_token").is_none(), "a refresh token in the answer");
}

async fn a_scope_beyond_the_registered_one_is_invalid_scope(server: Server) {
    // RFC 6749 5.2.
    let client = server.service_client().await;
    for scope in ["admin", "read admin", "write"] {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        server.token_as(&client, &form).await.expect_error(400, "invalid_scope");
    }
}

async fn a_malformed_scope_is_invalid_scope(server: Server) {
    // RFC 6749 3.3 and 5.2.
    let client = server.service_client().await;
    for scope in ["re\"ad", "re\\ad", "réad", "read\0", "read\nprofile"] {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        let answer = server.token_as(&client, &form).await.expect(400).expect_no_store();
        assert!(matches!(answer.json()["error"].as_str(), Some("invalid_scope" | "invalid_request")), "{answer}");
    }
}

async fn a_public_client_cannot_use_it(server: Server) {
    // RFC 6749 4.4: "MUST only be used by confidential clients".
    let arguments = ["--grant-type", "client_credentials", "--scope", "read", "--auth-method", "none"];
    let create = [&["client", "create", "--name", "wrong"][..], &arguments].concat();
    let output = server.site().run(&create).await;
    assert!(!output.status.success(), "a public client was registered for client_credentials");
    let public = server.public_client().await;
    let answer = server.token_as(&public, &[("grant_type", "client_credentials")]).await;
    answer.expect_error(400, "unauthorized_client");
}
