//! What a user allowed, and taking it back.

use crate::harness::{
    Browser, Server, Site, Store, User,
    browser::Page,
    html, poll, random, secrets,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        the_account_page_needs_a_sign_in,
        what_was_allowed_is_shown_and_can_be_revoked,
        revoking_needs_the_csrf_token,
        a_password_is_changed_with_the_current_one_only,
        a_new_password_gives_a_new_cookie_and_ends_every_other,
        another_browser_is_signed_out_from_here,
    ],
    own![long_lists_are_leafed_through],
];

async fn the_account_page_needs_a_sign_in(server: Server) {
    let page = Browser::new(&server).open("/account").await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
}

/// The forms on the account page that revoke something.
fn revoke_forms(page: &str) -> Vec<html::Form> {
    let forms = html::forms(page).into_iter();
    forms
        .filter(|form| form.method == "post" && (form.action.contains("revoke") || form.id.contains("revoke")))
        .collect()
}

/// The account page, once it shows what was allowed.
async fn allowed(browser: &mut Browser) -> Page {
    poll::until("the account page shows what was allowed", async || {
        let page = browser.open("/account").await;
        (!revoke_forms(&page.answer.text()).is_empty()).then_some(page)
    })
    .await
}

async fn what_was_allowed_is_shown_and_can_be_revoked(server: Server) {
    // RFC 7009 in spirit, from the user's side.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = allowed(&mut browser).await;
    let forms = revoke_forms(&page.answer.text());
    let form = forms.first().expect("a form that revokes");
    let answer = browser.submit_form(&page, form, "", &[]).await;
    assert!(answer.status < 400, "{answer}");
    assert!(!server.is_active(&client, &tokens.access).await);
    server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
}

async fn revoking_needs_the_csrf_token(server: Server) {
    // RFC 6749 10.12.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = allowed(&mut browser).await;
    let form = &revoke_forms(&page.answer.text())[0];
    let csrf = form.fields.iter().map(|(name, _)| name).find(|name| name.contains("csrf")).expect("a csrf field");
    let answer = browser.submit_form(&page, form, "", &[(csrf, "wrong")]).await;
    assert!(matches!(answer.status, 400 | 403), "{answer}");
    assert!(server.is_active(&client, &tokens.access).await);
}

async fn a_password_is_changed_with_the_current_one_only(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let changed = User { password: random(18), ..user.clone() };
    let page = browser.open("/account").await;
    let fields = [("current_password", "not the current one"), ("new_password", &changed.password)];
    let page = browser.submit(&page, "password-form", "password-submit", &fields).await;
    assert!(page.text_of("password-error").is_some(), "{}", page.answer);
    Browser::signed_in(&server, &user).await;

    let fields = [("current_password", user.password.as_str()), ("new_password", &changed.password)];
    let page = browser.submit(&page, "password-form", "password-submit", &fields).await;
    assert!(page.text_of("password-error").is_none(), "{}", page.answer);
    Browser::signed_in(&server, &changed).await;
    let mut other = Browser::new(&server);
    let page = other.open("/login").await;
    other.fill_in_login(&page, &user).await;
    assert!(!other.open("/").await.is_signed_in(), "the old password still works");
}

async fn a_new_password_gives_a_new_cookie_and_ends_every_other(server: Server) {
    // Whoever changes a password may do so because somebody else has a copy of the cookie.
    let user = server.user().await;
    let mut elsewhere = Browser::signed_in(&server, &user).await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let mut copy = browser.clone();
    let page = browser.open("/account").await;
    let fields = [("current_password", user.password.as_str()), ("new_password", &random(18))];
    let page = browser.submit(&page, "password-form", "password-submit", &fields).await;
    assert!(page.is_signed_in() && page.text_of("password-error").is_none(), "{}", page.answer);
    assert!(browser.open("/account").await.is_signed_in(), "whoever changed it is signed out");
    assert!(!copy.open("/").await.is_signed_in(), "the cookie from before still works");
    assert!(!elsewhere.open("/").await.is_signed_in(), "another session goes on");
}

async fn another_browser_is_signed_out_from_here(server: Server) {
    let user = server.user().await;
    let mut lost = Browser::signed_in(&server, &user).await;
    let mut here = Browser::signed_in(&server, &user).await;
    let page = poll::until("the account page shows the other browser", async || {
        let page = here.open("/account").await;
        html::forms(&page.answer.text()).iter().any(|form| form.action.contains("end_session")).then_some(page)
    })
    .await;
    let forms = html::forms(&page.answer.text());
    let form = forms.iter().find(|form| form.action.contains("end_session")).expect("a form that ends a session");
    let answer = here.submit_form(&page, form, "", &[]).await;
    assert!(answer.status < 400, "{answer}");
    assert!(!lost.open("/").await.is_signed_in(), "the other browser is still signed in");
    assert!(here.open("/").await.is_signed_in());
}

/// The target of the link with that `rel`, if the page has one.
fn link(page: &str, rel: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\""))?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

/// Leafs from `path` to older pages, and counts how often `mark` stands on all of them.
async fn leaf(browser: &mut Browser, path: &str, mark: &str) -> (usize, usize) {
    let (mut pages, mut marks, mut next) = (0, 0, Some(path.to_owned()));
    while let Some(path) = next {
        let text = browser.open(&path).await.answer.expect(200).text();
        (pages, marks) = (pages + 1, marks + text.matches(mark).count());
        next = link(&text, "next");
        assert_eq!(link(&text, "prev").is_some(), pages > 1, "{path}");
    }
    (pages, marks)
}

async fn long_lists_are_leafed_through(store: Store) {
    // Nothing is cut off in silence, and no page grows without end. In the demo, signing in costs no password hash.
    let settings = [("CLIENTS_PER_USER", "100"), ("CLIENTS_PER_USER_HOUR", "100")];
    let server = Server::on(&Site::new(store, &settings), &["--demo"]).await;
    let ann = User { username: "ann".into(), password: String::new() };
    let mut browser = Browser::signed_in(&server, &ann).await;
    let secret = browser.open("/").await.text_of("demo-client-secret").expect("the demo client's secret");
    secrets::register_shown_on_terminal(&secret);
    let create = browser.open("/create_client").await;
    for number in 0..27 {
        let name = format!("Client {number}");
        let fields = [("client_name", name.as_str()), ("kind", "native"), ("redirect_uris", "http://127.0.0.1/cb")];
        browser.submit(&create, "create-client-form", "create-client-submit", &fields).await.answer.expect(200);
    }
    for _ in 0..30 {
        Browser::signed_in(&server, &ann).await;
    }
    poll::until("every client stands on a page once", async || {
        (leaf(&mut browser, "/", "href=\"/clients/").await == (2, 27)).then_some(())
    })
    .await;
    poll::until("every session stands on a page once", async || {
        (leaf(&mut browser, "/account", "action=\"/account/end_session\"").await == (2, 30)).then_some(())
    })
    .await;
    for path in ["/?clients=0", "/?clients=-1", "/?clients=x", "/?clients=99999999999999999999", "/account?allowed=9"] {
        browser.open(path).await.answer.expect(200);
    }
}
