//! Forms that were shown before something else happened: in another tab, before Back, or before the cookie went away.

use crate::harness::{
    Browser, CALLBACK, Client, Server, User,
    browser::{Page, query_of},
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    the_second_sign_in_form_works_beside_the_first,
    an_old_sign_in_form_goes_on_where_it_leads,
    an_old_sign_in_form_with_another_name_is_shown_again,
    a_sign_in_form_without_its_cookie_is_shown_again,
    an_old_consent_form_is_shown_again,
    an_old_choice_of_accounts_is_shown_again,
    an_old_form_that_signs_out_is_shown_again,
    a_form_of_somebody_who_has_signed_out_leads_to_the_sign_in_page,
    an_old_form_of_a_page_says_where_the_page_is,
]];

fn request(server: &Server, client: &Client) -> String {
    server.authorize_url(&[("response_type", "code"), ("client_id", &client.id), ("redirect_uri", CALLBACK)])
}

/// Proves again who they are, so that the browser has a new cookie.
async fn in_another_tab(browser: &mut Browser, user: &User) {
    let page = browser.open("/login").await;
    let page = browser.fill_in_login(&page, user).await;
    assert!(page.form("login-form").is_none(), "{}", page.answer);
}

async fn the_second_sign_in_form_works_beside_the_first(server: Server) {
    let (user, other, client) = (server.user().await, server.user().await, server.web_client().await);
    let mut browser = Browser::new(&server);
    let (first, second) = (browser.open("/login").await, browser.open(&request(&server, &client)).await);
    let third = browser.open("/login").await;
    browser.fill_in_login(&first, &user).await;
    let page = browser.fill_in_login(&second, &user).await;
    assert!(page.form("consent-form").is_some(), "{}", page.answer);
    // Whoever signs in in another tab is who signs in.
    let page = browser.fill_in_login(&third, &other).await;
    assert_eq!(page.text_of("signed-in-as").as_deref(), Some(&*other.username), "{}", page.answer);
}

async fn an_old_sign_in_form_goes_on_where_it_leads(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let old = browser.open(&format!("{}&prompt=login", request(&server, &client))).await;
    in_another_tab(&mut browser, &user).await;
    browser.cookies.remove("grantlog_form");
    let page = browser.fill_in_login(&old, &user).await;
    assert!(page.form("consent-form").is_some(), "{}", page.answer);
}

async fn an_old_sign_in_form_with_another_name_is_shown_again(server: Server) {
    let (user, other, client) = (server.user().await, server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let old = browser.open(&format!("{}&prompt=login", request(&server, &client))).await;
    in_another_tab(&mut browser, &user).await;
    browser.cookies.remove("grantlog_form");
    let page = browser.fill_in_login(&old, &other).await;
    assert_eq!(page.answer.status, 403, "{}", page.answer);
    assert!(page.text_of("login-error").is_some_and(|text| text.contains("out of date")), "{}", page.answer);
    let page = browser.fill_in_login(&page, &other).await;
    assert_eq!(page.text_of("consent-account").as_deref(), Some(&*other.username), "{}", page.answer);
}

async fn a_sign_in_form_without_its_cookie_is_shown_again(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::new(&server);
    let page = browser.open(&request(&server, &client)).await;
    browser.cookies.clear();
    let page = browser.fill_in_login(&page, &user).await;
    assert_eq!(page.answer.status, 403, "{}", page.answer);
    assert!(page.text_of("login-error").is_some_and(|text| text.contains("cookies")), "{}", page.answer);
    assert!(!page.answer.text().contains(&user.password), "the password is written into the page");
    let page = browser.fill_in_login(&page, &user).await;
    assert!(page.form("consent-form").is_some(), "{}", page.answer);
}

#[track_caller]
fn expect_again(page: &Page, form: &str) {
    assert_eq!(page.answer.status, 403, "{}", page.answer);
    assert!(page.form(form).is_some() && page.text_of("out-of-date").is_some(), "{}", page.answer);
}

async fn an_old_consent_form_is_shown_again(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let old = browser.open(&request(&server, &client)).await;
    in_another_tab(&mut browser, &user).await;
    let page = browser.submit(&old, "consent-form", "consent-allow", &[]).await;
    expect_again(&page, "consent-form");
    let page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
    assert!(query_of(&page.callback()).contains_key("code"), "{}", page.answer);
}

async fn an_old_choice_of_accounts_is_shown_again(server: Server) {
    let (user, other, client) = (server.user().await, server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    in_another_tab(&mut browser, &other).await;
    let old = browser.open(&format!("{}&prompt=select_account", request(&server, &client))).await;
    in_another_tab(&mut browser, &other).await;
    let choose = async |browser: &mut Browser, page: &Page| {
        let form = page.form("account-form").expect("a form");
        let chosen = page.answer.text();
        let id = chosen.split("name=\"session_id\" value=\"").last().and_then(|rest| rest.split('"').next());
        let answer = browser.submit_form(page, &form, "", &[("session_id", id.expect("an account"))]).await;
        browser.follow(answer).await
    };
    let page = choose(&mut browser, &old).await;
    expect_again(&page, "account-form");
    let page = choose(&mut browser, &page).await;
    assert_eq!(page.text_of("consent-account").as_deref(), Some(&*user.username), "{}", page.answer);
}

async fn an_old_form_that_signs_out_is_shown_again(server: Server) {
    let user = server.user().await;
    let client = server.web_client().await;
    for path in ["/logout".to_owned(), format!("/oauth/logout?client_id={}", client.id)] {
        let mut browser = Browser::signed_in(&server, &user).await;
        let old = browser.open(&path).await;
        in_another_tab(&mut browser, &user).await;
        let page = browser.submit(&old, "logout-form", "logout-confirm", &[]).await;
        expect_again(&page, "logout-form");
        let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
        assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
        // And once more, after Back.
        let page = browser.submit(&old, "logout-form", "logout-confirm", &[]).await;
        assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    }
}

async fn a_form_of_somebody_who_has_signed_out_leads_to_the_sign_in_page(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let account = browser.open("/account").await;
    let page = browser.open("/logout").await;
    browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    let fields = [("current_password", user.password.as_str()), ("new_password", "a new one that is long")];
    let page = browser.submit(&account, "password-form", "", &fields).await;
    let page = browser.fill_in_login(&page, &user).await;
    assert!(page.form("password-form").is_some(), "not back at the page of the form: {}", page.answer);
}

async fn an_old_form_of_a_page_says_where_the_page_is(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let account = browser.open("/account").await;
    in_another_tab(&mut browser, &user).await;
    let fields = [("current_password", user.password.as_str()), ("new_password", "a new one that is long")];
    let page = browser.submit(&account, "password-form", "", &fields).await;
    page.expect_error_page("invalid_form");
    assert_eq!(page.link("load-again").expect("a link").path(), "/account");
}
