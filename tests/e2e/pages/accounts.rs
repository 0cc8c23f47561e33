//! More than one account in one browser: OpenID Connect Core 3.1.2.1 (`prompt=select_account`, `login_hint`,
//! `id_token_hint`), and signing out of one or all.

use crate::conformance::rp::Rp;
use crate::harness::{
    Browser, Server, User,
    browser::Page,
    html::Form,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    two_accounts_are_signed_in_side_by_side,
    a_client_lets_the_user_choose,
    a_hint_chooses,
    signing_in_again_keeps_the_session,
    an_account_is_signed_out_by_itself_or_with_the_others,
    what_was_shown_to_one_account_is_not_answered_by_another,
    an_account_is_only_chosen_by_the_form,
    the_sixth_account_takes_the_place_of_the_oldest,
]];

/// Both signed in, `ben` last.
async fn both(server: &Server) -> (User, User, Browser) {
    let (ann, ben) = (server.user().await, server.user().await);
    let mut browser = Browser::signed_in(server, &ann).await;
    sign_in(&mut browser, &ben).await;
    (ann, ben, browser)
}

async fn sign_in(browser: &mut Browser, user: &User) {
    let page = browser.open("/login").await;
    let page = browser.fill_in_login(&page, user).await;
    assert_eq!(page.text_of("signed-in-as").as_deref(), Some(user.username.as_str()), "{}", page.answer);
}

/// Who acts.
async fn acting(browser: &mut Browser) -> Option<String> {
    browser.open("/").await.text_of("signed-in-as")
}

/// The form with which an account is chosen, and the button of `user`: its name and value.
#[track_caller]
fn choice(page: &Page, user: &User) -> (Form, String) {
    let form = page.form("account-form").unwrap_or_else(|| panic!("no accounts: {}", page.answer));
    let text = page.answer.text();
    let button = text.split("<button class=\"account\"").find(|part| part.contains(&user.username)).expect("a button");
    let value = button.split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a value");
    (form, value.to_owned())
}

async fn choose(browser: &mut Browser, page: &Page, user: &User) -> Page {
    let (form, session_id) = choice(page, user);
    let answer = browser.submit_form(page, &form, "", &[("session_id", &session_id)]).await;
    browser.follow(answer).await
}

async fn two_accounts_are_signed_in_side_by_side(server: Server) {
    let (ann, ben, mut browser) = both(&server).await;
    assert_eq!(acting(&mut browser).await, Some(ben.username.clone()));
    let page = browser.open("/accounts").await;
    choose(&mut browser, &page, &ann).await;
    assert_eq!(acting(&mut browser).await, Some(ann.username.clone()));
    let page = browser.open("/accounts?next=%2Faccount").await;
    let page = choose(&mut browser, &page, &ben).await;
    assert_eq!((page.answer.url.path(), page.text_of("account-name")), ("/account", Some(ben.username)));
    // Nobody is signed in here: nothing to choose from.
    assert!(Browser::new(&server).open("/accounts").await.form("login-form").is_some());
}

async fn a_client_lets_the_user_choose(server: Server) {
    let (ann, ben, mut browser) = both(&server).await;
    let rp = Rp::new(&server, "code").await;
    let of = async |user: &User| rp.login(&mut Browser::new(&server), user, &[]).await.claims["sub"].clone();
    let (sub_of_ann, sub_of_ben) = (of(&ann).await, of(&ben).await);
    let mut subs = Vec::new();
    for user in [&ann, &ben] {
        let page = browser.open(&rp.url(&[("prompt", "select_account"), ("nonce", "n")])).await;
        let mut page = choose(&mut browser, &page, user).await;
        if page.form("consent-form").is_some() {
            assert_eq!(page.text_of("consent-account").as_ref(), Some(&user.username));
            page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
        }
        let tokens = rp.redeem(&rp.response(&page)["code"]).await;
        subs.push(rp.validated(tokens["id_token"].as_str().expect("an ID token")).await["sub"].clone());
    }
    assert_eq!(subs, [sub_of_ann, sub_of_ben]);
    // Somebody else, who is not signed in yet.
    let page = browser.open(&rp.url(&[("prompt", "select_account")])).await;
    let text = page.answer.text();
    let link = text.split("id=\"use-another-account\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let link = link.expect("a link").replace("&amp;", "&").replace("&#38;", "&");
    let carol = server.user().await;
    let page = browser.open(&link).await;
    let page = browser.fill_in_login(&page, &carol).await;
    assert_eq!(page.text_of("consent-account").as_ref(), Some(&carol.username), "{}", page.answer);
    // Nobody is signed in: who signs in has chosen.
    let page = Browser::new(&server).open(&rp.url(&[("prompt", "select_account")])).await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
}

async fn a_hint_chooses(server: Server) {
    let (ann, ben, mut browser) = both(&server).await;
    let rp = Rp::new(&server, "code").await;
    let of_ann = rp.login(&mut browser, &ann, &[("login_hint", &ann.username)]).await;
    let of_ben = rp.login(&mut browser, &ben, &[("login_hint", &ben.username)]).await;
    assert_ne!(of_ann.claims["sub"], of_ben.claims["sub"]);
    for login in [&of_ann, &of_ben] {
        // Silently, whoever acts.
        let hint = [("prompt", "none"), ("id_token_hint", login.id_token())];
        let again = rp.login(&mut browser, &ann, &hint).await;
        for claim in ["sub", "sid", "auth_time"] {
            assert_eq!(again.claims[claim], login.claims[claim], "{claim}");
        }
    }
    // A name that is not here is a proposal.
    let other = rp.login(&mut browser, &ben, &[("login_hint", "nobody-of-that-name")]).await;
    assert_eq!(other.claims["sub"], of_ben.claims["sub"]);
}

async fn signing_in_again_keeps_the_session(server: Server) {
    // The client knows the session by the same sid; only the one that was asked for has a new auth_time.
    let (ann, ben, mut browser) = both(&server).await;
    let rp = Rp::new(&server, "code").await;
    let first = rp.login(&mut browser, &ann, &[("login_hint", &ann.username)]).await;
    let of_ben = rp.login(&mut browser, &ben, &[("login_hint", &ben.username)]).await;
    let auth_time = first.claims["auth_time"].as_i64().expect("auth_time");
    crate::conformance::rp::until_after(auth_time, 1).await;
    let hints = [("prompt", "login"), ("id_token_hint", first.id_token())];
    let page = browser.open(&rp.url(&hints)).await;
    // As the other one it is not enough.
    let page = browser.fill_in_login(&page, &ben).await;
    assert_eq!(rp.response(&page)["error"], "login_required", "{}", page.answer);
    let page = browser.open(&rp.url(&hints)).await;
    let page = browser.fill_in_login(&page, &ann).await;
    let tokens = rp.redeem(&rp.response(&page)["code"]).await;
    let again = rp.validated(tokens["id_token"].as_str().expect("an ID token")).await;
    assert_eq!((&again["sub"], &again["sid"]), (&first.claims["sub"], &first.claims["sid"]));
    assert!(again["auth_time"].as_i64().is_some_and(|later| later > auth_time), "{again}");
    let silent = rp.login(&mut browser, &ben, &[("prompt", "none"), ("id_token_hint", of_ben.id_token())]).await;
    assert_eq!(silent.claims["sid"], of_ben.claims["sid"]);
    // A cookie from before is worth nothing.
    let mut thief = browser.clone();
    rp.login(&mut browser, &ann, &[("prompt", "login")]).await;
    assert_ne!(acting(&mut thief).await, Some(ann.username.clone()));
}

async fn an_account_is_signed_out_by_itself_or_with_the_others(server: Server) {
    let (ann, ben, mut browser) = both(&server).await;
    let before = browser.clone();
    // The one that acts, unless another one is chosen.
    let page = browser.open("/logout").await;
    let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(page.text_of("logged-out").is_some_and(|text| text.contains(&ann.username)), "{}", page.answer);
    assert_eq!(acting(&mut browser).await, Some(ann.username.clone()));
    let mut copy = before.clone();
    assert_eq!(acting(&mut copy).await, Some(ann.username.clone()), "the cookie from before still signs ben in");
    // All of them.
    sign_in(&mut browser, &ben).await;
    let page = browser.open("/logout").await;
    let page = browser.submit(&page, "logout-form", "logout-confirm", &[("account", "all")]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    assert_eq!(acting(&mut browser).await, None);
    // A client ends its own user's session, whoever acts.
    let (ann, ben, mut browser) = both(&server).await;
    let rp = Rp::new(&server, "code").await;
    let of_ann = rp.login(&mut browser, &ann, &[("login_hint", &ann.username)]).await;
    browser.open(&format!("/oauth/logout?id_token_hint={}", of_ann.id_token())).await;
    assert_eq!(acting(&mut browser).await, Some(ben.username));
    // The other one did not allow this client to know who is here.
    let page = browser.open(&rp.url(&[("prompt", "none"), ("id_token_hint", of_ann.id_token())])).await;
    assert_eq!(rp.response(&page)["error"], "consent_required");
}

async fn what_was_shown_to_one_account_is_not_answered_by_another(server: Server) {
    // RFC 6749 10.12: a form is of the account that it was shown to.
    let (ann, _, mut browser) = both(&server).await;
    let client = server.web_client().await;
    let url = server.authorize_url(&[("response_type", "code"), ("client_id", &client.id), ("scope", "read")]);
    let consent = browser.open(&url).await;
    assert!(consent.form("consent-form").is_some(), "{}", consent.answer);
    // Another tab.
    let page = browser.open("/accounts").await;
    choose(&mut browser, &page, &ann).await;
    let answer = browser.submit_once(&consent, "consent-form", "consent-allow", &[]).await;
    assert_eq!(answer.status, 403, "{answer}");
}

async fn an_account_is_only_chosen_by_the_form(server: Server) {
    let (ann, ben, mut browser) = both(&server).await;
    let page = browser.open("/accounts").await;
    let (_, of_ann) = choice(&page, &ann);
    let forged = server.post("/accounts").form(&[("session_id", of_ann.as_str()), ("csrf", "x")]);
    assert_eq!(browser.send(forged).await.status, 403);
    // A session of another browser: the page is shown again.
    let elsewhere = Browser::signed_in(&server, &ann).await.open("/accounts").await;
    let (form, _) = choice(&page, &ann);
    let (_, foreign) = choice(&elsewhere, &ann);
    browser.submit_form(&page, &form, "", &[("session_id", &foreign)]).await.expect(403);
    assert_eq!(acting(&mut browser).await, Some(ben.username));
}

async fn the_sixth_account_takes_the_place_of_the_oldest(server: Server) {
    let mut browser = Browser::new(&server);
    let mut users = Vec::new();
    for _ in 0..6 {
        let user = server.user().await;
        sign_in(&mut browser, &user).await;
        users.push(user);
    }
    let page = browser.open("/accounts").await;
    let text = page.answer.text();
    assert!(!text.contains(&users[0].username), "six accounts");
    for user in &users[1..] {
        choice(&page, user);
    }
}
