//! The authorization endpoint with `response_type=code`: RFC 6749 3.1, 4.1.1, 4.1.2; RFC 9207.

use crate::harness::{
    Browser, CALLBACK, Server,
    browser::query_of,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    a_code_goes_to_the_redirect_uri_with_state_and_iss,
    post_works_as_get_does,
    state_comes_back_exactly_as_it_was_sent,
    no_state_comes_back_when_none_was_sent,
    a_user_who_denies_sends_access_denied,
    a_missing_response_type_is_invalid_request,
    an_unknown_response_type_is_unsupported_response_type,
    a_response_type_that_is_not_registered_is_unauthorized_client,
    a_scope_that_is_not_registered_is_invalid_scope,
    a_malformed_scope_is_invalid_scope,
    a_request_without_scope_gets_a_default_or_invalid_scope,
    a_repeated_parameter_is_invalid_request,
    an_unknown_parameter_is_ignored,
    a_parameter_without_value_is_as_good_as_left_out,
    an_unknown_client_is_told_on_a_page,
    a_missing_client_id_is_told_on_a_page,
    a_repeated_client_id_is_told_on_a_page,
    a_disabled_client_is_told_on_a_page,
    nothing_is_given_to_a_browser_that_is_not_signed_in,
    wrong_requests_are_refused_before_anyone_signs_in,
]];

/// Parameters of a request without PKCE, which confidential clients may send.
fn request(client_id: &str) -> Vec<(&str, &str)> {
    vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", CALLBACK),
        ("scope", "profile read"),
        ("state", "af0ifjsldkj"),
    ]
}

fn with<'a>(mut request: Vec<(&'a str, &'a str)>, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    request.retain(|(other, _)| *other != name);
    request.push((name, value));
    request
}

fn without<'a>(mut request: Vec<(&'a str, &'a str)>, name: &str) -> Vec<(&'a str, &'a str)> {
    request.retain(|(other, _)| *other != name);
    request
}

/// RFC 6749 4.1.2.1 and RFC 9207 2: the error goes to the client with the state and the issuer, and with no code.
async fn expect_redirected_error(server: &Server, parameters: &[(&str, &str)], error: &str) {
    let user = server.user().await;
    let callback = server.authorized(&user, parameters).await;
    let query = query_of(&callback);
    assert_eq!(query.get("error").map(String::as_str), Some(error), "{callback}");
    assert_eq!(query.get("state").map(String::as_str), Some("af0ifjsldkj"), "{callback}");
    assert_eq!(query.get("iss").map(String::as_str), Some(server.base()), "{callback}");
    assert!(!query.contains_key("code"), "{callback}");
    assert!(callback.as_str().starts_with(CALLBACK), "{callback}");
}

async fn a_code_goes_to_the_redirect_uri_with_state_and_iss(server: Server) {
    // RFC 6749 4.1.2; RFC 9207 2.
    let (user, client) = (server.user().await, server.web_client().await);
    let page = Browser::new(&server).authorize(&server.authorize_url(&request(&client.id)), &user).await;
    let callback = page.callback();
    let query = query_of(&callback);
    assert!(callback.as_str().starts_with(&format!("{CALLBACK}?")), "{callback}");
    assert!(query["code"].len() >= 43, "a code that can be guessed: {callback}");
    assert_eq!(query["state"], "af0ifjsldkj");
    assert_eq!(query["iss"], server.base());
    assert_eq!(callback.fragment(), None);
    page.answer.expect_no_store();
}

async fn post_works_as_get_does(server: Server) {
    // RFC 6749 3.1: "MAY support the use of the POST method as well".
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let answer = browser.send(server.post("/oauth/authorize").form(&request(&client.id))).await;
    let page = browser.follow(answer).await;
    let page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
    assert!(query_of(&page.callback()).contains_key("code"));
}

async fn state_comes_back_exactly_as_it_was_sent(server: Server) {
    // RFC 6749 4.1.2: "The exact value received from the client."
    let (user, client) = (server.user().await, server.web_client().await);
    let state = "a b+c&d=e%20f/ü?#\"<>'";
    let callback = server.authorized(&user, &with(request(&client.id), "state", state)).await;
    assert_eq!(query_of(&callback)["state"], state);
}

async fn no_state_comes_back_when_none_was_sent(server: Server) {
    // RFC 6749 4.1.2: state is "REQUIRED if the "state" parameter was present".
    let (user, client) = (server.user().await, server.web_client().await);
    let callback = server.authorized(&user, &without(request(&client.id), "state")).await;
    assert!(!query_of(&callback).contains_key("state"), "{callback}");
}

async fn a_user_who_denies_sends_access_denied(server: Server) {
    // RFC 6749 4.1.2.1.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&server.authorize_url(&request(&client.id))).await;
    let callback = browser.submit(&page, "consent-form", "consent-deny", &[]).await.callback();
    let query = query_of(&callback);
    assert_eq!(query["error"], "access_denied");
    assert_eq!((query["state"].as_str(), query["iss"].as_str()), ("af0ifjsldkj", server.base()));
    assert!(!query.contains_key("code"));
}

async fn a_missing_response_type_is_invalid_request(server: Server) {
    // RFC 6749 3.1.1: a missing response type "MUST" give an error.
    let client = server.web_client().await;
    expect_redirected_error(&server, &without(request(&client.id), "response_type"), "invalid_request").await;
}

async fn an_unknown_response_type_is_unsupported_response_type(server: Server) {
    // RFC 6749 3.1.1.
    let client = server.web_client().await;
    let parameters = with(request(&client.id), "response_type", "magic");
    expect_redirected_error(&server, &parameters, "unsupported_response_type").await;
}

async fn a_response_type_that_is_not_registered_is_unauthorized_client(server: Server) {
    // RFC 6749 4.1.2.1: a client registered for the implicit grant only asks for a code.
    let implicit = ["--redirect-uri", CALLBACK, "--grant-type", "implicit", "--response-type", "token"];
    let client = server.client(&[&implicit[..], &["--scope", "profile read", "--auth-method", "none"]].concat()).await;
    expect_redirected_error(&server, &request(&client.id), "unauthorized_client").await;
}

async fn a_scope_that_is_not_registered_is_invalid_scope(server: Server) {
    // RFC 6749 4.1.2.1.
    let client = server.web_client().await;
    expect_redirected_error(&server, &with(request(&client.id), "scope", "profile admin"), "invalid_scope").await;
}

async fn a_malformed_scope_is_invalid_scope(server: Server) {
    // RFC 6749 3.3 and 4.1.2.1: a quotation mark is no character of a scope-token.
    let client = server.web_client().await;
    expect_redirected_error(&server, &with(request(&client.id), "scope", "pro\"file"), "invalid_scope").await;
}

async fn a_request_without_scope_gets_a_default_or_invalid_scope(server: Server) {
    // RFC 6749 3.3: "MUST either process the request using a pre-defined default value or fail".
    let (user, client) = (server.user().await, server.web_client().await);
    let callback = server.authorized(&user, &without(request(&client.id), "scope")).await;
    let query = query_of(&callback);
    assert!(
        query.contains_key("code") || query.get("error").is_some_and(|error| error == "invalid_scope"),
        "{callback}"
    );
}

async fn a_repeated_parameter_is_invalid_request(server: Server) {
    // RFC 6749 3.1: "Request and response parameters MUST NOT be included more than once."
    let client = server.web_client().await;
    let mut parameters = request(&client.id);
    parameters.push(("scope", "read"));
    expect_redirected_error(&server, &parameters, "invalid_request").await;
}

async fn an_unknown_parameter_is_ignored(server: Server) {
    // RFC 6749 3.1: "MUST ignore unrecognized request parameters".
    let (user, client) = (server.user().await, server.web_client().await);
    let callback = server.authorized(&user, &with(request(&client.id), "shoe_size", "42")).await;
    assert!(query_of(&callback).contains_key("code"), "{callback}");
}

async fn a_parameter_without_value_is_as_good_as_left_out(server: Server) {
    // RFC 6749 3.1: "Parameters sent without a value MUST be treated as if they were omitted from the request."
    let (user, client) = (server.user().await, server.web_client().await);
    let parameters = with(with(request(&client.id), "code_challenge", ""), "code_challenge_method", "");
    let callback = server.authorized(&user, &parameters).await;
    assert!(query_of(&callback).contains_key("code"), "{callback}");
    let parameters = with(request(&client.id), "response_type", "");
    expect_redirected_error(&server, &parameters, "invalid_request").await;
}

async fn an_unknown_client_is_told_on_a_page(server: Server) {
    // RFC 6749 4.1.2.1: "MUST NOT automatically redirect the user-agent to the invalid redirection URI".
    for id in ["unknown", "00000000-0000-7000-8000-000000000000", "' OR 1=1 --", "../../etc/passwd"] {
        let page = Browser::new(&server).open(&server.authorize_url(&request(id))).await;
        page.expect_error_page("invalid_client");
    }
}

async fn a_missing_client_id_is_told_on_a_page(server: Server) {
    // RFC 6749 4.1.2.1.
    let page = Browser::new(&server).open(&server.authorize_url(&without(request(""), "client_id"))).await;
    page.expect_error_page("invalid_request");
}

async fn a_repeated_client_id_is_told_on_a_page(server: Server) {
    // RFC 6749 3.1 and 4.1.2.1: which of the two would verify the redirect URI?
    let (client, other) = (server.web_client().await, server.web_client().await);
    let mut parameters = request(&client.id);
    parameters.push(("client_id", &other.id));
    Browser::new(&server).open(&server.authorize_url(&parameters)).await.expect_error_page("invalid_request");
}

async fn a_disabled_client_is_told_on_a_page(server: Server) {
    // RFC 6749 4.1.2.1: a client that may not act any more is not redirected to either.
    let client = server.web_client().await;
    server.site().run_well(&["client", "disable", &client.id]).await;
    let url = server.authorize_url(&request(&client.id));
    let page = crate::harness::poll::until("the server sees that the client is disabled", async || {
        let page = Browser::new(&server).open(&url).await;
        page.text_of("error-page").is_some().then_some(page)
    })
    .await;
    assert_eq!(page.answer.header("location"), None);
}

async fn nothing_is_given_to_a_browser_that_is_not_signed_in(server: Server) {
    // RFC 6749 3.1: "The authorization server MUST first verify the identity of the resource owner."
    let client = server.web_client().await;
    let page = Browser::new(&server).open(&server.authorize_url(&request(&client.id))).await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
    assert!(page.form("consent-form").is_none(), "{}", page.answer);
}

async fn wrong_requests_are_refused_before_anyone_signs_in(server: Server) {
    // RFC 6749 4.1.2.1: nobody types a password for a request that cannot succeed.
    let client = server.web_client().await;
    let parameters = with(request(&client.id), "response_type", "magic");
    let page = Browser::new(&server).open(&server.authorize_url(&parameters)).await;
    assert_eq!(query_of(&page.callback())["error"], "unsupported_response_type");
}
