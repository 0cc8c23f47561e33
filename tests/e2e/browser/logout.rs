//! Signing out, and several accounts, in a real browser: what frames do there (OpenID Connect Front-Channel Logout 1.0,
//! Session Management 1.0).

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::application::Application;
use super::driver::Driver;
use crate::harness::{
    Client, Server, Store, User,
    browser::query_of,
    http::encode,
    poll, random, secrets,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[on![Sqlite:
    applications_hear_of_it_when_their_user_signs_out,
    an_application_that_hangs_keeps_nobody_from_going_on,
    a_user_has_two_accounts,
]];

async fn register(server: &Server, application: &Application, front: &str) -> Client {
    let (callback, out) = (application.url("/callback"), application.url("/out"));
    let front = application.url(front);
    let arguments =
        ["--redirect-uri", &callback, "--post-logout-redirect-uri", &out, "--frontchannel-logout-uri", &front];
    let more = ["--frontchannel-logout-session-required", "--scope", "openid profile", "--response-type", "code"];
    server.client(&[&arguments[..], &more, &["--grant-type", "authorization_code"]].concat()).await
}

fn request(server: &Server, client: &Client, application: &Application, more: &[(&str, &str)]) -> String {
    let (callback, state) = (application.url("/callback"), random(6));
    let request = [
        ("response_type", "code"),
        ("client_id", client.id.as_str()),
        ("redirect_uri", &callback),
        ("scope", "openid profile"),
        ("state", &state),
    ];
    server.authorize_url(&[&request[..], more].concat())
}

/// What the server's frame answers a page of the client.
async fn asked(driver: &Driver, server: &Server, application: &Application, message: &str) -> String {
    let query = encode(&[("op", server.url("/oauth/check_session").as_str()), ("message", message)]);
    driver.open(&application.url(&format!("/asking?{query}"))).await;
    poll::until("the frame answers", async || Some(driver.text("answer").await).filter(|text| !text.is_empty())).await
}

/// Signs in to the client. Gives back what came to its callback, and the ID token.
async fn login(
    driver: &Driver,
    server: &Server,
    client: &Client,
    application: &Application,
    user: &User,
) -> (HashMap<String, String>, String) {
    driver.open(&request(server, client, application, &[])).await;
    driver.sign_in(&user.username, &user.password).await;
    driver.click("consent-allow").await;
    let callback = driver.arrives("the client", |url| url.query_pairs().any(|(name, _)| name == "code")).await;
    let query = query_of(&callback);
    secrets::register(&query["code"]);
    let uri = application.url("/callback");
    let form = [("grant_type", "authorization_code"), ("code", &query["code"]), ("redirect_uri", uri.as_str())];
    let tokens = server.token_as(client, &form).await.expect(200).json();
    (query, tokens["id_token"].as_str().expect("an ID token").to_owned())
}

/// Lets the client sign its user out, and comes back with where the browser ends.
async fn logout(driver: &Driver, server: &Server, application: &Application, id_token: &str) -> url::Url {
    let out = application.url("/out");
    let logout = [("id_token_hint", id_token), ("post_logout_redirect_uri", &out), ("state", "afterwards")];
    driver.open(&server.url(&format!("/oauth/logout?{}", encode(&logout)))).await;
    driver.arrives("the client again", |url| url.path() == "/out").await
}

async fn applications_hear_of_it_when_their_user_signs_out(store: Store) {
    let server = Server::start(store, &[]).await;
    let (user, application) = (server.user().await, Application::start().await);
    let client = register(&server, &application, "/front").await;
    let driver = Driver::start("logout").await;
    let (query, id_token) = login(&driver, &server, &client, &application, &user).await;

    let message = format!("{} {}", client.id, query["session_state"]);
    assert_eq!(asked(&driver, &server, &application, &message).await, "unchanged");
    assert_eq!(asked(&driver, &server, &application, "nonsense").await, "error");
    let foreign = message.replace(&client.id, &random(6));
    assert_eq!(asked(&driver, &server, &application, &foreign).await, "changed");

    let arrived = logout(&driver, &server, &application, &id_token).await;
    assert_eq!(query_of(&arrived)["state"], "afterwards");
    let front = application.asked("/front");
    assert_eq!(front.len(), 1, "{front:?}");
    let told = query_of(&front[0]);
    let claims = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1).expect("claims")).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!((claims["iss"].as_str(), claims["sid"].as_str()), (Some(&*told["iss"]), Some(&*told["sid"])));
    assert_eq!(asked(&driver, &server, &application, &message).await, "changed");
}

async fn an_application_that_hangs_keeps_nobody_from_going_on(store: Store) {
    let server = Server::start(store, &[]).await;
    let (user, application) = (server.user().await, Application::start().await);
    let client = register(&server, &application, "/hangs").await;
    let driver = Driver::start("hangs").await;
    let (_, id_token) = login(&driver, &server, &client, &application, &user).await;
    let arrived = logout(&driver, &server, &application, &id_token).await;
    assert_eq!(query_of(&arrived)["state"], "afterwards");
    assert_eq!(application.asked("/hangs").len(), 1);
}

async fn add(driver: &Driver, server: &Server, user: &User) {
    driver.open(&server.url("/login")).await;
    driver.sign_in(&user.username, &user.password).await;
    driver.arrives("the first page", |url| url.path() == "/").await;
}

async fn a_user_has_two_accounts(store: Store) {
    let server = Server::start(store, &[]).await;
    let (ann, ben, application) = (server.user().await, server.user().await, Application::start().await);
    let client = register(&server, &application, "/front").await;
    let driver = Driver::start("accounts").await;
    add(&driver, &server, &ann).await;
    add(&driver, &server, &ben).await;
    assert!(driver.text("signed-in-as").await.contains(&ben.username));
    driver.open(&server.url("/login")).await;
    driver.picture("login-again").await;

    driver.open(&request(&server, &client, &application, &[("prompt", "select_account")])).await;
    driver.element("account-form").await;
    driver.picture("choose").await;
    let anns = format!("//button[contains(., '{}')]", ann.username);
    let button = driver.client.find(fantoccini::Locator::XPath(&anns)).await.expect("ann's button");
    driver.follow(button, "the account").await;
    assert!(driver.text("consent-account").await.contains(&ann.username));
    driver.click("consent-allow").await;
    let callback = driver.arrives("the client", |url| url.query_pairs().any(|(name, _)| name == "code")).await;
    secrets::register(&query_of(&callback)["code"]);

    driver.open(&server.url("/logout")).await;
    driver.picture("sign-out-of").await;
    driver.click("logout-confirm").await;
    assert!(driver.text("logged-out").await.contains(&ben.username));
    poll::until("the client is told", async || (!application.asked("/front").is_empty()).then_some(())).await;
    driver.picture("one-signed-out").await;
    driver.open(&server.url("/")).await;
    assert!(driver.text("signed-in-as").await.contains(&ben.username));
    driver.open(&server.url("/logout")).await;
    driver.click("logout-confirm").await;
    driver.element("logged-out").await;
    driver.picture("signed-out").await;
    assert!(!driver.has("signed-in-as").await);
}
