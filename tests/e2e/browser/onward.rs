//! Clients whose redirect URI leads on: to another port, another host, or an application. Browsers hold `form-action` and
//! `frame-src` (CSP Level 3) against every redirect that follows.

use fantoccini::Locator;

use super::{application::Application, driver::Driver};
use crate::harness::{
    Client, Server, Store,
    http::encode,
    poll,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[on![Sqlite:
    whatever_form_is_sent_a_callback_may_lead_on,
    a_frame_of_a_client_may_lead_on,
]];

/// Registers the URIs as redirect URIs, and as those for after signing out.
async fn register(server: &Server, uris: &[String]) -> Client {
    let both = |uri: &'static str| uris.iter().flat_map(move |value| [uri, value.as_str()]);
    let uris: Vec<&str> = both("--redirect-uri").chain(both("--post-logout-redirect-uri")).collect();
    let rest = ["--scope", "openid profile", "--response-type", "code", "--grant-type", "authorization_code"];
    server.client(&[&uris[..], &rest].concat()).await
}

/// Waits for the last stop of a redirect. Where that is an application, of which there is none here, the browser asks for it and
/// stays on its page.
async fn lands(driver: &Driver, destination: &str, what: &str) {
    if destination.starts_with("http") {
        driver.arrives(&format!("{destination} from {what}"), |url| url.as_str().starts_with(destination)).await;
        return;
    }
    let asked = format!("\\\"documentURL\\\":\\\"{destination}");
    poll::until(&format!("{destination} is opened from {what}"), async || {
        driver.network().await.contains(&asked).then_some(())
    })
    .await;
}

async fn press(driver: &Driver, button: &str) {
    driver.element(button).await.click().await.unwrap_or_else(|error| panic!("{button}: {error}"));
}

async fn whatever_form_is_sent_a_callback_may_lead_on(store: Store) {
    let server = Server::start(store, &[]).await;
    let (user, application, other) = (server.user().await, Application::start().await, Application::start().await);
    let destinations = [
        other.url("/landed"),
        other.url("/landed").replace("127.0.0.1", "localhost"),
        "com.example.app:/landed".into(),
    ];
    let callbacks = destinations.each_ref().map(|to| application.leading_to(to));
    let client = register(&server, &callbacks).await;
    let driver = Driver::watching("onward").await;
    for (callback, destination) in callbacks.iter().zip(&destinations) {
        let open = async |more: &[(&str, &str)]| {
            let own = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", callback)];
            let url = server.authorize_url(&[&own[..], &[("scope", "openid profile")], more].concat());
            driver.open(&url).await;
        };
        open(&[("prompt", "login consent")]).await;
        driver.sign_in(&user.username, &user.password).await;
        press(&driver, "consent-allow").await;
        lands(&driver, destination, "consent").await;
        // Nobody answers the browser's question whether to open an application, and it does nothing else until then.
        if !destination.starts_with("http") {
            return;
        }

        open(&[("prompt", "consent"), ("response_mode", "form_post")]).await;
        press(&driver, "consent-deny").await;
        lands(&driver, destination, "the page that posts the answer").await;

        // Allowed before, so these lead straight on.
        open(&[("prompt", "login")]).await;
        driver.write("username", &user.username).await;
        driver.write("password", &user.password).await;
        press(&driver, "login-submit").await;
        lands(&driver, destination, "the sign-in page").await;

        open(&[("prompt", "select_account")]).await;
        driver.client.find(Locator::Css(".account")).await.expect("an account").click().await.expect("a click");
        lands(&driver, destination, "the choice of accounts").await;

        let logout = [("client_id", &*client.id), ("post_logout_redirect_uri", callback)];
        driver.open(&server.url(&format!("/oauth/logout?{}", encode(&logout)))).await;
        press(&driver, "logout-confirm").await;
        lands(&driver, destination, "the page that signs out").await;
    }
}

async fn a_frame_of_a_client_may_lead_on(store: Store) {
    // Front-Channel Logout 3: a client that has its users signed out elsewhere.
    let server = Server::start(store, &[]).await;
    let (user, application, other) = (server.user().await, Application::start().await, Application::start().await);
    let (callback, front) = (application.url("/callback"), application.leading_to(&other.url("/signed-out")));
    let own = ["--redirect-uri", &callback, "--frontchannel-logout-uri", &front];
    let rest = ["--scope", "openid", "--response-type", "code", "--grant-type", "authorization_code"];
    let client = server.client(&[&own[..], &rest].concat()).await;
    let driver = Driver::start("frame-onward").await;
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", &callback)];
    driver.open(&server.authorize_url(&[&request[..], &[("scope", "openid")]].concat())).await;
    driver.sign_in(&user.username, &user.password).await;
    driver.click("consent-allow").await;
    driver.arrives("the client", |url| url.path() == "/callback").await;

    driver.open(&server.url("/logout")).await;
    driver.click("logout-confirm").await;
    poll::until("the frame has been led on", async || (!other.asked("/signed-out").is_empty()).then_some(())).await;
}
