//! The token endpoint: RFC 6749 3.2, 5; what holds for every grant type. The grants have a module each.

use crate::harness::{
    Server,
    suite::{Case, shared},
};

pub mod authorization_code;
pub mod client_credentials;
pub mod password;
pub mod refresh_token;

pub const CASES: &[&[Case]] = &[shared![
    a_token_response_is_complete_and_not_stored,
    a_missing_grant_type_is_invalid_request,
    an_unknown_grant_type_is_unsupported_grant_type,
    a_grant_type_that_is_not_registered_is_unauthorized_client,
    a_repeated_parameter_is_invalid_request,
    an_unknown_parameter_is_ignored,
    a_parameter_without_value_is_as_good_as_left_out,
    only_post_is_taken,
    credentials_in_the_query_are_not_read,
    json_is_not_taken,
    a_multipart_form_is_taken,
    a_multipart_form_obeys_the_same_rules,
    errors_are_json_and_not_stored,
]];

async fn a_token_response_is_complete_and_not_stored(server: Server) {
    // RFC 6749 5.1.
    let client = server.service_client().await;
    let form = [("grant_type", "client_credentials"), ("scope", "read")];
    let answer = server.token_as(&client, &form).await.expect(200).expect_no_store();
    assert_eq!(answer.header("pragma"), Some("no-cache"), "{answer}");
    let json = answer.json();
    assert!(json["access_token"].as_str().is_some_and(|token| token.len() >= 43), "{json}");
    assert!(json["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")), "{json}");
    assert!(json["expires_in"].as_i64().is_some_and(|seconds| seconds > 0), "{json}");
    assert_eq!(json["scope"], "read", "{json}");
}

async fn a_missing_grant_type_is_invalid_request(server: Server) {
    // RFC 6749 5.2.
    let client = server.service_client().await;
    server.token_as(&client, &[("scope", "read")]).await.expect_error(400, "invalid_request");
}

async fn an_unknown_grant_type_is_unsupported_grant_type(server: Server) {
    // RFC 6749 5.2.
    let client = server.service_client().await;
    for grant_type in ["magic", "urn:example:grant", "Client_Credentials", "code", "implicit"] {
        let answer = server.token_as(&client, &[("grant_type", grant_type)]).await;
        answer.expect_error(400, "unsupported_grant_type");
    }
}

async fn a_grant_type_that_is_not_registered_is_unauthorized_client(server: Server) {
    // RFC 6749 5.2: "The authenticated client is not authorized to use this authorization grant type."
    let (user, service, web) = (server.user().await, server.service_client().await, server.web_client().await);
    let password = [("grant_type", "password"), ("username", &*user.username), ("password", &*user.password)];
    server.token_as(&web, &password).await.expect_error(400, "unauthorized_client");
    server.token_as(&web, &[("grant_type", "client_credentials")]).await.expect_error(400, "unauthorized_client");
    let code = [("grant_type", "authorization_code"), ("code", "unknown")];
    server.token_as(&service, &code).await.expect_error(400, "unauthorized_client");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    server.token_as(&service, &refresh).await.expect_error(400, "unauthorized_client");
}

async fn a_repeated_parameter_is_invalid_request(server: Server) {
    // RFC 6749 3.2: "Request and response parameters MUST NOT be included more than once."
    let client = server.service_client().await;
    for form in [
        [("grant_type", "client_credentials"), ("grant_type", "client_credentials")],
        [("grant_type", "client_credentials"), ("grant_type", "password")],
    ] {
        server.token_as(&client, &form).await.expect_error(400, "invalid_request");
    }
    let form = [("grant_type", "client_credentials"), ("scope", "read"), ("scope", "profile")];
    server.token_as(&client, &form).await.expect_error(400, "invalid_request");
}

async fn an_unknown_parameter_is_ignored(server: Server) {
    // RFC 6749 3.2: "MUST ignore unrecognized request parameters".
    let client = server.service_client().await;
    let form = [("grant_type", "client_credentials"), ("shoe_size", "42")];
    server.token_as(&client, &form).await.expect(200);
}

async fn a_parameter_without_value_is_as_good_as_left_out(server: Server) {
    // RFC 6749 3.2: "Parameters sent without a value MUST be treated as if they were omitted from the request."
    let client = server.service_client().await;
    let with_empty = server.token_as(&client, &[("grant_type", "client_credentials"), ("scope", "")]).await;
    let without = server.token_as(&client, &[("grant_type", "client_credentials")]).await;
    assert_eq!(with_empty.status, without.status, "{with_empty}");
    server.token_as(&client, &[("grant_type", "")]).await.expect_error(400, "invalid_request");
}

async fn only_post_is_taken(server: Server) {
    // RFC 6749 3.2: "The client MUST use the HTTP "POST" method when making access token requests."
    let client = server.service_client().await;
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let request = server.request(method, "/oauth/token?grant_type=client_credentials");
        request.basic(&client.id, &client.secret).send().await.expect(405);
    }
}

async fn credentials_in_the_query_are_not_read(server: Server) {
    // RFC 6749 2.3.1: "The parameters can only be transmitted in the request-body and MUST NOT be included in the
    // request URI."
    let grants = ["--grant-type", "client_credentials", "--scope", "read", "--auth-method", "client_secret_post"];
    let client = server.client(&grants).await;
    let path = format!("/oauth/token?client_id={}&client_secret={}", client.id, client.secret);
    let answer = server.post(&path).form(&[("grant_type", "client_credentials")]).send().await;
    assert!(matches!(answer.status, 400 | 401), "{answer}");
    // Nor is the rest of a request.
    let post = server.post_as(&client, "/oauth/token?grant_type=client_credentials", &[]).send().await;
    post.expect_error(400, "invalid_request");
}

async fn json_is_not_taken(server: Server) {
    // RFC 6749 3.2, 5.2 and appendix B: the request is a form, and any other is an invalid_request.
    let client = server.service_client().await;
    for content_type in ["application/json", "text/plain", "application/octet-stream"] {
        let request = server.post("/oauth/token").basic(&client.id, &client.secret);
        let answer = request.body(content_type, r#"{"grant_type":"client_credentials"}"#).send().await;
        let answer = answer.expect_error(400, "invalid_request");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer}");
    }
}

/// A `multipart/form-data` body as curl's `-F` writes it.
fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).collect::<String>() + "--XX--\r\n"
}

const MULTIPART: &str = "multipart/form-data; boundary=XX";

async fn a_multipart_form_is_taken(server: Server) {
    // Not in RFC 6749; curl's -F sends it, and the walk-through in the README uses that.
    let (user, client) = (server.user().await, server.password_client().await);
    let fields = [("grant_type", "password"), ("username", &*user.username), ("password", &*user.password)];
    let request = server.post("/oauth/token").basic(&client.id, &client.secret);
    let answer = request.body(MULTIPART, multipart(&fields)).send().await.expect(200).expect_no_store();
    assert!(answer.json()["access_token"].is_string());
}

async fn a_multipart_form_obeys_the_same_rules(server: Server) {
    // RFC 6749 3.2.
    let client = server.service_client().await;
    let bodies = [
        multipart(&[("grant_type", "client_credentials"), ("grant_type", "client_credentials")]),
        multipart(&[("scope", "read")]),
        multipart(&[("grant_type", "")]),
        multipart(&[]),
        "--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--\r\n".to_owned(),
        "--XX\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_cred".to_owned(),
        "no boundary at all".to_owned(),
    ];
    for body in bodies {
        let request = server.post("/oauth/token").basic(&client.id, &client.secret).body(MULTIPART, body.clone());
        request.send().await.expect_error(400, "invalid_request");
    }
    let request = server.post("/oauth/token").basic(&client.id, &client.secret);
    request.body("multipart/form-data", multipart(&[])).send().await.expect_client_error();
}

async fn errors_are_json_and_not_stored(server: Server) {
    // RFC 6749 5.2; the description holds only printable ASCII without quotation mark and backslash.
    let client = server.service_client().await;
    let form = [("grant_type", "\"<script>\\\u{7f}ü\0")];
    let answer = server.token_as(&client, &form).await.expect_client_error().expect_no_store();
    let description = answer.json()["error_description"].as_str().unwrap_or_default().to_owned();
    let allowed = |c: char| matches!(c, '\x20'..='\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
    assert!(description.chars().all(allowed), "{description:?}");
}
