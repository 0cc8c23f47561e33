//! What was allowed counts for what was seen: RFC 6749 10.2, OpenID Connect Core 3.1.2.4.

use serde_json::{Value, json};

use crate::conformance::dynamic::registered;
use crate::harness::{
    Browser, CALLBACK, Pkce, Server, Store,
    browser::{Page, fragment_of, query_of},
    poll,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_client_that_became_another_gets_nothing_that_was_allowed_before,
        every_change_of_what_was_seen_is_asked_about,
        a_change_by_the_form_of_its_owner_is_asked_about,
        a_change_by_an_operator_is_asked_about,
        what_changes_while_the_page_is_open_is_shown_first,
        one_destination_may_have_several_redirect_uris,
    ],
    own![
        where_a_setting_says_so_changes_by_an_operator_keep_what_was_allowed,
        what_was_seen_is_remembered_over_a_restart
    ],
];

const ELSEWHERE: &str = "https://elsewhere.example/callback";

/// A public client that registered itself, as its page shows it.
fn album() -> Value {
    json!({
        "client_name": "Photo album", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "scope": "openid profile",
    })
}

async fn put(server: &Server, client: &Value, mut metadata: Value) {
    metadata["client_id"] = client["client_id"].clone();
    let text = |name: &str| client[name].as_str().unwrap_or_else(|| panic!("no {name} in {client}"));
    let request = server.request("PUT", text("registration_client_uri")).bearer(text("registration_access_token"));
    request.body("application/json", metadata.to_string()).send().await.expect(200);
}

fn url(server: &Server, id: &str, more: &[(&str, &str)]) -> String {
    let challenge = Pkce::new().challenge;
    let given = |name: &str| more.iter().any(|(given, _)| *given == name);
    let mut request = vec![("client_id", id)];
    let usual = [("response_type", "code"), ("redirect_uri", CALLBACK), ("scope", "openid profile"), ("nonce", "n")];
    request.extend(usual.into_iter().filter(|(name, _)| !given(name)));
    // RFC 7636 4.3: with a code only.
    if !more.contains(&("response_type", "token")) {
        request.extend([("code_challenge", &*challenge), ("code_challenge_method", "S256")]);
    }
    request.extend(more);
    server.authorize_url(&request)
}

/// What a client hears that asks without a page: the error, if there is one.
async fn silently(browser: &mut Browser, server: &Server, id: &str, more: &[(&str, &str)]) -> Option<String> {
    let page = browser.open(&url(server, id, &[&[("prompt", "none")], more].concat())).await;
    let to = page.onward();
    let mut answer = query_of(&to);
    answer.extend(fragment_of(&to));
    let error = answer.remove("error");
    assert_eq!(error.is_none(), ["code", "access_token", "id_token"].iter().any(|name| answer.contains_key(*name)));
    error
}

#[track_caller]
fn assert_asked(page: &Page, changed: bool) {
    assert!(page.form("consent-form").is_some(), "not asked: {}", page.answer);
    assert_eq!(page.text_of("client-changed").is_some(), changed, "{}", page.answer);
}

async fn a_client_that_became_another_gets_nothing_that_was_allowed_before(server: Server) {
    // RFC 7592 2.2 lets a client change itself; what was allowed was allowed to what it was.
    let user = server.user().await;
    let client = registered(&server, &album()).await;
    let id = client["client_id"].as_str().expect("an id");
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&url(&server, id, &[])).await;
    assert_asked(&page, false);
    browser.submit(&page, "consent-form", "consent-allow", &[]).await.callback();
    assert_eq!(silently(&mut browser, &server, id, &[]).await, None);
    let bank = json!({
        "client_name": "Your bank", "redirect_uris": [ELSEWHERE], "token_endpoint_auth_method": "none",
        "scope": "openid profile", "response_types": ["token"], "grant_types": ["implicit"],
    });
    put(&server, &client, bank).await;
    let request = [("response_type", "token"), ("redirect_uri", ELSEWHERE)];
    assert_eq!(silently(&mut browser, &server, id, &request).await.as_deref(), Some("consent_required"));
    assert_asked(&browser.open(&url(&server, id, &request)).await, true);
    // Nor does an error send people to where it is now, who knew it where it was (RFC 9700 4.11.2).
    let error = [("response_type", "nonsense"), ("redirect_uri", ELSEWHERE)];
    assert!(browser.open(&url(&server, id, &error)).await.asks_before_leaving());
    // As it was, it may have what it was allowed.
    put(&server, &client, album()).await;
    assert_eq!(silently(&mut browser, &server, id, &[]).await, None);
}

async fn every_change_of_what_was_seen_is_asked_about(server: Server) {
    let user = server.user().await;
    let client = registered(&server, &album()).await;
    let id = client["client_id"].as_str().expect("an id");
    let mut browser = Browser::new(&server);
    browser.authorize(&url(&server, id, &[]), &user).await.callback();
    let with = |name: &str, value: Value| {
        let mut metadata = album();
        metadata[name] = value;
        metadata
    };
    for changed in [
        with("client_name", json!("Your bank")),
        with("client_uri", json!("https://client.example/")),
        with("logo_uri", json!("https://client.example/logo.png")),
        with("policy_uri", json!("https://client.example/policy")),
        with("tos_uri", json!("https://client.example/terms")),
        with("redirect_uris", json!([CALLBACK, "https://client.example/another"])),
    ] {
        put(&server, &client, changed.clone()).await;
        let error = silently(&mut browser, &server, id, &[]).await;
        assert_eq!(error.as_deref(), Some("consent_required"), "{changed}");
    }
    // What is not seen is no such change.
    put(&server, &client, with("software_id", json!("x"))).await;
    assert_eq!(silently(&mut browser, &server, id, &[]).await, None);
    let error = silently(&mut browser, &server, id, &[("response_mode", "fragment")]).await;
    assert_eq!(error.as_deref(), Some("consent_required"), "where scripts read the answer");
}

async fn a_change_by_the_form_of_its_owner_is_asked_about(server: Server) {
    let (owner, user) = (server.user().await, server.user().await);
    let mut owners = Browser::signed_in(&server, &owner).await;
    let page = owners.open("/create_client").await;
    let fields =
        [("client_name", "Photo album"), ("kind", "web"), ("redirect_uris", CALLBACK), ("scope_openid", "openid")];
    let page = owners.submit(&page, "create-client-form", "create-client-submit", &fields).await;
    let id = page.text_of("client-id").unwrap_or_else(|| panic!("no client: {}", page.answer));
    let mut browser = Browser::new(&server);
    browser.authorize(&url(&server, &id, &[]), &user).await.callback();
    assert_eq!(silently(&mut browser, &server, &id, &[]).await, None);
    let page = owners.open(&format!("/clients/{id}")).await;
    owners.submit(&page, "edit-client-form", "edit-client-submit", &[("client_name", "Your bank")]).await;
    assert_eq!(silently(&mut browser, &server, &id, &[]).await.as_deref(), Some("consent_required"));
}

/// A client that an operator made and renames, after a user has allowed it: what it hears when it asks without a page.
async fn renamed(server: &Server) -> (Option<String>, Browser, String) {
    let (user, client) =
        (server.user().await, server.client(&["--redirect-uri", CALLBACK, "--scope", "openid profile"]).await);
    let mut browser = Browser::new(server);
    browser.authorize(&url(server, &client.id, &[]), &user).await.callback();
    assert_eq!(silently(&mut browser, server, &client.id, &[]).await, None);
    server.site().run_well(&["client", "update", &client.id, "--name", "Renamed"]).await;
    poll::until("the server knows the new name", async || {
        let page = browser.open(&url(server, &client.id, &[("prompt", "consent")])).await;
        page.answer.text().contains("Renamed").then_some(())
    })
    .await;
    (silently(&mut browser, server, &client.id, &[]).await, browser, client.id)
}

async fn a_change_by_an_operator_is_asked_about(server: Server) {
    let (heard, mut browser, id) = renamed(&server).await;
    assert_eq!(heard.as_deref(), Some("consent_required"));
    let page = browser.open(&url(&server, &id, &[])).await;
    assert_asked(&page, true);
    browser.submit(&page, "consent-form", "consent-allow", &[]).await.callback();
    assert_eq!(silently(&mut browser, &server, &id, &[]).await, None);
}

async fn where_a_setting_says_so_changes_by_an_operator_keep_what_was_allowed(store: Store) {
    let settings = [("CONSENT_OPERATOR_CHANGES", "keep"), ("REGISTRATION_MODE", "open")];
    let server = Server::start(store, &settings).await;
    let (heard, mut browser, id) = renamed(&server).await;
    assert_eq!(heard, None);
    // Scope counts as ever.
    let more = [("scope", "openid profile"), ("claims", r#"{"userinfo":{"email":null}}"#)];
    assert_eq!(silently(&mut browser, &server, &id, &more).await.as_deref(), Some("consent_required"));
    // And of those that somebody else can change, everything.
    let client = registered(&server, &album()).await;
    let id = client["client_id"].as_str().expect("an id");
    browser.authorize(&url(&server, id, &[]), &server.user().await).await.callback();
    assert_eq!(silently(&mut browser, &server, id, &[]).await, None);
    let mut changed = album();
    changed["client_name"] = json!("Your bank");
    put(&server, &client, changed).await;
    assert_eq!(silently(&mut browser, &server, id, &[]).await.as_deref(), Some("consent_required"));
}

async fn what_changes_while_the_page_is_open_is_shown_first(server: Server) {
    let user = server.user().await;
    let client = registered(&server, &album()).await;
    let id = client["client_id"].as_str().expect("an id");
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&url(&server, id, &[])).await;
    let mut changed = album();
    changed["client_name"] = json!("Your bank");
    put(&server, &client, changed).await;
    let page = browser.submit(&page, "consent-form", "consent-allow", &[]).await;
    assert_asked(&page, false);
    assert!(page.answer.text().contains("Your bank"), "{}", page.answer);
    let to = browser.submit(&page, "consent-form", "consent-allow", &[]).await.callback();
    assert!(query_of(&to).contains_key("code"), "{to}");
}

async fn one_destination_may_have_several_redirect_uris(server: Server) {
    // One for people, one for a frame that nobody sees: what was registered when the user was asked.
    let user = server.user().await;
    let silent = "https://client.example/silent";
    let uris = ["--redirect-uri", CALLBACK, "--redirect-uri", silent, "--redirect-uri", ELSEWHERE];
    let client = server.client(&[&uris[..], &["--scope", "openid profile"]].concat()).await;
    let mut browser = Browser::new(&server);
    browser.authorize(&url(&server, &client.id, &[]), &user).await.callback();
    assert_eq!(silently(&mut browser, &server, &client.id, &[("redirect_uri", silent)]).await, None);
    let heard = silently(&mut browser, &server, &client.id, &[("redirect_uri", ELSEWHERE)]).await;
    assert_eq!(heard.as_deref(), Some("consent_required"));
}

async fn what_was_seen_is_remembered_over_a_restart(store: Store) {
    let server = Server::start(store, &[]).await;
    let user = server.user().await;
    let client = server.client(&["--redirect-uri", CALLBACK, "--scope", "openid profile"]).await;
    let mut browser = Browser::new(&server);
    browser.authorize(&url(&server, &client.id, &[]), &user).await.callback();
    poll::until("the tables have the grant", async || {
        let grants = server.site().run_json(&["grant", "list", "--client", &client.id]).await;
        (!grants.as_array().expect("a list").is_empty()).then_some(())
    })
    .await;
    server.stop();
    server.site().run_well(&["client", "update", &client.id, "--policy-uri", "https://client.example/policy"]).await;
    let server = Server::on(server.site(), &[]).await;
    let mut browser = Browser::signed_in(&server, &user).await;
    assert_eq!(silently(&mut browser, &server, &client.id, &[]).await.as_deref(), Some("consent_required"));
    server.site().run_well(&["client", "update", &client.id, "--policy-uri", ""]).await;
    poll::until("the server knows it as it was", async || {
        silently(&mut browser, &server, &client.id, &[]).await.is_none().then_some(())
    })
    .await;
}
