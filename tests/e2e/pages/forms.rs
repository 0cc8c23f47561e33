//! Every form of every page: without its token, sent twice, while the database is down. And what is left after signing out.

use crate::harness::{
    Browser, CALLBACK, Server, Site, Store, User,
    browser::{Page, query_of},
    html::{self, Form},
    poll,
    suite::{Case, on, shared},
};
use crate::http::operations::Cluster;

pub const CASES: &[&[Case]] = &[
    shared![every_form_needs_its_token, forms_sent_twice_do_no_harm, nothing_is_left_after_signing_out],
    on![Postgres: every_form_says_when_the_database_is_down],
];

/// A finished page that says to come back, and no redirect that looks like success.
#[track_caller]
fn expect_unavailable(page: &Page, what: &str) {
    assert_eq!(page.answer.status, 503, "{what}: {}", page.answer);
    let seconds = page.answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some(), "{what}: {}", page.answer);
    let text = page.text_of("error-page").unwrap_or_else(|| panic!("{what}: no page but {}", page.answer));
    assert!(text.contains("temporarily_unavailable"), "{what}: {text}");
    assert!(page.answer.text().contains("<h1"), "{what}: {}", page.answer);
    assert!(!page.answer.text().to_lowercase().contains("postgres"), "{what}: the fault's text is shown");
}

async fn every_form_says_when_the_database_is_down(_: Store) {
    // RFC 9110 15.6.4 and 10.2.3; RFC 6749 4.1.2.1 `temporarily_unavailable`.
    let cluster = Cluster::create().await;
    let settings =
        [("CLIENTS_MADE_BY", "users"), ("STORE_CONNECT_TIMEOUT_SECONDS", "1"), ("STORE_MAX_STALENESS_MS", "200")];
    let site = Site::on_cluster(&cluster.ask("url").await, &settings);
    let server = Server::on(&site, &[]).await;
    let (user, mut browser, paths) = busy(&server).await;
    let pages = open_all(&mut browser, &paths).await;
    let mut stranger = Browser::new(&server);
    let login = stranger.open("/login").await;
    cluster.ask("stop").await;
    poll::until("the pages know that they are not up to date", async || {
        (browser.open("/account").await.answer.status == 503).then_some(())
    })
    .await;

    for path in ["/"].into_iter().chain(paths.iter().map(String::as_str).filter(|path| !path.contains("authorize"))) {
        expect_unavailable(&browser.open(path).await, path);
    }
    let mut tried = 0;
    for page in &pages {
        for form in html::forms(&page.answer.text()) {
            let answer = browser.clone().submit_form(page, &form, first_button(&form), &filled_in(&form)).await;
            match answer.location() {
                Some(to) if form.id == "consent-form" => assert_eq!(query_of(&to)["error"], "temporarily_unavailable"),
                _ => expect_unavailable(&Page { answer }, &form.action),
            }
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried} forms were found");
    let page = stranger.fill_in_login(&login, &user).await;
    expect_unavailable(&page, "/login");
    // What needs no database goes on.
    assert!(Browser::new(&server).open("/").await.answer.status == 200);
    assert!(Browser::new(&server).open("/login").await.form("login-form").is_some());

    cluster.ask("start").await;
    poll::until("the same form works again", async || {
        let answer = browser
            .clone()
            .submit_once(pages.last().expect("the consent page"), "consent-form", "consent-allow", &[])
            .await;
        answer.location().is_some_and(|location| query_of(&location).contains_key("code")).then_some(())
    })
    .await;
    server.stop();
}

async fn every_form_needs_its_token(server: Server) {
    // RFC 6749 10.12: what another site can make this browser send does nothing.
    let (user, mut browser, paths) = busy(&server).await;
    let mut pages = open_all(&mut browser, &paths).await;
    let mut stranger = Browser::new(&server);
    pages.push(stranger.open("/login").await);
    let mut tried = 0;
    for page in &pages {
        for form in html::forms(&page.answer.text()) {
            assert_eq!(form.method, "post", "{}: what a form does is never a GET", form.action);
            let csrf = form.fields.iter().map(|(name, _)| name.as_str()).find(|name| *name == "csrf");
            let csrf = csrf.unwrap_or_else(|| panic!("no token in the form for {}", form.action));
            for wrong in ["", "wrong", &"A".repeat(43)] {
                let mut fields = filled_in(&form);
                fields.push((csrf, wrong));
                let browser = if form.id == "login-form" { &mut stranger } else { &mut browser };
                let answer = browser.submit_form(page, &form, first_button(&form), &fields).await;
                assert!(matches!(answer.status, 400 | 403), "{}: {answer}", form.action);
                assert_eq!(answer.header("location"), None, "{}: {answer}", form.action);
            }
            tried += 1;
        }
    }
    assert!(tried >= 9, "only {tried} forms were found");
    let page = browser.open("/account").await;
    assert_eq!(page.text_of("account-name").as_deref(), Some(user.username.as_str()), "something was done");
    assert!(page.form("password-form").is_some());
}

/// Somebody with a client, something allowed, and another browser, so that every page has all its forms; and these pages.
async fn busy(server: &Server) -> (User, Browser, Vec<String>) {
    let (user, client) = (server.user().await, server.web_client().await);
    server.tokens(&client, &user).await;
    let mut browser = Browser::signed_in(server, &user).await;
    Browser::signed_in(server, &user).await;
    let create = browser.open("/create_client").await;
    let form = create.form("create-client-form").expect("a form");
    browser.submit(&create, "create-client-form", "create-client-submit", &filled_in(&form)).await;
    let own = poll::until("the lists have come to the end of the log", async || {
        let forms = html::forms(&browser.open("/account").await.answer.text());
        let actions = ["/account/revoke", "/account/end_session"];
        let listed = actions.iter().all(|action| forms.iter().any(|form| form.action == *action));
        let home = browser.open("/").await.answer.text();
        let (_, rest) = home.split_once("href=\"/clients/").filter(|_| listed)?;
        Some(format!("/clients/{}", rest.split('"').next()?))
    })
    .await;
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK)];
    let consent = server.authorize_url(&[&request[..], &[("prompt", "consent")]].concat());
    (user, browser, vec!["/create_client".into(), own, "/account".into(), "/logout".into(), consent])
}

async fn open_all(browser: &mut Browser, paths: &[String]) -> Vec<Page> {
    let mut pages = Vec::new();
    for path in paths {
        pages.push(browser.open(path).await);
    }
    pages
}

/// The consent form's denial needs no database, so its button is named.
fn first_button(form: &Form) -> &'static str {
    if form.id == "consent-form" { "consent-allow" } else { "" }
}

/// What a person would have typed into the form.
fn filled_in(form: &Form) -> Vec<(&'static str, &'static str)> {
    match form.id.as_str() {
        "create-client-form" => {
            vec![("client_name", "One more"), ("kind", "web"), ("redirect_uris", "https://mine.example/cb")]
        }
        "password-form" => vec![("current_password", "whatever it is"), ("new_password", "another one it is")],
        _ => Vec::new(),
    }
}

async fn forms_sent_twice_do_no_harm(server: Server) {
    // A double click or a reload: the second one finds it done, and nothing fails.
    let (_, mut browser, paths) = busy(&server).await;
    let mut pages = open_all(&mut browser, &paths).await;
    // Signing out last.
    pages.sort_by_key(|page| page.form("logout-form").is_some());
    for page in &pages {
        for form in html::forms(&page.answer.text()) {
            for time in ["first", "second"] {
                let answer = browser.submit_form(page, &form, first_button(&form), &filled_in(&form)).await;
                assert!(answer.status < 500, "{}, the {time} time: {answer}", form.action);
            }
        }
    }
    assert!(!browser.open("/").await.is_signed_in());
}

async fn nothing_is_left_after_signing_out(server: Server) {
    // RFC 9111 5.2.2.5: the back button loads each page again, and each then asks for a sign-in.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK)];
    let consent = server.authorize_url(&request);
    let paths = ["/", "/account", "/create_client", &consent];
    let mut shown = Vec::new();
    for path in paths {
        let page = browser.open(path).await;
        page.answer.clone().expect_no_store();
        shown.push(page);
    }
    let before = browser.clone();
    let page = browser.open("/logout").await;
    browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    // With the cookie of before, which somebody may have kept.
    let mut browser = before;
    for path in paths {
        let page = browser.open(path).await;
        assert!(!page.is_signed_in(), "{path}: {}", page.answer);
        assert!(!page.answer.text().contains(&user.username), "{path}: {}", page.answer);
    }
    let answer = browser.submit_once(&shown[3], "consent-form", "consent-allow", &[]).await;
    assert!(answer.location().is_none_or(|location| location.as_str().starts_with(server.base())), "{answer}");
}
