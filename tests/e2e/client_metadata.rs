//! Every field of client metadata, on the command line and in the form: RFC 7591 2, OpenID Connect Dynamic Registration 2.

use serde_json::{Value, json};

use crate::harness::{
    Browser, CALLBACK, Server, poll,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    the_command_line_sets_every_field_and_takes_it_away,
    the_command_line_refuses_what_does_not_fit,
    the_form_shows_every_field_and_changes_it,
    the_form_says_beside_the_field_what_is_wrong,
    a_login_begins_from_the_account_page,
]];

const TEXTS: [(&str, &str); 12] = [
    ("logo_uri", "https://client.example/logo.png"),
    ("policy_uri", "https://client.example/policy"),
    ("tos_uri", "https://client.example/tos"),
    ("software_id", "4NRB1"),
    ("software_version", "2.1"),
    ("initiate_login_uri", "https://client.example/login"),
    ("frontchannel_logout_uri", "https://client.example/front"),
    ("backchannel_logout_uri", "https://client.example/back"),
    ("subject_type", "public"),
    ("id_token_signed_response_alg", "ES256"),
    ("token_endpoint_auth_signing_alg", "ES256"),
    ("request_object_signing_alg", "ES256"),
];

const LISTS: [(&str, &str, &str); 4] = [
    ("contacts", "contact", "ops@client.example"),
    ("post_logout_redirect_uris", "post-logout-redirect-uri", "https://client.example/out"),
    ("default_acr_values", "default-acr-value", "1"),
    ("request_uris", "request-uri", "https://client.example/request.jwt"),
];

const FLAGS: [&str; 3] =
    ["frontchannel_logout_session_required", "backchannel_logout_session_required", "require_auth_time"];

fn jwks() -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x }] })
}

fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

async fn the_command_line_sets_every_field_and_takes_it_away(server: Server) {
    let site = server.site();
    let file = site.directory().join("client-keys.json");
    std::fs::write(&file, jwks().to_string()).expect("a file");
    let mut given: Vec<String> =
        ["client", "create", "--name", "Everything", "--redirect-uri", CALLBACK].map(Into::into).into();
    let mut expected = vec![("default_max_age", json!(60)), ("jwks", jwks())];
    given.extend(["--default-max-age".to_owned(), "60".to_owned(), "--jwks".to_owned(), file.display().to_string()]);
    for (name, value) in TEXTS {
        given.extend([flag(name), value.to_owned()]);
        expected.push((name, json!(value)));
    }
    for (name, flag, value) in LISTS {
        given.extend([format!("--{flag}"), value.to_owned()]);
        expected.push((name, json!([value])));
    }
    for name in FLAGS {
        given.push(flag(name));
        expected.push((name, json!(true)));
    }
    let made = site.run_json(&given.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (name, value) in &expected {
        assert_eq!(made.get(*name), Some(value), "{name} in {made}");
    }
    // Nothing given, nothing changed; an empty value takes away.
    let id = made["client_id"].as_str().expect("an id");
    let same = site.run_json(&["client", "update", id]).await;
    let emptied = ["client", "update", id, "--logo-uri", "", "--contact", "", "--request-object-signing-alg", ""];
    let emptied = site.run_json(&[&emptied[..], &["--require-auth-time", "false"]].concat()).await;
    for (name, value) in &expected {
        assert_eq!(same.get(*name), Some(value), "{name} in {same}");
        let gone = ["logo_uri", "contacts", "request_object_signing_alg", "require_auth_time"].contains(name);
        assert_eq!(emptied.get(*name), Some(value).filter(|_| !gone), "{name} in {emptied}");
    }
}

async fn the_command_line_refuses_what_does_not_fit(server: Server) {
    for (arguments, says) in [
        (["--default-max-age", "soon"], "default_max_age"),
        (["--subject-type", "private"], "--subject-type"),
        (["--logo-uri", "javascript:alert(1)"], "logo_uri"),
        (["--initiate-login-uri", "http://client.example/"], "initiate_login_uri"),
        (["--jwks", "/nowhere/keys.json"], "/nowhere/keys.json"),
    ] {
        let create = ["client", "create", "--name", "X", "--redirect-uri", CALLBACK];
        let output = server.site().run(&[&create[..], &arguments].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
    }
}

/// A client of that user, made in the browser; its page.
async fn own_client(browser: &mut Browser, more: &[(&str, &str)]) -> String {
    let page = browser.open("/create_client").await;
    let fields = [("client_name", "Mine"), ("kind", "web"), ("redirect_uris", CALLBACK)];
    let fields = [&fields[..], more].concat();
    let page = browser.submit(&page, "create-client-form", "create-client-submit", &fields).await;
    let id = page.text_of("client-id").unwrap_or_else(|| panic!("no client: {}", page.answer));
    format!("/clients/{id}")
}

async fn the_form_shows_every_field_and_changes_it(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let keys = jwks().to_string();
    let mut given: Vec<(&str, &str)> = TEXTS.to_vec();
    given.extend(LISTS.map(|(name, _, value)| (name, value)));
    given.extend(FLAGS.map(|name| (name, "true")));
    given.extend([("default_max_age", "60"), ("jwks", keys.as_str())]);
    let path = own_client(&mut browser, &given).await;
    // What is shown, saved as it is, changes nothing.
    for _ in 0..2 {
        let page = browser.open(&path).await;
        let form = page.form("edit-client-form").expect("a form");
        let shown = |name: &str| form.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        for (name, value) in given.iter().filter(|(name, _)| *name != "jwks") {
            assert_eq!(shown(name), Some(*value), "{name}");
        }
        let saved = browser.submit(&page, "edit-client-form", "edit-client-submit", &[]).await;
        assert!(saved.text_of("saved").is_some(), "{}", saved.answer);
    }
    let id = path.trim_start_matches("/clients/");
    let stored = server.site().run_json(&["client", "show", id]).await;
    for (name, _, value) in LISTS {
        assert_eq!(stored[name], json!([value]), "{name}");
    }
    assert_eq!((&stored["jwks"], &stored["default_max_age"]), (&jwks(), &json!(60)));
    let page = browser.open(&path).await;
    let emptied = [("logo_uri", ""), ("contacts", ""), ("request_object_signing_alg", "")];
    browser.submit(&page, "edit-client-form", "edit-client-submit", &emptied).await;
    let stored = server.site().run_json(&["client", "show", id]).await;
    for name in ["logo_uri", "contacts", "request_object_signing_alg"] {
        assert_eq!(stored.get(name), None, "{name}");
    }
    assert_eq!(stored["policy_uri"], "https://client.example/policy");
}

async fn the_form_says_beside_the_field_what_is_wrong(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let path = own_client(&mut browser, &[]).await;
    for (name, wrong) in [
        ("logo_uri", "javascript:alert(1)"),
        ("initiate_login_uri", "http://client.example/"),
        ("default_max_age", "soon"),
        ("jwks", "{"),
        ("subject_type", "private"),
        ("sector_identifier_uri", "https://127.0.0.1:1/nobody"),
    ] {
        let page = browser.open(&path).await;
        let page = browser.submit(&page, "edit-client-form", "edit-client-submit", &[(name, wrong)]).await;
        assert_eq!(page.answer.status, 422, "{name}: {}", page.answer);
        assert!(page.text_of(&format!("{name}-error")).is_some(), "{name}: {}", page.answer);
        assert!(page.text_of("form-errors").is_some(), "{name}: {}", page.answer);
    }
}

async fn a_login_begins_from_the_account_page(server: Server) {
    // OpenID Connect Core 4: iss, and login_hint for a client that knows the name anyway.
    let arguments = ["--redirect-uri", CALLBACK, "--scope", "openid profile"];
    let more =
        ["--initiate-login-uri", "https://client.example/login?from=us", "--client-uri", "https://client.example/"];
    let client = server.client(&[&arguments[..], &more].concat()).await;
    let user = server.user().await;
    let iss: String = form_urlencoded::byte_serialize(server.base().as_bytes()).collect();
    let start = format!("https://client.example/login?from=us&iss={iss}");
    for (scope, expected) in
        [("openid", start.clone()), ("openid profile", format!("{start}&login_hint={}", user.username))]
    {
        let request =
            [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK), ("scope", scope)];
        let mut browser = Browser::new(&server);
        browser.authorize(&server.authorize_url(&request), &user).await;
        poll::until("the account page has the link", async || {
            let page = browser.open("/account").await.answer.text();
            let tags = crate::harness::html::tags(&page);
            let mut links =
                tags.iter().filter(|tag| tag.get("class").is_some_and(|class| class.contains("start-login")));
            links.any(|link| link.get("href") == Some(&expected)).then_some(())
        })
        .await;
    }
    // And from the page of the client, for who made it.
    let mut browser = Browser::signed_in(&server, &user).await;
    let fields = [("initiate_login_uri", "https://client.example/login"), ("client_uri", "https://client.example/")];
    let path = own_client(&mut browser, &fields).await;
    let page = browser.open(&path).await.answer.text();
    let link = crate::harness::html::element(&page, "start-login").expect("a link");
    let expected = format!(
        "https://client.example/login?iss={iss}&login_hint={}&target_link_uri=https%3A%2F%2Fclient.example%2F",
        user.username
    );
    assert_eq!(link.get("href"), Some(expected.as_str()));
}
