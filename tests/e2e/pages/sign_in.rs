//! Signing in and out.

use std::time::{Duration, Instant};

use crate::harness::{
    Answer, Browser, Server, Store, User, html, poll, random,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_user_signs_in_and_out,
        a_wrong_password_shows_the_form_again,
        an_unknown_user_sees_the_same_as_a_wrong_password,
        the_form_needs_its_csrf_token,
        anothers_csrf_token_is_refused,
        the_session_id_changes_at_sign_in,
        a_chosen_session_id_is_not_taken,
        cookies_are_hidden_from_scripts_and_other_sites,
        next_leads_to_own_paths_only,
        signing_out_needs_the_form,
        a_signed_out_session_is_worth_nothing,
        a_disabled_user_is_signed_out,
    ],
    own![
        guessing_locks_the_account_and_says_nothing_about_it,
        guessing_from_one_address_locks_the_address,
        a_locked_address_changes_no_password,
        an_unknown_user_takes_as_long_as_a_wrong_password,
    ],
];

async fn a_user_signs_in_and_out(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let home = browser.open("/").await;
    assert!(home.is_signed_in(), "{}", home.answer);
    assert!(home.answer.text().contains(&user.username));
    let page = browser.open("/logout").await;
    let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    assert!(!browser.open("/").await.is_signed_in());
}

async fn a_wrong_password_shows_the_form_again(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::new(&server);
    let page = browser.open("/login").await;
    let wrong = User { password: random(18), ..user };
    let page = browser.fill_in_login(&page, &wrong).await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
    assert!(!page.answer.text().contains(&wrong.password), "the password is written into the page");
    assert!(!browser.open("/").await.is_signed_in());
}

/// The page after a failed sign-in, without what differs between any two pages: the name, tokens and ids.
async fn failed(server: &Server, user: &User) -> (u16, String) {
    let mut browser = Browser::new(server);
    let page = browser.open("/login").await;
    let page = browser.fill_in_login(&page, user).await;
    let mut text = page.answer.text().replace(&user.username, "NAME");
    for (_, value) in html::forms(&text).into_iter().flat_map(|form| form.fields) {
        if value.len() >= 16 {
            text = text.replace(&value, "TOKEN");
        }
    }
    if let Some(id) = page.answer.header("x-request-id") {
        text = text.replace(id, "ID");
    }
    (page.answer.status, text)
}

async fn an_unknown_user_sees_the_same_as_a_wrong_password(server: Server) {
    let user = server.user().await;
    let wrong = failed(&server, &User { password: random(18), ..user }).await;
    let unknown = failed(&server, &User { username: random(9).to_lowercase(), password: random(18) }).await;
    assert_eq!(wrong, unknown);
}

async fn the_form_needs_its_csrf_token(server: Server) {
    // RFC 6749 10.12.
    let user = server.user().await;
    for csrf in ["", "wrong", &random(32), "\0"] {
        let mut browser = Browser::new(&server);
        let page = browser.open("/login").await;
        let hidden = page.form("login-form").expect("a form").fields;
        let name =
            hidden.iter().map(|(name, _)| name.as_str()).find(|name| name.contains("csrf")).expect("a csrf field");
        let fields = [(name, csrf), ("username", &user.username), ("password", &user.password)];
        let answer = browser.submit_once(&page, "login-form", "login-submit", &fields).await;
        assert!(matches!(answer.status, 400 | 403), "{csrf:?}: {answer}");
        assert!(!browser.open("/").await.is_signed_in(), "{csrf:?}");
    }
    let form = [("username", user.username.as_str()), ("password", &user.password)];
    let answer = server.post("/login").form(&form).send().await;
    assert!(matches!(answer.status, 400 | 403), "{answer}");
}

async fn anothers_csrf_token_is_refused(server: Server) {
    // RFC 6749 10.12: a token belongs to one browser.
    let user = server.user().await;
    let (mut attacker, mut victim) = (Browser::new(&server), Browser::new(&server));
    let forged = attacker.open("/login").await;
    victim.open("/login").await;
    let fields = [("username", user.username.as_str()), ("password", &user.password)];
    let answer = victim.submit_once(&forged, "login-form", "login-submit", &fields).await;
    assert!(matches!(answer.status, 400 | 403), "{answer}");
}

async fn the_session_id_changes_at_sign_in(server: Server) {
    // Session fixation: what was known before is worth nothing after.
    let user = server.user().await;
    let mut browser = Browser::new(&server);
    let page = browser.open("/login").await;
    let before = browser.cookies.clone();
    browser.fill_in_login(&page, &user).await;
    let kept = before.iter().all(|(name, value)| browser.cookies.get(name) == Some(value));
    assert!(!kept || browser.cookies.len() > before.len(), "no new cookie");
    let mut old = Browser::new(&server);
    old.cookies = before;
    assert!(!old.open("/").await.is_signed_in(), "the id from before the sign-in is signed in");
}

async fn a_chosen_session_id_is_not_taken(server: Server) {
    // Session fixation: an id that the browser brings is never made a session.
    let user = server.user().await;
    let names: Vec<String> = Browser::signed_in(&server, &user).await.cookies.into_keys().collect();
    let chosen = random(48);
    let mut browser = Browser::new(&server);
    browser.cookies = names.iter().map(|name| (name.clone(), chosen.clone())).collect();
    let page = browser.open("/login").await;
    let page = browser.fill_in_login(&page, &user).await;
    assert!(page.answer.status < 500, "{}", page.answer);
    let mut attacker = Browser::new(&server);
    attacker.cookies = names.into_iter().map(|name| (name, chosen.clone())).collect();
    assert!(!attacker.open("/").await.is_signed_in());
}

async fn cookies_are_hidden_from_scripts_and_other_sites(server: Server) {
    // RFC 6265bis 4.1.2.
    let user = server.user().await;
    let mut browser = Browser::new(&server);
    let page = browser.open("/login").await;
    let fields = [("username", user.username.as_str()), ("password", &user.password)];
    let answer = browser.submit_once(&page, "login-form", "login-submit", &fields).await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()).collect();
    assert!(!cookies.is_empty(), "{answer}");
    for cookie in cookies {
        let lower = cookie.to_ascii_lowercase();
        // OpenID Connect Session Management 3.2: the one that our frame reads; it signs nobody in.
        if lower.starts_with("grantlog_state=") {
            assert!(!lower.contains("httponly"), "{cookie:.30}");
            continue;
        }
        assert!(lower.contains("; httponly"), "{cookie:.30}");
        assert!(lower.contains("; samesite=lax") || lower.contains("; samesite=strict"), "{cookie:.30}");
        assert!(lower.contains("; path=/"), "{cookie:.30}");
        assert!(!lower.contains("; domain="), "{cookie:.30}");
    }
}

async fn next_leads_to_own_paths_only(server: Server) {
    // RFC 9700 4.11: no open redirector.
    let user = server.user().await;
    let mut browser = Browser::new(&server);
    let page = browser.open("/login?next=%2Faccount").await;
    let page = browser.fill_in_login(&page, &user).await;
    assert_eq!(page.answer.url.path(), "/account");
    let elsewhere = [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/\t/evil.example/",
        "/\n/evil.example/",
        "///evil.example/",
        "javascript:alert(1)",
        "http:evil.example",
        "@evil.example/",
        ".evil.example/",
        "%2F%2Fevil.example/",
        "/%2Fevil.example/",
        "\0",
    ];
    for next in elsewhere {
        let mut browser = Browser::new(&server);
        let page = browser.open(&format!("/login?{}", crate::harness::http::encode(&[("next", next)]))).await;
        if page.form("login-form").is_none() {
            page.answer.expect_client_error();
            continue;
        }
        let page = browser.fill_in_login(&page, &user).await;
        let end = page.answer.location().unwrap_or(page.answer.url);
        assert!(end.as_str().starts_with(&format!("{}/", server.base())), "{next:?} led to {end}");
    }
}

async fn signing_out_needs_the_form(server: Server) {
    // A link or an image on another site signs nobody out.
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    browser.open("/logout").await;
    assert!(browser.open("/").await.is_signed_in(), "a GET signed the user out");
    let answer = browser.send(server.post("/logout").form(&[])).await;
    assert!(matches!(answer.status, 400 | 403), "{answer}");
    assert!(browser.open("/").await.is_signed_in(), "a POST without the form's token signed the user out");
}

async fn a_signed_out_session_is_worth_nothing(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let mut copy = browser.clone();
    let page = browser.open("/logout").await;
    browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(!copy.open("/").await.is_signed_in(), "the cookie still works");
}

async fn a_disabled_user_is_signed_out(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    server.site().run_well(&["user", "disable", &user.username]).await;
    poll::until("the session of a disabled user has ended", async || {
        (!browser.open("/").await.is_signed_in()).then_some(())
    })
    .await;
}

async fn guessing_locks_the_account_and_says_nothing_about_it(store: Store) {
    let server = Server::start(store, &[("SIGN_IN_ATTEMPTS_PER_ACCOUNT", "3")]).await;
    let (user, other) = (server.user().await, server.user().await);
    let unknown = User { username: random(9).to_lowercase(), password: random(18) };
    for _ in 0..4 {
        failed(&server, &User { password: random(18), ..user.clone() }).await;
        failed(&server, &User { password: random(18), ..unknown.clone() }).await;
    }
    // Locked now: the right password looks like a wrong one, and both like a name that nobody has.
    let locked = failed(&server, &user).await;
    assert_eq!(locked, failed(&server, &unknown).await);
    assert!(!html::forms(&locked.1).is_empty(), "no form: {}", locked.1);
    let mut browser = Browser::signed_in(&server, &other).await;
    assert!(browser.open("/").await.is_signed_in(), "another account is locked too");
}

/// What a browser at that address hears, behind a proxy that says so.
async fn sign_in_from(server: &Server, address: &str, user: &User) -> Answer {
    let mut browser = Browser::new(server);
    let page = browser.open("/login").await;
    let hidden = page.form("login-form").expect("a form").fields;
    let mut form = vec![("username", user.username.as_str()), ("password", &user.password)];
    let carried = hidden.iter().filter(|(name, _)| !matches!(name.as_str(), "username" | "password"));
    form.extend(carried.map(|(name, value)| (name.as_str(), value.as_str())));
    browser.send(server.post("/login").header("x-forwarded-for", address).form(&form)).await
}

fn nobody() -> User {
    User { username: random(9).to_lowercase(), password: random(18) }
}

/// RFC 6585 4: too many, and when it may be tried again.
#[track_caller]
fn expect_too_many(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer}");
    let seconds: u32 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("Retry-After");
    assert!((1..=900).contains(&seconds), "{answer}");
}

async fn guessing_from_one_address_locks_the_address(store: Store) {
    let settings = [("SIGN_IN_ATTEMPTS_PER_ADDRESS", "4"), ("HTTP_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(store, &settings).await;
    let user = server.user().await;
    // An IPv6 caller has a whole /64 to choose from, so that is one address.
    let guessing: [(&[&str], &str, &str); 2] = [
        (&["203.0.113.1"; 4], "203.0.113.1", "203.0.113.2"),
        (&["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"], "2001:db8::5", "2001:db8:0:1::1"),
    ];
    for (guessing, locked, other) in guessing {
        for address in guessing {
            assert_eq!(sign_in_from(&server, address, &nobody()).await.status, 403);
        }
        // No account is told of by that, so it may be said.
        for user in [&user, &nobody()] {
            let answer = sign_in_from(&server, locked, user).await;
            expect_too_many(&answer);
            assert!(answer.text().contains("too many attempts from your address"), "{answer}");
        }
        assert_eq!(sign_in_from(&server, other, &user).await.status, 303, "another address is locked too");
    }
}

async fn a_locked_address_changes_no_password(store: Store) {
    let server = Server::start(store, &[("SIGN_IN_ATTEMPTS_PER_ADDRESS", "4")]).await;
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    for _ in 0..4 {
        failed(&server, &nobody()).await;
    }
    let page = browser.open("/account").await;
    let fields = [("current_password", user.password.as_str()), ("new_password", &random(18))];
    let page = browser.submit(&page, "password-form", "password-submit", &fields).await;
    expect_too_many(&page.answer);
    assert!(page.text_of("password-error").is_some_and(|error| error.contains("too many attempts")), "{}", page.answer);
}

async fn an_unknown_user_takes_as_long_as_a_wrong_password(store: Store) {
    // The time tells no more than the text: a name that nobody has costs a password hash too.
    let settings = [("SIGN_IN_ATTEMPTS_PER_ACCOUNT", "1000"), ("SIGN_IN_ATTEMPTS_PER_ADDRESS", "100000")];
    let server = Server::start(store, &settings).await;
    let user = server.user().await;
    let time = async |user: User| {
        let start = Instant::now();
        failed(&server, &user).await;
        start.elapsed()
    };
    let (mut wrong, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..6 {
        wrong = wrong.min(time(User { password: random(18), ..user.clone() }).await);
        unknown = unknown.min(time(User { username: random(9).to_lowercase(), password: random(18) }).await);
    }
    let (longer, shorter) = (wrong.max(unknown), wrong.min(unknown));
    assert!(longer < shorter * 2, "wrong password {wrong:?}, unknown user {unknown:?}");
}
