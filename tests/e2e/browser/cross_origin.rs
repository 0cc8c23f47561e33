//! A client that is nothing but a page: it asks for its tokens and for UserInfo itself, from another origin.

use super::{application::Application, driver::Driver};
use crate::harness::{Server, Store, browser::query_of, secrets};
use serde_json::{Value, json};

/// The page, at [`PATH`]: it goes to the authorization endpoint with PKCE; with a code in its address it shows what it got.
pub const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>One page</title><p id="got"></p><script type="module">
const asked = new URLSearchParams(location.search), here = location.origin + location.pathname;
const text = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
const post = (url, form) => fetch(url, { method: "POST", body: new URLSearchParams(form) });
if (!asked.get("code")) {
  const verifier = text(crypto.getRandomValues(new Uint8Array(32)));
  const challenge = text(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  const op = asked.get("op"), client_id = asked.get("client_id");
  const configuration = await (await fetch(op + "/.well-known/openid-configuration")).json();
  sessionStorage.setItem("kept", JSON.stringify({ configuration, client_id, verifier }));
  location = configuration.authorization_endpoint + "?" + new URLSearchParams({
    response_type: "code", client_id, redirect_uri: here, scope: "openid profile",
    code_challenge: challenge, code_challenge_method: "S256", state: "x",
  });
} else {
  const { configuration, client_id, verifier } = JSON.parse(sessionStorage.getItem("kept"));
  const tokens = await (await post(configuration.token_endpoint, {
    grant_type: "authorization_code", code: asked.get("code"), redirect_uri: here, client_id, code_verifier: verifier,
  })).json();
  const bearer = (token) => ({ headers: { authorization: "Bearer " + token } });
  const userinfo = await (await fetch(configuration.userinfo_endpoint, bearer(tokens.access_token))).json();
  const again = await post(configuration.token_endpoint, { grant_type: "authorization_code", client_id });
  const revoked = await post(configuration.revocation_endpoint, { client_id, token: tokens.access_token });
  const after = await fetch(configuration.userinfo_endpoint, bearer(tokens.access_token));
  document.getElementById("got").textContent = JSON.stringify({
    type: tokens.token_type, has_id_token: "id_token" in tokens, name: userinfo.preferred_username,
    error: (await again.json()).error, revoked: revoked.status,
    after: after.status, challenge: after.headers.get("www-authenticate"), id: after.headers.get("x-request-id"),
  });
}
</script>"#;
pub const PATH: &str = "/one-page";

pub async fn a_page_of_another_origin_gets_its_tokens_and_userinfo(store: Store) {
    // OpenID Connect Core 5.3; RFC 7636 with a public client; RFC 7009.
    let server = Server::start(store, &[]).await;
    let (application, user) = (Application::start().await, server.user().await);
    let code = ["--grant-type", "authorization_code", "--response-type", "code", "--auth-method", "none"];
    let page = application.url(PATH);
    let own = ["--redirect-uri", page.as_str(), "--scope", "openid profile"];
    let client = server.client(&[&own[..], &code].concat()).await;

    let driver = Driver::start(&format!("one-page-{store}")).await;
    driver.open(&format!("{page}?op={}&client_id={}", server.base(), client.id)).await;
    driver.sign_in(&user.username, &user.password).await;
    driver.click("consent-allow").await;
    let back = driver.arrives("the page", |url| url.query_pairs().any(|(name, _)| name == "code")).await;
    secrets::register(&query_of(&back)["code"]);
    let got = crate::harness::poll::until("the page has asked for everything", async || {
        Some(driver.text("got").await).filter(|text| !text.is_empty())
    });
    let got: Value = serde_json::from_str(&got.await).expect("JSON");
    let expected = json!({
        "type": "Bearer", "has_id_token": true, "name": user.username,
        "error": "invalid_request", "revoked": 200, "after": 401,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&got[name], value, "{name} in {got}");
    }
    assert!(got["challenge"].as_str().is_some_and(|text| text.contains("invalid_token")), "{got}");
    assert!(got["id"].is_string(), "{got}");
}
