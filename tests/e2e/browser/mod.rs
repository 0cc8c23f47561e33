//! The pages in a real browser: headless Chromium, driven over WebDriver. Screenshots go to
//! `target/e2e-artefacts/screens/`.

mod application;
mod consent;
mod cross_origin;
mod driver;
pub mod logout;
pub mod onward;
pub mod popup;
pub mod tabs;

use consent::a_client_shows_its_logo_policy_and_terms;
use cross_origin::a_page_of_another_origin_gets_its_tokens_and_userinfo;
use driver::Driver;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{
    Server, Site, Store,
    browser::query_of,
    secrets,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[
    on![Sqlite:
        a_newcomer_tries_the_demonstration,
        a_developer_and_a_user_go_through_everything,
        a_client_shows_its_logo_policy_and_terms,
        a_page_of_another_origin_gets_its_tokens_and_userinfo,
    ],
    on![Postgres: a_developer_and_a_user_go_through_everything],
];

/// A client's callback: any request is answered with a short page. Gives back its URL.
async fn callback() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let page = "<!doctype html><title>Client</title><p id=client>Back at the client</p>";
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: ";
                let _ = stream.write_all(format!("{head}{}\r\n\r\n{page}", page.len()).as_bytes()).await;
            });
        }
    });
    format!("http://127.0.0.1:{port}/callback")
}

async fn a_newcomer_tries_the_demonstration(store: Store) {
    let server = Server::on(&Site::new(store, &[]), &["--demo"]).await;
    let driver = Driver::start("demo").await;
    driver.open(&server.url("/")).await;
    driver.picture("welcome").await;
    driver.open(&server.url("/login")).await;
    driver.picture("login").await;
    driver.sign_in("ann", "").await;

    assert!(driver.text("signed-in-as").await.contains("ann"));
    assert!(driver.text("demo-banner").await.contains("demo"));
    secrets::register_shown_on_terminal(&driver.text("demo-client-secret").await);
    driver.picture("home").await;
    driver.click("try-it").await;

    driver.picture("consent").await;
    driver.click("consent-allow").await;
    let response = driver.text("token-response").await;
    secrets::register_marked(&response);
    assert!(response.contains("access_token"), "{response}");
    assert!(driver.text("introspection").await.contains("\"active\": true"));
    assert!(driver.text("api-me").await.contains("ann"));
    let events = driver.text("demo-events").await;
    for name in ["grant.code_issued", "grant.code_redeemed"] {
        assert!(events.contains(name), "{name} is not shown: {events}");
    }
    driver.picture("result").await;

    driver.click("demo-refresh").await;
    assert!(driver.text("demo-events").await.contains("grant.refreshed"));
    secrets::register_marked(&driver.text("token-response").await);
    driver.click("demo-replay").await;
    driver.element("demo-step").await;
    assert!(driver.text("demo-events").await.contains("grant.revoked"));
    assert!(driver.text("introspection").await.contains("\"active\": false"));
    driver.picture("replayed").await;
}

async fn a_developer_and_a_user_go_through_everything(store: Store) {
    let server = Server::start(store, &[("CLIENTS_MADE_BY", "users")]).await;
    let (developer, user) = (server.user().await, server.user().await);
    let driver = Driver::start(&store.to_string()).await;
    let callback = callback().await;

    // A wrong password first, then the right one.
    driver.open(&server.url("/login")).await;
    driver.sign_in(&developer.username, "wrong").await;
    driver.element("login-error").await;
    driver.picture("login-refused").await;
    driver.sign_in(&developer.username, &developer.password).await;
    assert!(driver.text("signed-in-as").await.contains(&developer.username));

    let client_id = create_client(&driver, &server, &callback).await;
    sign_out(&driver, &server).await;

    // Someone else is asked for consent, denies, then allows.
    let request = server.authorize_url(&[
        ("response_type", "code"),
        ("client_id", &client_id),
        ("redirect_uri", &callback),
        ("scope", "profile"),
        ("state", "from-the-browser"),
    ]);
    driver.open(&request).await;
    driver.sign_in(&user.username, &user.password).await;
    assert!(driver.text("consent-account").await.contains(&user.username));
    assert!(driver.text("client-not-vouched").await.contains("A user of this server made"));
    driver.picture("consent").await;
    driver.click("consent-deny").await;
    // No operator answers for where that leads (RFC 9700 4.11.2).
    driver.element("leaving").await;
    driver.click("continue").await;
    let denied = driver.arrives("the client", |url| url.as_str().starts_with(&callback)).await;
    assert_eq!(query_of(&denied)["error"], "access_denied");
    driver.open(&request).await;
    driver.click("consent-allow").await;
    let allowed = driver.arrives("the client", |url| url.query_pairs().any(|(name, _)| name == "code")).await;
    let query = query_of(&allowed);
    secrets::register(&query["code"]);
    assert_eq!((query["state"].as_str(), query["iss"].as_str()), ("from-the-browser", server.base()));

    // What was allowed is shown, and taken back.
    driver.open(&server.url("/")).await;
    driver.picture("home").await;
    driver.open(&server.url("/account")).await;
    assert!(driver.text("my-grants").await.contains("Browser's client"));
    driver.picture("account").await;
    let button = driver.client.find(fantoccini::Locator::Css(".revoke-button")).await.expect("a button");
    driver.follow(button, "revoking").await;
    driver.element("said").await;
    assert!(!driver.text("my-grants").await.contains("Browser's client"));

    driver.open(&server.url("/oauth/authorize?client_id=unknown")).await;
    assert!(driver.text("error-page").await.contains("invalid_client"));
    driver.picture("error").await;
    sign_out(&driver, &server).await;
}

/// Fills in the form for a web application, and gives back the client_id.
async fn create_client(driver: &Driver, server: &Server, callback: &str) -> String {
    driver.open(&server.url("/create_client")).await;
    driver.picture("create-client").await;
    driver.write("client_name", "Browser's client").await;
    let kind = fantoccini::Locator::Css("input[name=kind]");
    driver.client.find(kind).await.expect("kinds to choose from").click().await.expect("a click");
    driver.write("redirect_uris", callback).await;
    driver.click("create-client-submit").await;
    secrets::register(&driver.text("client-secret").await);
    let id = driver.text("client-id").await;
    driver.picture("client-created").await;
    driver.click("to-client").await;
    driver.element("edit-client-form").await;
    assert!(!driver.has("client-secret").await, "the secret is shown a second time");
    driver.picture("client").await;
    id
}

async fn sign_out(driver: &Driver, server: &Server) {
    driver.open(&server.url("/logout")).await;
    driver.picture("logout").await;
    driver.click("logout-confirm").await;
    driver.element("logged-out").await;
    driver.open(&server.url("/")).await;
    assert!(!driver.has("signed-in-as").await, "still signed in");
}
