//! Parameters of the authentication request: OpenID Connect Core 3.1.2.1 and 3.1.2.6.

use serde_json::{Value, json};

use super::rp::{Login, RESPONSE_TYPES, Rp, now, until_after};
use crate::harness::{
    Browser, CALLBACK, Server, User,
    signer::unsigned,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    oidcc_response_type_missing,
    oidcc_ensure_request_without_nonce_succeeds_for_code_flow,
    oidcc_ensure_request_without_nonce_fails,
    oidcc_display_page,
    oidcc_display_popup,
    oidcc_prompt_login,
    oidcc_prompt_none_not_logged_in,
    oidcc_prompt_none_logged_in,
    oidcc_max_age_1,
    oidcc_max_age_10000,
    oidcc_ensure_request_with_unknown_parameter_succeeds,
    oidcc_id_token_hint,
    oidcc_login_hint,
    oidcc_ui_locales,
    oidcc_claims_locales,
    oidcc_ensure_request_with_acr_values_succeeds,
    oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported,
    oidcc_ensure_registered_redirect_uri,
    oidcc_ensure_redirect_uri_in_authorization_request,
    oidcc_redirect_uri_query_ok,
    oidcc_redirect_uri_query_mismatch,
    oidcc_redirect_uri_query_added,
    oidcc_ensure_post_request_succeeds,
    a_default_max_age_holds_when_the_request_has_none,
    a_max_age_of_0_asks_for_a_sign_in_for_this_request,
    a_hint_of_somebody_else_asks_for_that_user,
    whoever_else_signs_in_is_login_required,
    scope_words_that_nobody_knows_are_ignored,
    tokens_never_come_in_the_query,
    an_id_token_needs_the_scope_openid,
]];

async fn oidcc_response_type_missing(server: Server) {
    // Form Post Response Mode 2, Multiple Response Types 2.1: in the mode that the request names, errors too.
    for rp in Rp::of_every_plan(&server).await {
        for (response_type, expected) in [("", "invalid_request"), ("carrier_pigeon", "unsupported_response_type")] {
            let page = Browser::new(&server).open(&rp.url(&[("response_type", response_type)])).await;
            assert_eq!(page.form("form-post").is_some(), rp.response_mode.is_some(), "{}", page.answer);
            assert_eq!(rp.response(&page)["error"], expected);
        }
    }
    let rp = Rp::new(&server, "code").await;
    let page = Browser::new(&server).open(&rp.url(&[("response_type", ""), ("response_mode", "fragment")])).await;
    assert!(page.callback().fragment().is_some_and(|fragment| fragment.contains("error=invalid_request")));
}

async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow(server: Server) {
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    for response_mode in [None, Some("form_post")] {
        let rp = Rp { response_mode, ..rp.clone() };
        let response = rp.authorize(&mut Browser::new(&server), &user, &[("nonce", "")]).await;
        let tokens = rp.redeem(&response["code"]).await;
        let claims = rp.validated(tokens["id_token"].as_str().expect("an ID token")).await;
        assert!(claims.get("nonce").is_none(), "{claims}");
    }
}

async fn oidcc_ensure_request_without_nonce_fails(server: Server) {
    // 3.2.2.1, 3.3.2.11: where the ID token comes through the browser.
    for rp in Rp::of_every_plan(&server).await {
        let page = Browser::new(&server).open(&rp.url(&[("nonce", ""), ("prompt", "none")])).await;
        let expected = if rp.response_type.contains("id_token") { "invalid_request" } else { "login_required" };
        assert_eq!(rp.response(&page)["error"], expected, "{}", rp.response_type);
    }
}

/// A login with this parameter is as good as one without.
async fn changes_nothing(server: &Server, name: &str, value: &str) {
    let (user, mut browser) = (server.user().await, Browser::new(server));
    for rp in Rp::of_every_plan(server).await {
        rp.login(&mut browser, &user, &[(name, value)]).await;
    }
}

async fn oidcc_display_page(server: Server) {
    changes_nothing(&server, "display", "page").await;
}

async fn oidcc_display_popup(server: Server) {
    changes_nothing(&server, "display", "popup").await;
}

async fn oidcc_ui_locales(server: Server) {
    changes_nothing(&server, "ui_locales", "se").await;
}

async fn oidcc_claims_locales(server: Server) {
    changes_nothing(&server, "claims_locales", "se").await;
}

async fn oidcc_ensure_request_with_acr_values_succeeds(server: Server) {
    // With what is announced; and the ID token says one of those.
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    let announced: Vec<&str> =
        configuration["acr_values_supported"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let (user, wanted) = (server.user().await, announced.join(" "));
    let mut browser = Browser::new(&server);
    for rp in Rp::of_every_plan(&server).await {
        let more = [("acr_values", wanted.as_str())];
        let login = rp.login(&mut browser, &user, &more).await;
        let acr = login.claims["acr"].as_str().expect("an acr");
        assert!(announced.contains(&acr), "{acr} is none of {announced:?}");
    }
    // Wishes that nobody can fulfil change nothing.
    changes_nothing(&server, "acr_values", "gold silver").await;
}

async fn oidcc_ensure_request_with_unknown_parameter_succeeds(server: Server) {
    changes_nothing(&server, "extra", "foobar").await;
}

/// A sign-in of that user for each run, in a browser of its own.
async fn signed_in_for_every_plan(server: &Server, user: &User) -> Vec<(Rp, Browser, Login)> {
    let mut runs = Vec::new();
    for rp in Rp::of_every_plan(server).await {
        let mut browser = Browser::new(server);
        let first = rp.login(&mut browser, user, &[]).await;
        runs.push((rp, browser, first));
    }
    runs
}

fn auth_time(login: &Login) -> i64 {
    login.claims["auth_time"].as_i64().expect("auth_time")
}

async fn oidcc_prompt_login(server: Server) {
    let user = server.user().await;
    let runs = signed_in_for_every_plan(&server, &user).await;
    until_after(auth_time(&runs[runs.len() - 1].2), 0).await;
    for (rp, mut browser, first) in runs {
        let page = browser.open(&rp.url(&[("prompt", "login")])).await;
        assert!(page.form("login-form").is_some(), "the user is not asked again: {}", page.answer);
        let second = rp.login(&mut browser, &user, &[("prompt", "login")]).await;
        assert!(auth_time(&second) > auth_time(&first), "{}", second.claims);
        assert_eq!(second.claims["sub"], first.claims["sub"]);
    }
}

async fn oidcc_prompt_none_not_logged_in(server: Server) {
    for rp in Rp::of_every_plan(&server).await {
        let page = Browser::new(&server).open(&rp.url(&[("prompt", "none")])).await;
        assert_eq!(rp.response(&page)["error"], "login_required");
    }
}

async fn oidcc_prompt_none_logged_in(server: Server) {
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let first = rp.login(&mut browser, &user, &[]).await;
        let page = browser.open(&rp.url(&[("prompt", "none")])).await;
        assert!(!rp.response(&page).contains_key("error"), "{:?}", rp.response(&page));
        let second = rp.login(&mut browser, &user, &[("prompt", "none")]).await;
        for claim in ["sub", "auth_time", "sid"] {
            assert_eq!(first.claims[claim], second.claims[claim], "{claim}");
        }
    }
}

async fn oidcc_max_age_1(server: Server) {
    let user = server.user().await;
    let runs = signed_in_for_every_plan(&server, &user).await;
    until_after(auth_time(&runs[runs.len() - 1].2), 1).await;
    for (rp, mut browser, first) in runs {
        let page = browser.open(&rp.url(&[("max_age", "1")])).await;
        assert!(page.form("login-form").is_some(), "the user is not asked again: {}", page.answer);
        let silent = browser.open(&rp.url(&[("max_age", "1"), ("prompt", "none")])).await;
        assert_eq!(rp.response(&silent)["error"], "login_required");
        let second = rp.login(&mut browser, &user, &[("max_age", "1")]).await;
        assert!(auth_time(&second) > auth_time(&first), "{}", second.claims);
    }
}

async fn oidcc_max_age_10000(server: Server) {
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let first = rp.login(&mut browser, &user, &[]).await;
        let page = browser.open(&rp.url(&[("max_age", "10000")])).await;
        assert!(!rp.response(&page).contains_key("error"), "{}", page.answer);
        let second = rp.login(&mut browser, &user, &[("max_age", "10000")]).await;
        for claim in ["sub", "auth_time"] {
            assert_eq!(second.claims[claim], first.claims[claim], "{claim}");
        }
        for wrong in ["-1", "x", "1.5"] {
            let page = browser.open(&rp.url(&[("max_age", wrong)])).await;
            assert_eq!(rp.response(&page)["error"], "invalid_request", "{wrong}");
        }
    }
}

async fn a_default_max_age_holds_when_the_request_has_none(server: Server) {
    // Registration 2 `default_max_age`.
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &["--default-max-age", "1"]).await);
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &user, &[]).await;
    until_after(now(), 1).await;
    assert!(browser.open(&rp.url(&[])).await.form("login-form").is_some());
    assert!(rp.response(&browser.open(&rp.url(&[("max_age", "10000")])).await).contains_key("code"));
}

async fn a_max_age_of_0_asks_for_a_sign_in_for_this_request(server: Server) {
    // 3.1.2.1: it is what prompt=login is, in the very second of a sign-in too; Registration 2 `default_max_age`.
    let user = server.user().await;
    for (arguments, more) in [(&[][..], &[("max_age", "0")][..]), (&["--default-max-age", "0"], &[])] {
        let (rp, mut browser) = (Rp::with(&server, "code", arguments).await, Browser::signed_in(&server, &user).await);
        // Whoever signs in for it gets through, with consent and without; the next request asks anew.
        for _ in 0..2 {
            let page = browser.open(&rp.url(more)).await;
            assert!(page.form("login-form").is_some(), "the user is not asked again: {}", page.answer);
            let login = rp.login(&mut browser, &user, more).await;
            assert!(login.claims["auth_time"].is_i64(), "{}", login.claims);
        }
        let silent = browser.open(&rp.url(&[more, &[("prompt", "none")]].concat())).await;
        assert_eq!(rp.response(&silent)["error"], "login_required");
    }
}

async fn oidcc_id_token_hint(server: Server) {
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let first = rp.login(&mut browser, &user, &[]).await;
        let hint = [("prompt", "none"), ("id_token_hint", first.id_token())];
        let page = browser.open(&rp.url(&hint)).await;
        assert!(!rp.response(&page).contains_key("error"), "{}", page.answer);
        let second = rp.login(&mut browser, &user, &hint).await;
        assert_eq!(second.claims["sub"], first.claims["sub"]);
    }
}

async fn a_hint_of_somebody_else_asks_for_that_user(server: Server) {
    // 3.1.2.1: this user or nobody.
    let (ann, ben, rp) = (server.user().await, server.user().await, Rp::new(&server, "code").await);
    let of_ann = rp.login(&mut Browser::new(&server), &ann, &[]).await;
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &ben, &[]).await;
    let silent = browser.open(&rp.url(&[("prompt", "none"), ("id_token_hint", of_ann.id_token())])).await;
    assert_eq!(rp.response(&silent)["error"], "login_required");
    let page = browser.open(&rp.url(&[("id_token_hint", of_ann.id_token())])).await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
}

async fn whoever_else_signs_in_is_login_required(server: Server) {
    // 3.1.2.1, 5.5.1: who is named has signed in, or the client hears an error; nobody is asked in a circle.
    let (ann, ben, rp) = (server.user().await, server.user().await, Rp::new(&server, "code").await);
    let of_ann = rp.login(&mut Browser::new(&server), &ann, &[]).await;
    let named = json!({ "id_token": { "sub": { "value": of_ann.claims["sub"] } } }).to_string();
    for (name, value) in [("id_token_hint", of_ann.id_token()), ("claims", &named)] {
        for mut browser in [Browser::new(&server), Browser::signed_in(&server, &ben).await] {
            let page = browser.open(&rp.url(&[(name, value)])).await;
            let page = browser.fill_in_login(&page, &ben).await;
            // Who they are not is theirs to tell.
            assert!(page.asks_before_leaving(), "{}", page.answer);
            assert_eq!(rp.response(&page)["error"], "login_required", "{name}");
            // That one may still sign in, for the next request.
            let login = rp.login(&mut browser, &ann, &[(name, value)]).await;
            assert_eq!(login.claims["sub"], of_ann.claims["sub"]);
        }
        // Nor is it enough that they are here, when they must prove it again.
        let mut browser = Browser::signed_in(&server, &ann).await;
        let page = browser.open(&rp.url(&[(name, value), ("prompt", "login")])).await;
        let page = browser.fill_in_login(&page, &ben).await;
        assert_eq!(rp.response(&page)["error"], "login_required", "{name}");
    }
}

async fn scope_words_that_nobody_knows_are_ignored(server: Server) {
    // 3.1.2.1 `scope`; RFC 6749 3.3: what was given instead is told.
    let user = server.user().await;
    let more = [("scope", "openid email groups")];
    let login = Rp::new(&server, "code").await.login(&mut Browser::new(&server), &user, &more).await;
    assert_eq!(login.tokens["scope"], "email openid");
    let login = Rp::new(&server, "id_token token").await.login(&mut Browser::new(&server), &user, &more).await;
    assert_eq!(login.response["scope"], "email openid");
    // Core 11: offline_access where it was not registered.
    let (registered, asked) = (["--scope", "openid email"], [("scope", "openid email offline_access")]);
    let client = server.client(&[&["--redirect-uri", CALLBACK][..], &registered].concat()).await;
    let rp = Rp { client, ..Rp::new(&server, "code").await };
    assert_eq!(rp.login(&mut Browser::new(&server), &user, &asked).await.tokens["scope"], "email openid");
    // What is known, and not for this client, is an error; and so is what no OpenID request asks for.
    let rp = Rp::registered(&server, "code", json!({ "scope": "openid email" })).await;
    for (scope, error) in
        [("openid groups", "login_required"), ("openid phone", "invalid_scope"), ("email groups", "invalid_scope")]
    {
        let page = Browser::new(&server).open(&rp.url(&[("scope", scope), ("prompt", "none")])).await;
        assert_eq!(rp.response(&page)["error"], error, "{scope}");
    }
    let page = Browser::new(&server).open(&rp.url(&[("scope", "openid phone address email")])).await;
    assert_eq!(rp.response(&page)["error_description"], "the client is not registered for this scope: address phone");
}

async fn oidcc_login_hint(server: Server) {
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let page = Browser::new(&server).open(&rp.url(&[("login_hint", &user.username)])).await;
        let form = page.form("login-form").expect("the sign-in page");
        assert!(form.fields.contains(&("username".to_owned(), user.username.clone())), "{form:?}");
        rp.login(&mut browser, &user, &[("login_hint", "somebody@example.org")]).await;
    }
}

async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(server: Server) {
    // 6.1, 3.1.2.6: never silently ignored. These clients registered no algorithm, so `none` is one of theirs.
    for rp in Rp::of_every_plan(&server).await {
        let claims =
            json!({ "redirect_uri": CALLBACK, "response_type": rp.response_type, "prompt": "none", "state": "inside" });
        let page = Browser::new(&server).open(&rp.url(&[("request", &unsigned(&claims))])).await;
        let response = rp.response(&page);
        assert_eq!((&*response["error"], &*response["state"]), ("login_required", "inside"));
    }
}

async fn oidcc_ensure_registered_redirect_uri(server: Server) {
    for rp in Rp::of_every_plan(&server).await {
        for uri in ["https://client.example/other", "https://client.example/callback?x=1"] {
            let page = Browser::new(&server).open(&rp.url(&[("redirect_uri", uri)])).await;
            page.expect_error_page("invalid_request");
        }
    }
}

/// A registered redirect URI with a query.
const WITH_QUERY: &str = "https://client.example/callback?foo=bar";

/// A client that registered itself with two redirect URIs.
async fn two_uris(server: &Server) -> Rp {
    Rp::registered(server, "code", json!({ "redirect_uris": [CALLBACK, WITH_QUERY] })).await
}

async fn oidcc_ensure_redirect_uri_in_authorization_request(server: Server) {
    // 3.1.2.1 `redirect_uri`: with two of them nobody can tell which.
    let rp = two_uris(&server).await;
    let page = Browser::new(&server).open(&rp.url(&[("redirect_uri", "")])).await;
    page.expect_error_page("invalid_request");
}

async fn oidcc_redirect_uri_query_ok(server: Server) {
    // RFC 6749 3.1.2: the query is kept.
    let (user, rp) = (server.user().await, two_uris(&server).await);
    let page = Browser::new(&server).authorize(&rp.url(&[("redirect_uri", WITH_QUERY)]), &user).await;
    assert!(page.callback().as_str().starts_with(&format!("{WITH_QUERY}&code=")), "{}", page.callback());
}

async fn oidcc_redirect_uri_query_mismatch(server: Server) {
    let rp = two_uris(&server).await;
    let uri = WITH_QUERY.replace("foo=bar", "foo=baz");
    Browser::new(&server).open(&rp.url(&[("redirect_uri", &uri)])).await.expect_error_page("invalid_request");
}

async fn oidcc_redirect_uri_query_added(server: Server) {
    let rp = two_uris(&server).await;
    let uri = format!("{WITH_QUERY}&x=1");
    Browser::new(&server).open(&rp.url(&[("redirect_uri", &uri)])).await.expect_error_page("invalid_request");
}

async fn oidcc_ensure_post_request_succeeds(server: Server) {
    // 3.1.2.1: "Authorization Servers MUST support the use of the HTTP GET and POST methods".
    let mut browser = Browser::signed_in(&server, &server.user().await).await;
    for rp in Rp::of_every_plan(&server).await {
        let url = url::Url::parse(&rp.url(&[("prompt", "consent")])).expect("a URL");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let form: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = browser.send(server.post("/oauth/authorize").form(&form)).await;
        let page = browser.follow(answer).await;
        let page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
        assert!(!rp.response(&page).contains_key("error"), "{}", page.answer);
    }
}

async fn tokens_never_come_in_the_query(server: Server) {
    // Multiple Response Types 5: response_mode=query MUST NOT be used where tokens come back.
    for response_type in RESPONSE_TYPES.into_iter().filter(|response_type| *response_type != "code") {
        let rp = Rp::new(&server, response_type).await;
        let page = Browser::new(&server).open(&rp.url(&[("response_mode", "query")])).await;
        let callback = page.callback();
        assert_eq!((callback.query(), &*rp.response(&page)["error"]), (None, "invalid_request"));
    }
    let rp = Rp::new(&server, "code").await;
    let page = Browser::new(&server).open(&rp.url(&[("response_mode", "fragment"), ("prompt", "none")])).await;
    assert!(page.callback().fragment().is_some_and(|fragment| fragment.contains("error=login_required")));
    let page = Browser::new(&server).open(&rp.url(&[("response_mode", "carrier_pigeon")])).await;
    assert_eq!(rp.response(&page)["error"], "invalid_request");
}

async fn an_id_token_needs_the_scope_openid(server: Server) {
    // 3.1.2.1 `scope`.
    for response_type in RESPONSE_TYPES.into_iter().filter(|response_type| response_type.contains("id_token")) {
        let rp = Rp::new(&server, response_type).await;
        let page = Browser::new(&server).open(&rp.url(&[("scope", "profile")])).await;
        assert_eq!(rp.response(&page)["error"], "invalid_request", "{response_type}");
    }
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let response = rp.authorize(&mut Browser::new(&server), &user, &[("scope", "profile")]).await;
    let tokens = rp.redeem(&response["code"]).await;
    assert!(tokens.get("id_token").is_none(), "an ID token without openid");
}
