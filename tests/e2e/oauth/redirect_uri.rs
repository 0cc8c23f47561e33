//! Where the authorization endpoint redirects to, and where never: RFC 6749 3.1.2, RFC 8252 7.3, RFC 9700 2.1.

use crate::harness::{
    Browser, CALLBACK, Client, Server,
    browser::query_of,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    only_an_exact_match_is_redirected_to,
    an_error_is_never_redirected_to_an_unverified_uri,
    the_only_registered_uri_may_be_left_out,
    with_two_registered_uris_one_must_be_named,
    a_registered_query_is_kept,
    a_native_client_chooses_its_loopback_port,
    only_the_port_of_a_loopback_uri_is_free,
    a_uri_with_a_fragment_cannot_be_registered,
    a_script_uri_cannot_be_registered,
    the_token_request_must_name_the_same_uri,
    the_token_request_must_name_the_uri_when_the_authorization_request_did,
]];

async fn client(server: &Server, redirect_uris: &[&str]) -> Client {
    let mut arguments: Vec<&str> = redirect_uris.iter().flat_map(|uri| ["--redirect-uri", uri]).collect();
    arguments.extend(["--grant-type", "authorization_code", "--response-type", "code", "--scope", "profile"]);
    arguments.extend(["--auth-method", "client_secret_basic"]);
    server.client(&arguments).await
}

/// An application on the user's own device.
async fn native_client(server: &Server, redirect_uris: &[&str]) -> Client {
    let uris: Vec<&str> = redirect_uris.iter().flat_map(|uri| ["--redirect-uri", uri]).collect();
    let kind = ["--grant-type", "authorization_code", "--response-type", "code", "--application-type", "native"];
    server.client(&[&uris[..], &kind, &["--scope", "profile"]].concat()).await
}

fn request<'a>(client: &'a Client, redirect_uri: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut request = vec![("response_type", "code"), ("client_id", client.id.as_str()), ("scope", "profile")];
    if !redirect_uri.is_empty() {
        request.push(("redirect_uri", redirect_uri));
    }
    request
}

/// URIs that are near `https://client.example/callback`, and are not it.
const NEAR: &[&str] = &[
    "https://client.example/callback/",
    "https://client.example/Callback",
    "https://client.example/callback?x=1",
    "https://client.example/callback#fragment",
    "https://client.example/callback/../other",
    "https://client.example/callback%2F..",
    "https://client.example:8443/callback",
    "https://client.example:443/callback",
    "https://client.example.evil.example/callback",
    "https://client.example@evil.example/callback",
    "https://evil.example/https://client.example/callback",
    "https://sub.client.example/callback",
    "http://client.example/callback",
    "HTTPS://CLIENT.EXAMPLE/callback",
    "//client.example/callback",
    "/callback",
    "javascript:alert(1)",
    "data:text/html,hello",
    "https://client.example/callback\r\nX-Injected: 1",
    "https://client.example/callback\0",
    "https://client.example/callback https://evil.example/",
];

async fn only_an_exact_match_is_redirected_to(server: Server) {
    // RFC 6749 3.1.2.3; RFC 9700 2.1: "MUST utilize exact string matching".
    let client = client(&server, &[CALLBACK]).await;
    for near in NEAR {
        let page = Browser::new(&server).open(&server.authorize_url(&request(&client, near))).await;
        page.expect_error_page("invalid_request");
    }
}

async fn an_error_is_never_redirected_to_an_unverified_uri(server: Server) {
    // RFC 6749 4.1.2.1, 10.15: everything else about this request is wrong as well; it stays a page.
    let client = client(&server, &[CALLBACK]).await;
    for near in NEAR {
        let parameters = [
            ("response_type", "magic"),
            ("client_id", &client.id),
            ("scope", "\""),
            ("redirect_uri", near),
            ("state", "x"),
        ];
        let answer = Browser::new(&server).send(server.get(&server.authorize_url(&parameters))).await;
        assert_eq!(answer.header("location"), None, "{near}: {answer}");
        answer.expect_client_error();
    }
}

async fn the_only_registered_uri_may_be_left_out(server: Server) {
    // RFC 6749 3.1.2.3 and 4.1.3: then the token request leaves it out too.
    let (user, client) = (server.user().await, client(&server, &[CALLBACK]).await);
    let callback = server.authorized(&user, &request(&client, "")).await;
    assert!(callback.as_str().starts_with(CALLBACK), "{callback}");
    let code = query_of(&callback).remove("code").expect("a code");
    let form = [("grant_type", "authorization_code"), ("code", code.as_str())];
    server.token_as(&client, &form).await.expect(200);
}

async fn with_two_registered_uris_one_must_be_named(server: Server) {
    // RFC 6749 3.1.2.3: "MUST include a redirection URI".
    let other = "https://client.example/other";
    let (user, client) = (server.user().await, client(&server, &[CALLBACK, other]).await);
    let page = Browser::new(&server).open(&server.authorize_url(&request(&client, ""))).await;
    page.expect_error_page("invalid_request");
    let callback = server.authorized(&user, &request(&client, other)).await;
    assert!(callback.as_str().starts_with(other), "{callback}");
}

async fn a_registered_query_is_kept(server: Server) {
    // RFC 6749 3.1.2: the query component "MUST be retained when adding additional query parameters".
    let uri = "https://client.example/callback?tenant=a%20b";
    let (user, client) = (server.user().await, client(&server, &[uri]).await);
    let callback = server.authorized(&user, &request(&client, uri)).await;
    assert!(callback.as_str().starts_with(&format!("{uri}&")), "{callback}");
    assert!(query_of(&callback).contains_key("code"), "{callback}");
}

async fn a_native_client_chooses_its_loopback_port(server: Server) {
    // RFC 8252 7.3: "MUST allow any port to be specified at the time of the request for loopback IP redirect URIs".
    let registered = ["http://127.0.0.1/callback", "http://[::1]/callback"];
    let (user, client) = (server.user().await, native_client(&server, &registered).await);
    for uri in ["http://127.0.0.1:51004/callback", "http://[::1]:61023/callback", "http://127.0.0.1/callback"] {
        let callback = server.authorized(&user, &request(&client, uri)).await;
        assert!(callback.as_str().starts_with(uri), "{callback}");
        let code = query_of(&callback).remove("code").expect("a code");
        let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", uri)];
        server.token_as(&client, &form).await.expect(200);
    }
}

async fn only_the_port_of_a_loopback_uri_is_free(server: Server) {
    // RFC 8252 7.3.
    let client = native_client(&server, &["http://127.0.0.1/callback"]).await;
    let near = [
        "http://127.0.0.1:51004/other",
        "https://127.0.0.1:51004/callback",
        "http://127.0.0.2:51004/callback",
        "http://127.0.0.1.evil.example:51004/callback",
        "http://127.0.0.1:51004@evil.example/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:51004/callback?x=1",
    ];
    for near in near {
        let page = Browser::new(&server).open(&server.authorize_url(&request(&client, near))).await;
        page.expect_error_page("invalid_request");
    }
}

async fn a_uri_with_a_fragment_cannot_be_registered(server: Server) {
    // RFC 6749 3.1.2: "The endpoint URI MUST NOT include a fragment component."
    cannot_be_registered(&server, "https://client.example/callback#fragment").await;
}

async fn a_script_uri_cannot_be_registered(server: Server) {
    // RFC 9700 4.11: an open redirector is bad, one into a script is worse.
    for uri in ["javascript:alert(1)", "data:text/html,x", "callback", "//client.example/callback", ""] {
        cannot_be_registered(&server, uri).await;
    }
}

async fn cannot_be_registered(server: &Server, uri: &str) {
    let start = ["client", "create", "--name", "wrong", "--redirect-uri", uri, "--grant-type", "authorization_code"];
    let output = server.site().run(&[&start[..], &["--response-type", "code", "--scope", "profile"]].concat()).await;
    assert!(!output.status.success(), "{uri:?} was registered");
}

async fn the_token_request_must_name_the_same_uri(server: Server) {
    // RFC 6749 4.1.3: "their values MUST be identical".
    let other = "https://client.example/other";
    let (user, client) = (server.user().await, client(&server, &[CALLBACK, other]).await);
    let callback = server.authorized(&user, &request(&client, CALLBACK)).await;
    let code = query_of(&callback).remove("code").expect("a code");
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", other)];
    server.token_as(&client, &form).await.expect_error(400, "invalid_grant");
}

async fn the_token_request_must_name_the_uri_when_the_authorization_request_did(server: Server) {
    // RFC 6749 4.1.3: redirect_uri is "REQUIRED, if the "redirect_uri" parameter was included".
    let (user, client) = (server.user().await, client(&server, &[CALLBACK]).await);
    let callback = server.authorized(&user, &request(&client, CALLBACK)).await;
    let code = query_of(&callback).remove("code").expect("a code");
    let form = [("grant_type", "authorization_code"), ("code", code.as_str())];
    server.token_as(&client, &form).await.expect_error(400, "invalid_grant");
}
