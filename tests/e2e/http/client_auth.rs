//! Client authentication: RFC 6749 2.3 and 3.2.1.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::harness::{
    Answer, Client, Server, poll, random, secrets,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    basic_is_taken,
    basic_is_form_decoded,
    the_scheme_is_case_insensitive,
    post_is_taken,
    a_wrong_secret_is_invalid_client_with_a_challenge,
    an_unknown_client_hears_the_same_as_a_wrong_secret,
    a_client_that_does_not_authenticate_is_invalid_client,
    a_client_uses_the_method_it_registered,
    a_public_client_that_shows_a_secret_is_refused,
    two_methods_at_once_are_refused,
    a_client_id_that_contradicts_the_header_is_refused,
    the_same_client_id_in_header_and_body_is_fine,
    a_malformed_header_is_refused,
    another_scheme_is_refused,
    two_authorization_headers_are_refused,
    a_disabled_client_is_invalid_client,
    a_rotated_secret_replaces_the_old_one,
]];

const GRANT: [(&str, &str); 1] = [("grant_type", "client_credentials")];

async fn client(server: &Server, method: &str) -> Client {
    server.client(&["--grant-type", "client_credentials", "--scope", "read", "--auth-method", method]).await
}

/// The token endpoint with an Authorization header as it stands.
async fn with_header(server: &Server, header: &str) -> Answer {
    server.post("/oauth/token").header("authorization", header).form(&GRANT).send().await
}

fn basic(pair: impl AsRef<[u8]>) -> String {
    let credentials = STANDARD.encode(pair);
    secrets::register(&credentials);
    format!("Basic {credentials}")
}

async fn basic_is_taken(server: Server) {
    // RFC 6749 2.3.1.
    let client = client(&server, "client_secret_basic").await;
    with_header(&server, &basic(format!("{}:{}", client.id, client.secret))).await.expect(200);
}

async fn basic_is_form_decoded(server: Server) {
    // RFC 6749 2.3.1: id and secret are "encoded using the "application/x-www-form-urlencoded" encoding algorithm".
    let client = client(&server, "client_secret_basic").await;
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    with_header(&server, &basic(format!("{}:{}", encoded(&client.id), encoded(&client.secret)))).await.expect(200);
    // Decoded once: what was encoded twice is another secret.
    let twice = encoded(&encoded(&client.secret));
    with_header(&server, &basic(format!("{}:{twice}", client.id))).await.expect_error(401, "invalid_client");
}

async fn the_scheme_is_case_insensitive(server: Server) {
    // RFC 7235 2.1.
    let client = client(&server, "client_secret_basic").await;
    let header = basic(format!("{}:{}", client.id, client.secret)).replacen("Basic", "bAsIc", 1);
    with_header(&server, &header).await.expect(200);
}

async fn post_is_taken(server: Server) {
    // RFC 6749 2.3.1.
    let client = client(&server, "client_secret_post").await;
    server.token_as(&client, &GRANT).await.expect(200);
}

async fn a_wrong_secret_is_invalid_client_with_a_challenge(server: Server) {
    // RFC 6749 5.2: "MUST respond with an HTTP 401 (Unauthorized) status code and include the "WWW-Authenticate"
    // response header field matching the authentication scheme used by the client".
    let client = client(&server, "client_secret_basic").await;
    let cut = &client.secret[..client.secret.len() - 1];
    for secret in ["", "wrong", cut, &format!("{}x", client.secret), &"x".repeat(5000), "\0"] {
        let request = server.post("/oauth/token").basic(&client.id, secret).form(&GRANT);
        let answer = request.send().await.expect_error(401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Basic "), "{answer}");
    }
}

async fn an_unknown_client_hears_the_same_as_a_wrong_secret(server: Server) {
    // RFC 6749 5.2: client identifiers cannot be tried out.
    let client = client(&server, "client_secret_basic").await;
    let wrong = server.post("/oauth/token").basic(&client.id, &random(32)).form(&GRANT).send().await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let unknown = server.post("/oauth/token").basic(unknown, &random(32)).form(&GRANT).send().await;
    assert_eq!((wrong.status, wrong.text()), (unknown.status, unknown.text()));
}

async fn a_client_that_does_not_authenticate_is_invalid_client(server: Server) {
    // RFC 6749 3.2.1 and 5.2: "no client authentication included".
    server.post("/oauth/token").form(&GRANT).send().await.expect_invalid_client();
    let client = client(&server, "client_secret_basic").await;
    let named = [("grant_type", "client_credentials"), ("client_id", client.id.as_str())];
    server.post("/oauth/token").form(&named).send().await.expect_invalid_client();
}

async fn a_client_uses_the_method_it_registered(server: Server) {
    // RFC 6749 2.3; RFC 7591 2 `token_endpoint_auth_method`.
    let registered_basic = client(&server, "client_secret_basic").await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &registered_basic.id),
        ("client_secret", &registered_basic.secret),
    ];
    server.post("/oauth/token").form(&form).send().await.expect_invalid_client();
    let registered_post = client(&server, "client_secret_post").await;
    let request = server.post("/oauth/token").basic(&registered_post.id, &registered_post.secret).form(&GRANT);
    request.send().await.expect_error(401, "invalid_client");
}

async fn a_public_client_that_shows_a_secret_is_refused(server: Server) {
    // RFC 6749 2.3: it has none, so whoever shows one is someone else.
    let client = server.public_client().await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    let request = server.post("/oauth/token").basic(&client.id, "anything").form(&refresh);
    request.send().await.expect_error(401, "invalid_client");
    let form = [&refresh[..], &[("client_id", client.id.as_str()), ("client_secret", "anything")]].concat();
    server.post("/oauth/token").form(&form).send().await.expect_invalid_client();
}

async fn two_methods_at_once_are_refused(server: Server) {
    // RFC 6749 2.3: "The client MUST NOT use more than one authentication method in each request."
    for method in ["client_secret_basic", "client_secret_post"] {
        let client = client(&server, method).await;
        let form = [("grant_type", "client_credentials"), ("client_id", &client.id), ("client_secret", &client.secret)];
        let request = server.post("/oauth/token").basic(&client.id, &client.secret).form(&form);
        request.send().await.expect_error(400, "invalid_request");
    }
}

async fn a_client_id_that_contradicts_the_header_is_refused(server: Server) {
    // RFC 6749 2.3.1 and 3.2.1: one request, one client.
    let (client, other) = (client(&server, "client_secret_basic").await, client(&server, "client_secret_basic").await);
    let form = [("grant_type", "client_credentials"), ("client_id", other.id.as_str())];
    let answer = server.post("/oauth/token").basic(&client.id, &client.secret).form(&form).send().await;
    assert!(matches!(answer.status, 400 | 401), "{answer}");
    assert!(matches!(answer.json()["error"].as_str(), Some("invalid_request" | "invalid_client")), "{answer}");
}

async fn the_same_client_id_in_header_and_body_is_fine(server: Server) {
    // RFC 6749 3.2.1: "A client MAY use the "client_id" request parameter to identify itself".
    let client = client(&server, "client_secret_basic").await;
    let form = [("grant_type", "client_credentials"), ("client_id", client.id.as_str())];
    server.post("/oauth/token").basic(&client.id, &client.secret).form(&form).send().await.expect(200);
}

async fn a_malformed_header_is_refused(server: Server) {
    // RFC 7617 2; RFC 6749 5.2.
    let client = client(&server, "client_secret_basic").await;
    let headers = [
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic !!!".to_owned(),
        "Basic====".to_owned(),
        basic(&client.id),
        basic(""),
        basic(":"),
        basic(b"\xff\xfe:\xff"),
        basic(b"a\0b:c\0d"),
        basic(format!("{}:%", client.id)),
        basic(format!("{}:%zz", client.id)),
        basic(format!("{}:%ff", client.id)),
        basic(format!(":{}", client.secret)),
        format!("Basic {}", "A".repeat(8000)),
    ];
    for header in headers {
        let answer = with_header(&server, &header).await.expect_no_store();
        assert!(matches!(answer.status, 400 | 401), "{header}: {answer}");
        assert!(matches!(answer.json()["error"].as_str(), Some("invalid_request" | "invalid_client")), "{answer}");
    }
}

async fn another_scheme_is_refused(server: Server) {
    // RFC 6749 2.3.2 and 5.2.
    let client = client(&server, "client_secret_basic").await;
    for header in [format!("Bearer {}", client.secret), "Digest username=x".to_owned(), "Negotiate AAAA".to_owned()] {
        let answer = with_header(&server, &header).await;
        assert!(matches!(answer.status, 400 | 401), "{answer}");
        assert!(matches!(answer.json()["error"].as_str(), Some("invalid_request" | "invalid_client")), "{answer}");
    }
}

async fn two_authorization_headers_are_refused(server: Server) {
    // RFC 7235 4.2 allows one; a proxy and the server must not read different ones.
    let client = client(&server, "client_secret_basic").await;
    let request = server.post("/oauth/token").basic(&client.id, &client.secret).basic(&client.id, "wrong").form(&GRANT);
    let answer = request.send().await;
    assert!(matches!(answer.status, 400 | 401), "{answer}");
}

async fn a_disabled_client_is_invalid_client(server: Server) {
    // RFC 6749 5.2; what it holds ends with it, and comes back with it.
    let (client, watcher) = (client(&server, "client_secret_basic").await, server.api_client().await);
    let token = server.service_token(&client).await;
    server.site().run_well(&["client", "disable", &client.id]).await;
    poll::until("the server sees that the client is disabled", async || {
        let answer = server.token_as(&client, &GRANT).await;
        (answer.status == 401 && answer.json()["error"] == "invalid_client").then_some(())
    })
    .await;
    assert!(!server.is_active(&watcher, &token).await);
    server.site().run_well(&["client", "enable", &client.id]).await;
    server.knows(&client).await;
    server.token_as(&client, &GRANT).await.expect(200);
}

async fn a_rotated_secret_replaces_the_old_one(server: Server) {
    // RFC 7592 in spirit: a secret that leaked is worth nothing from then on.
    let old = client(&server, "client_secret_basic").await;
    let made = server.site().run_json(&["client", "rotate-secret", &old.id]).await;
    let secret = made["client_secret"].as_str().expect("the new secret").to_owned();
    secrets::register(&secret);
    let new = Client { secret, ..old.clone() };
    server.knows(&new).await;
    server.token_as(&new, &GRANT).await.expect(200);
    server.token_as(&old, &GRANT).await.expect_error(401, "invalid_client");
}
