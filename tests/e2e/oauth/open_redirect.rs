//! No open redirector: RFC 9700 4.11.2. Who registers a client chooses where its errors lead, so people are asked first.

use serde_json::json;
use url::Url;

use crate::conformance::rp::{Rp, SIGNED_OUT};
use crate::harness::{
    Browser, CALLBACK, Server, Store,
    browser::{Page, query_of},
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        an_error_of_a_client_that_registered_itself_is_no_redirect,
        the_page_says_where_it_leads_and_a_click_goes_there,
        who_denies_is_not_sent_there,
        who_was_there_before_is_sent_there,
        signing_out_is_no_redirect_to_whom_nobody_knows,
        a_client_of_the_operator_is_redirected_to,
        nobody_answers_for_a_client_of_a_user_until_an_operator_does,
    ],
    own![an_initial_access_token_vouches, the_setting_follows],
];

/// What a link can ask for that ends in an error, before anybody does anything.
const SILENT: [(&str, &str); 5] = [
    ("prompt", "none"),
    ("scope", "no_such_scope"),
    ("response_type", "code token id_token nonsense"),
    ("request", "x"),
    ("response_mode", "nonsense"),
];

async fn registered(server: &Server) -> Rp {
    Rp::registered(server, "code", json!({ "post_logout_redirect_uris": [SIGNED_OUT] })).await
}

#[track_caller]
fn assert_asked(page: &Page) {
    assert!(page.asks_before_leaving(), "{}", page.answer);
    assert!(page.answer.header("refresh").is_none() && !page.answer.text().contains("<script"), "{}", page.answer);
    assert_eq!(page.text_of("leaving-destination").as_deref(), Some("client.example"), "{}", page.answer);
}

async fn an_error_of_a_client_that_registered_itself_is_no_redirect(server: Server) {
    let (rp, user) = (registered(&server).await, server.user().await);
    for mut browser in [Browser::new(&server), Browser::signed_in(&server, &user).await] {
        for parameter in SILENT {
            assert_asked(&browser.open(&rp.url(&[parameter])).await);
            let posting = [parameter, ("response_mode", "form_post")];
            assert_asked(&browser.open(&rp.url(&posting[..if parameter.0 == "response_mode" { 1 } else { 2 }])).await);
        }
    }
}

async fn the_page_says_where_it_leads_and_a_click_goes_there(server: Server) {
    // Without a script, and whatever way the client wants to hear it.
    let rp = registered(&server).await;
    let more = [("prompt", "none"), ("state", "a b&\"")];
    for mode in ["query", "fragment", "form_post"] {
        let page = Browser::new(&server).open(&rp.url(&[&more[..], &[("response_mode", mode)]].concat())).await;
        assert_asked(&page);
        let response = rp.response(&page);
        assert_eq!((&*response["error"], &*response["state"]), ("login_required", more[1].1), "{mode}");
        assert_eq!(response["iss"], server.base(), "{mode}");
        let policy = page.answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        // Where the client leads on to is not known here.
        assert!(!policy.contains("form-action"), "{policy}");
    }
}

async fn who_denies_is_not_sent_there(server: Server) {
    let (rp, user) = (registered(&server).await, server.user().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&rp.url(&[])).await;
    let page = browser.submit(&page, "consent-form", "consent-deny", &[]).await;
    assert_asked(&page);
    assert_eq!(rp.response(&page)["error"], "access_denied");
}

async fn who_was_there_before_is_sent_there(server: Server) {
    let (rp, user) = (registered(&server).await, server.user().await);
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &user, &[]).await;
    for parameter in SILENT.into_iter().skip(1).chain([("max_age", "0")]) {
        let page = browser.open(&rp.url(&[parameter, ("prompt", "none")])).await;
        assert!(query_of(&page.callback()).contains_key("error"), "{parameter:?}: {}", page.answer);
    }
    // Another browser, another user: they were not.
    let other = server.user().await;
    assert_asked(&Browser::signed_in(&server, &other).await.open(&rp.url(&[("scope", "nonsense")])).await);
}

async fn signing_out_is_no_redirect_to_whom_nobody_knows(server: Server) {
    let (rp, user, other) = (registered(&server).await, server.user().await, server.user().await);
    let url =
        |name: &str, value: &str| format!("/oauth/logout?{name}={value}&post_logout_redirect_uri={SIGNED_OUT}&state=x");
    // An ID token of the attacker's own says nothing of who sits there, though it ends the attacker's own session.
    let attackers = rp.login(&mut Browser::new(&server), &user, &[]).await;
    let urls = [url("id_token_hint", attackers.id_token()), url("client_id", &rp.client.id)];
    let onward = |page: &Page| page.link("continue").map(Url::into);
    for url in &urls {
        let page = Browser::new(&server).open(url).await;
        assert_eq!(onward(&page), Some(format!("{SIGNED_OUT}?state=x")), "{}", page.answer);
        assert!(!page.answer.text().contains("<script"), "{}", page.answer);
        let mut browser = Browser::signed_in(&server, &other).await;
        let page = browser.open(url).await;
        assert_eq!(page.text_of("logout-destination").as_deref(), Some("client.example"), "{}", page.answer);
        let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
        assert_eq!(onward(&page), Some(format!("{SIGNED_OUT}?state=x")), "{}", page.answer);
        assert_eq!(page.text_of("logged-out-destination").as_deref(), Some("client.example"), "{}", page.answer);
    }
    // Who has been there goes there.
    let mut known = Browser::new(&server);
    let login = rp.login(&mut known, &user, &[]).await;
    let page = known.open(&url("id_token_hint", login.id_token())).await;
    assert_eq!(page.callback().as_str(), format!("{SIGNED_OUT}?state=x"));
}

async fn a_client_of_the_operator_is_redirected_to(server: Server) {
    // RFC 6749 4.1.2.1.
    let rp = Rp::new(&server, "code").await;
    for parameter in SILENT {
        let page = Browser::new(&server).open(&rp.url(&[parameter])).await;
        assert!(page.callback().as_str().starts_with(CALLBACK), "{}", page.answer);
    }
    let logout = format!("/oauth/logout?client_id={}&post_logout_redirect_uri={SIGNED_OUT}", rp.client.id);
    assert_eq!(Browser::new(&server).open(&logout).await.callback().as_str(), SIGNED_OUT);
}

async fn nobody_answers_for_a_client_of_a_user_until_an_operator_does(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let id = crate::pages::clients::create(&server, &mut browser).await.id;
    let url = server.authorize_url(&[("response_type", "nonsense"), ("client_id", &id), ("redirect_uri", CALLBACK)]);
    assert_asked(&Browser::new(&server).open(&url).await);
    server.site().run_well(&["client", "update", &id, "--vouch"]).await;
    crate::harness::poll::until("the server sees that somebody vouched for it", async || {
        let page = Browser::new(&server).open(&url).await;
        page.answer.location().map(|to| assert_eq!(query_of(&to)["error"], "unsupported_response_type"))
    })
    .await;
}

async fn an_initial_access_token_vouches(store: Store) {
    let token = "0123456789abcdef0123456789abcdef";
    let settings = [("REGISTRATION_MODE", "token"), ("REGISTRATION_INITIAL_ACCESS_TOKENS", &*format!("ci:{token}"))];
    let server = Server::start(store, &settings).await;
    let metadata = json!({ "redirect_uris": [CALLBACK], "client_name": "X" }).to_string();
    let registration = server.post("/oauth/register").bearer(token).body("application/json", metadata);
    let rp = Rp::of_answer(&server, "code", &registration.send().await.expect(201).json());
    let page = Browser::new(&server).open(&rp.url(&[("prompt", "none")])).await;
    assert_eq!(query_of(&page.callback())["error"], "login_required");
}

async fn the_setting_follows(store: Store) {
    let settings = [("REGISTRATION_MODE", "open"), ("REGISTRATION_ERROR_REDIRECTS", "follow")];
    let server = Server::start(store, &settings).await;
    let rp = registered(&server).await;
    let page = Browser::new(&server).open(&rp.url(&[("prompt", "none")])).await;
    assert_eq!(query_of(&page.callback())["error"], "login_required");
    let logout = format!("/oauth/logout?client_id={}&post_logout_redirect_uri={SIGNED_OUT}", rp.client.id);
    assert_eq!(Browser::new(&server).open(&logout).await.callback().as_str(), SIGNED_OUT);
}
