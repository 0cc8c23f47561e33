//! The way through sign-in and consent, and `prompt`: RFC 6749 3.1, OpenID Connect Core 3.1.2.1.

use crate::harness::{
    Browser, CALLBACK, Client, Server, User,
    browser::{Page, query_of},
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    a_request_of_any_length_that_is_taken_comes_back_from_the_sign_in,
    a_request_that_is_too_long_is_invalid_request,
    prompt_none_shows_nothing,
    prompt_none_with_another_is_invalid_request,
    prompt_login_asks_a_user_who_is_signed_in,
    prompt_login_counts_no_sign_in_from_before,
    a_sign_in_that_was_asked_for_counts_once,
    prompt_login_cannot_be_undone_by_who_sends_the_request,
    an_arrival_is_worth_nothing_for_another_request,
    prompt_consent_asks_again,
    the_consent_page_lets_somebody_else_sign_in,
]];

fn request<'a>(client: &'a Client, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let request = [("response_type", "code"), ("client_id", client.id.as_str()), ("redirect_uri", CALLBACK)];
    [&request[..], &[("scope", "profile read")], more].concat()
}

/// The path that the sign-in form leads to.
fn next(page: &Page) -> String {
    let form = page.form("login-form").unwrap_or_else(|| panic!("no sign-in page: {}", page.answer));
    form.fields.into_iter().find(|(name, _)| name == "next").expect("a field next").1
}

/// Where the link with that id leads.
#[track_caller]
fn link_of(page: &Page, id: &str) -> String {
    page.link(id).unwrap_or_else(|| panic!("no {id}: {}", page.answer)).into()
}

#[track_caller]
fn assert_asked_to_sign_in(page: &Page) {
    assert!(page.form("login-form").is_some(), "{}", page.answer);
}

async fn a_request_of_any_length_that_is_taken_comes_back_from_the_sign_in(server: Server) {
    // RFC 6749 4.1.1: state is opaque; what the endpoint takes must not be lost on the way.
    let (user, client) = (server.user().await, server.web_client().await);
    for state in ["a".repeat(2048), "\"".repeat(2048), "é".repeat(1024), "%".repeat(2048)] {
        for prompt in ["", "login"] {
            let url = server.authorize_url(&request(&client, &[("state", &state), ("prompt", prompt)]));
            let mut browser = Browser::new(&server);
            let page = browser.authorize(&url, &user).await;
            let query = query_of(&page.callback());
            assert!(query.contains_key("code"), "{query:?}");
            assert_eq!(query["state"], state);
        }
    }
}

async fn a_request_that_is_too_long_is_invalid_request(server: Server) {
    // RFC 6749 4.1.2.1: told at once, and not lost behind the sign-in.
    let long = format!("https://client.example/{}", "%22".repeat(600));
    let arguments = ["--redirect-uri", &long, "--grant-type", "authorization_code", "--response-type", "code"];
    let client = server.client(&[&arguments[..], &["--scope", "profile read"]].concat()).await;
    let state = "\"".repeat(2048);
    let mut parameters = request(&client, &[("state", &state)]);
    parameters[2].1 = &long;
    // Posted, because it does not fit into a URL that everybody carries.
    let answer = server.post("/oauth/authorize").form(&parameters).send().await;
    let callback = Page { answer }.callback();
    let query = query_of(&callback);
    assert_eq!((query["error"].as_str(), query["state"].as_str()), ("invalid_request", state.as_str()));
}

async fn prompt_none_shows_nothing(server: Server) {
    // OpenID Connect Core 3.1.2.1: "MUST NOT display any authentication or consent user interface pages."
    let (user, client) = (server.user().await, server.web_client().await);
    let url = server.authorize_url(&request(&client, &[("prompt", "none")]));
    let page = Browser::new(&server).open(&url).await;
    assert_eq!(query_of(&page.callback())["error"], "login_required");
    let page = Browser::signed_in(&server, &user).await.open(&url).await;
    assert_eq!(query_of(&page.callback())["error"], "consent_required");
}

async fn prompt_none_with_another_is_invalid_request(server: Server) {
    // OpenID Connect Core 3.1.2.1: "If this parameter contains none with any other value, an error is returned."
    let client = server.web_client().await;
    for prompt in ["none login", "consent none", "none select_account"] {
        let url = server.authorize_url(&request(&client, &[("prompt", prompt)]));
        let page = Browser::new(&server).open(&url).await;
        assert_eq!(query_of(&page.callback())["error"], "invalid_request");
    }
}

async fn prompt_login_asks_a_user_who_is_signed_in(server: Server) {
    // OpenID Connect Core 3.1.2.1: "The Authorization Server SHOULD prompt the End-User for reauthentication."
    let user = server.user().await;
    let client = server.web_client().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let url = server.authorize_url(&request(&client, &[("prompt", "login")]));
    let page = browser.open(&url).await;
    assert_asked_to_sign_in(&page);
    let page = browser.fill_in_login(&page, &user).await;
    let page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
    assert!(query_of(&page.callback()).contains_key("code"), "{}", page.answer);
    // And the next time anew.
    assert_asked_to_sign_in(&browser.open(&url).await);
}

async fn prompt_login_counts_no_sign_in_from_before(server: Server) {
    // OpenID Connect Core 3.1.2.1: coming back without having signed in is not enough.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&server.authorize_url(&request(&client, &[("prompt", "login")]))).await;
    let next = next(&page);
    assert_asked_to_sign_in(&browser.open(&next).await);
    // The form of the consent page, without the sign-in.
    let mut form: Vec<(String, String)> =
        url::Url::parse(&server.url(&next)).expect("a URL").query_pairs().into_owned().collect();
    form.push(("decision".into(), "allow".into()));
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = browser.send(server.post("/oauth/authorize").form(&form)).await;
    assert_asked_to_sign_in(&Page { answer });
}

async fn a_sign_in_that_was_asked_for_counts_once(server: Server) {
    // OpenID Connect Core 3.1.2.1: who finds the URL in the history of the browser is asked as for any other request.
    let user = server.user().await;
    for demand in [("prompt", "login"), ("max_age", "0")] {
        let client = server.web_client().await;
        let url = server.authorize_url(&request(&client, &[demand]));
        let mut browser = Browser::signed_in(&server, &user).await;
        let page = browser.open(&url).await;
        let next_of_first = next(&page);
        let consent = browser.fill_in_login(&page, &user).await;
        // To look at the question twice is no use of it.
        let again = browser.open(&next_of_first).await;
        let page = browser.submit(&again, "consent-form", "consent-allow", &[]).await;
        assert!(query_of(&page.callback()).contains_key("code"), "{}", page.answer);
        assert_asked_to_sign_in(&browser.open(&next_of_first).await);
        assert_asked_to_sign_in(&browser.submit(&consent, "consent-form", "consent-allow", &[]).await);
        // The same with a consent from before.
        let page = browser.open(&url).await;
        let next_of_second = next(&page);
        let page = browser.fill_in_login(&page, &user).await;
        assert!(query_of(&page.callback()).contains_key("code"), "{}", page.answer);
        let page = browser.open(&next_of_second).await;
        assert_asked_to_sign_in(&page);
        // Whoever does sign in gets through.
        let page = browser.fill_in_login(&page, &user).await;
        assert!(query_of(&page.callback()).contains_key("code"), "{}", page.answer);
    }
}

async fn prompt_login_cannot_be_undone_by_who_sends_the_request(server: Server) {
    // OpenID Connect Core 3.1.2.1: a parameter that says that all is done already is not believed.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let mac = "A".repeat(43);
    let forged = [
        ("signed_in_since", "0".to_owned()),
        ("again", "yes".to_owned()),
        ("arrival", "0".to_owned()),
        ("arrival", format!("0..{mac}")),
        ("arrival", format!("1795474000..{mac}")),
        ("arrival", format!("-9223372036854775808..{mac}")),
        ("arrival", "..".to_owned()),
    ];
    for (name, value) in &forged {
        let url = server.authorize_url(&request(&client, &[("prompt", "login"), (name, value)]));
        assert_asked_to_sign_in(&browser.open(&url).await);
    }
}

async fn an_arrival_is_worth_nothing_for_another_request(server: Server) {
    // What was proved for one client and state is not proved for another.
    let (user, client, other) = (server.user().await, server.web_client().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&server.authorize_url(&request(&client, &[("prompt", "login")]))).await;
    let next = next(&page);
    browser.fill_in_login(&page, &user).await;
    let bent = next.replace(&client.id, &other.id);
    assert_ne!(bent, next);
    assert_asked_to_sign_in(&browser.open(&bent).await);
    assert!(browser.open(&next).await.form("consent-form").is_some(), "the request itself is asked for consent");
}

async fn prompt_consent_asks_again(server: Server) {
    // OpenID Connect Core 3.1.2.1.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let plain = server.authorize_url(&request(&client, &[]));
    browser.authorize(&plain, &user).await.callback();
    assert!(query_of(&browser.open(&plain).await.callback()).contains_key("code"), "an earlier consent counts");
    let page = browser.open(&server.authorize_url(&request(&client, &[("prompt", "consent")]))).await;
    assert!(page.form("consent-form").is_some(), "{}", page.answer);
}

async fn the_consent_page_lets_somebody_else_sign_in(server: Server) {
    // RFC 6749 10.2: the user sees which account it is, and can change it without losing the request.
    let (user, other, client): (User, User, Client) =
        (server.user().await, server.user().await, server.web_client().await);
    let state = "\"".repeat(2000);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&server.authorize_url(&request(&client, &[("state", &state)]))).await;
    let link = link_of(&page, "switch-account");
    let page = browser.open(&link).await;
    let page = browser.open(&link_of(&page, "use-another-account")).await;
    let page = browser.fill_in_login(&page, &other).await;
    assert_eq!(page.text_of("consent-account").as_deref(), Some(other.username.as_str()));
    let page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
    assert_eq!(query_of(&page.callback())["state"], state);
}
