//! More than one tab, and a browser that keeps no cookies.

use super::{application::Application, driver::Driver};
use crate::harness::{
    Server, Store,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[on![Sqlite: the_second_tab_goes_on_too, who_has_no_cookies_is_told_so]];

async fn the_second_tab_goes_on_too(store: Store) {
    let server = Server::start(store, &[]).await;
    let (user, application) = (server.user().await, Application::start().await);
    let callback = application.url("/callback");
    let client = server.client(&["--redirect-uri", &callback, "--scope", "profile"]).await;
    let request = |state: &str| {
        let own = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", &callback)];
        server.authorize_url(&[&own[..], &[("state", state), ("prompt", "consent")]].concat())
    };
    let driver = Driver::start("tabs").await;
    driver.open(&request("first")).await;
    let first = driver.client.window().await.expect("a window");
    let second = driver.client.new_window(true).await.expect("a tab").handle;
    driver.client.switch_to_window(second).await.expect("the second tab");
    driver.open(&request("second")).await;
    driver.sign_in(&user.username, &user.password).await;
    driver.click("consent-allow").await;
    driver.arrives("the client", |url| url.query().is_some_and(|query| query.contains("state=second"))).await;

    driver.client.switch_to_window(first).await.expect("the first tab");
    driver.sign_in(&user.username, &user.password).await;
    driver.click("consent-allow").await;
    driver.arrives("the client", |url| url.query().is_some_and(|query| query.contains("state=first"))).await;

    // Back to the consent form, and once more.
    driver.client.back().await.expect("back");
    driver.click("consent-allow").await;
    driver.arrives("the client", |url| url.query().is_some_and(|query| query.contains("state=first"))).await;
}

async fn who_has_no_cookies_is_told_so(store: Store) {
    let server = Server::start(store, &[]).await;
    let user = server.user().await;
    let driver = Driver::start("no-cookies").await;
    driver.open(&server.url("/login?next=%2Faccount")).await;
    driver.client.delete_all_cookies().await.expect("no cookies");
    driver.sign_in(&user.username, &user.password).await;
    assert!(driver.text("login-error").await.contains("cookies"));
    driver.picture("no-cookies").await;
    // Where they are only too old, the page itself is the way on.
    driver.sign_in(&user.username, &user.password).await;
    driver.arrives("the page that was asked for", |url| url.path() == "/account").await;
}
