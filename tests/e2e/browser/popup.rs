//! Clients that sign their users in and out in a popup, and wait for it to speak to the page that opened it.

use fantoccini::Locator;

use super::{application::Application, driver::Driver};
use crate::harness::{
    Server, Store,
    http::encode,
    poll,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[on![Sqlite: a_popup_keeps_its_opener]];

pub const OPENER_PATH: &str = "/opener";
pub const POPUP_PATH: &str = "/popup";

/// Opens the address `url` in a popup, and shows what it says.
pub const OPENER: &str = r#"<!doctype html><meta charset="utf-8"><title>Opener</title>
<button id="go">Go on</button><p id="said"></p><script>
const url = new URLSearchParams(location.search).get("url");
document.getElementById("go").onclick = () => open(url, "popup", "width=500,height=700");
addEventListener("message", (event) => document.getElementById("said").append(event.data));
</script>"#;

/// The redirect URI of such a client.
pub const POPUP: &str = r#"<!doctype html><meta charset="utf-8"><title>Popup</title><p id="popup">In the popup</p><script>
const answer = new URLSearchParams(location.search);
if (opener) opener.postMessage(`heard ${answer.get("error") ?? (answer.has("code") ? "code" : "it")}`, "*");
</script>"#;

async fn a_popup_keeps_its_opener(store: Store) {
    let server = Server::start(store, &[]).await;
    let (user, application) = (server.user().await, Application::start().await);
    let uri = application.url(POPUP_PATH);
    let own = ["--redirect-uri", &uri, "--post-logout-redirect-uri", &uri, "--scope", "openid profile"];
    let code = ["--response-type", "code", "--grant-type", "authorization_code"];
    let client = server.client(&[&own[..], &code].concat()).await;
    let driver = Driver::start("popup").await;
    let opened = async |url: &str| {
        driver.open(&application.url(&format!("{OPENER_PATH}?{}", encode(&[("url", url)])))).await;
        driver.element("go").await.click().await.expect("a click");
        driver.other_window().await;
    };
    let heard = async |what: &str| {
        driver.element("popup").await;
        driver.client.close_window().await.expect("the popup closes");
        let opener = driver.client.windows().await.expect("windows").remove(0);
        driver.client.switch_to_window(opener).await.expect("the opener");
        poll::until(&format!("the opener hears of {what}"), async || {
            (driver.text("said").await == format!("heard {what}")).then_some(())
        })
        .await;
    };
    let request = |more: &[(&str, &str)]| {
        let own = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", &uri)];
        server.authorize_url(&[&own[..], &[("scope", "openid profile")], more].concat())
    };

    // A wrong password on the way, too.
    opened(&request(&[])).await;
    driver.sign_in(&user.username, "wrong").await;
    driver.element("login-error").await;
    driver.sign_in(&user.username, &user.password).await;
    driver.click("consent-allow").await;
    heard("code").await;

    opened(&request(&[("prompt", "consent"), ("response_mode", "form_post")])).await;
    driver.click("consent-allow").await;
    heard("it").await;

    opened(&request(&[("prompt", "consent")])).await;
    driver.click("consent-deny").await;
    heard("access_denied").await;

    opened(&request(&[("prompt", "select_account")])).await;
    let account = driver.client.find(Locator::Css(".account")).await.expect("an account");
    driver.follow(account, "the account").await;
    heard("code").await;

    let logout = [("client_id", &*client.id), ("post_logout_redirect_uri", &uri)];
    opened(&server.url(&format!("/oauth/logout?{}", encode(&logout)))).await;
    driver.click("logout-confirm").await;
    heard("it").await;
}
