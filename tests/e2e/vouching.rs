//! Clients for which no operator answers: what users and clients themselves can make of them, and that what an operator set
//! stays until an operator lifts it.

use serde_json::{Value, json};

use crate::conformance::dynamic::{registered, with};
use crate::harness::{
    Answer, Browser, CALLBACK, Client, Server, Store,
    browser::{Page, query_of},
    poll, secrets,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_users_client_has_no_powers,
        an_owner_does_not_undo_what_an_operator_narrowed,
        an_owner_does_not_enable_what_an_operator_disabled,
        a_client_does_not_undo_what_an_operator_narrowed,
        a_disabled_users_clients_stop,
        an_operator_deletes_a_client,
        an_owner_deletes_a_client,
        people_are_warned_of_clients_that_users_made,
    ],
    own![
        users_make_no_clients_unless_it_is_said,
        a_user_makes_so_many_clients,
        a_user_changes_clients_so_often,
        so_many_clients_register_themselves,
    ],
];

/// What a user fills in for a web application, and `more`.
fn filled_in<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let fields = [("client_name", "A user's"), ("kind", "web"), ("redirect_uris", CALLBACK)];
    let others = fields.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    others.chain(more.iter().copied()).collect()
}

async fn create(browser: &mut Browser, more: &[(&str, &str)]) -> Page {
    let page = browser.open("/create_client").await;
    browser.submit(&page, "create-client-form", "create-client-submit", &filled_in(more)).await
}

/// A client that this user made in the browser.
async fn own_client(server: &Server, browser: &mut Browser) -> Client {
    let page = create(browser, &[("scope_openid", "openid")]).await;
    let shown = |id: &str| page.text_of(id).unwrap_or_else(|| panic!("no {id}: {}", page.answer));
    let (id, secret) = (shown("client-id"), shown("client-secret"));
    secrets::register(&secret);
    let client = Client { id, secret, auth_method: "client_secret_basic".into(), signer: None };
    server.knows(&client).await;
    client
}

async fn edit(browser: &mut Browser, id: &str, fields: &[(&str, &str)]) -> Page {
    let page = browser.open(&format!("/clients/{id}")).await;
    browser.submit(&page, "edit-client-form", "edit-client-submit", fields).await
}

async fn shown(server: &Server, id: &str) -> Value {
    server.site().run_json(&["client", "show", id]).await
}

/// Whether the token endpoint takes this client's secret.
async fn authenticates(server: &Server, client: &Client) -> bool {
    let form = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    server.token_as(client, &form).await.expect_client_error().json()["error"] != "invalid_client"
}

async fn users_make_no_clients_unless_it_is_said(store: Store) {
    let server = Server::start(store, &[]).await;
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    assert!(!browser.open("/").await.answer.text().contains("/create_client"));
    let page = browser.open("/create_client").await;
    assert_eq!(page.answer.status, 403, "{}", page.answer);
    assert!(page.answer.text().contains("grantlog client create"), "{}", page.answer);
    // Nor with a form that somebody kept.
    let csrf = browser.open("/account").await.form("password-form").expect("a form").fields;
    let csrf = csrf.into_iter().find(|(name, _)| name == "csrf").expect("a token").1;
    let fields = [&filled_in(&[])[..], &[("csrf", csrf.as_str())]].concat();
    let request = server.post("/create_client").form(&fields).header("origin", server.base());
    browser.send(request).await.expect(403);
    assert_eq!(server.site().run_json(&["client", "list"]).await, json!([]));
}

async fn a_users_client_has_no_powers(server: Server) {
    // A scope would be no boundary if whoever signs in could give it to themselves.
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let custom = [("kind", "custom"), ("token_endpoint_auth_method", "client_secret_basic")];
    let powers: [&[(&str, &str)]; 5] = [
        &[("other_scope", "admin payments:write")],
        &[("kind", "machine"), ("other_scope", "admin"), ("access_token_format", "jwt")],
        &[custom[0], custom[1], ("grant_type_client_credentials", "client_credentials")],
        &[custom[0], custom[1], ("grant_type_password", "password")],
        &[("access_token_format", "jwt")],
    ];
    for more in powers {
        let page = create(&mut browser, more).await;
        assert_eq!(page.answer.status, 422, "{more:?}: {}", page.answer);
        assert!(page.text_of("client-secret").is_none(), "{}", page.answer);
    }
    let client = own_client(&server, &mut browser).await;
    let changes: [&[(&str, &str)]; 4] = [
        &[("other_scope", "admin")],
        &[("grant_type_client_credentials", "client_credentials")],
        &[("grant_type_password", "password")],
        &[("access_token_format", "jwt")],
    ];
    for fields in changes {
        let page = edit(&mut browser, &client.id, fields).await;
        assert_eq!(page.answer.status, 422, "{fields:?}: {}", page.answer);
    }
    let kept = shown(&server, &client.id).await;
    assert_eq!((&kept["author"], &kept["vouched"]), (&json!("user"), &json!(false)));
    assert_eq!(kept["scope"], "openid profile");
    assert_eq!(kept["grant_types"], json!(["authorization_code", "refresh_token"]));
    server.token_as(&client, &[("grant_type", "client_credentials")]).await.expect_error(400, "unauthorized_client");
    // What an operator gave stays, whatever else the owner changes.
    server.site().run_well(&["client", "update", &client.id, "--scope", "openid profile admin"]).await;
    poll::until("the page has heard of it", async || {
        let page = browser.open(&format!("/clients/{}", client.id)).await;
        page.answer.text().contains("value=\"admin\"").then_some(())
    })
    .await;
    let page = edit(&mut browser, &client.id, &[("client_name", "Renamed")]).await;
    assert!(page.text_of("saved").is_some(), "{}", page.answer);
    assert_eq!(shown(&server, &client.id).await["scope"], "admin openid profile");
}

async fn a_user_makes_so_many_clients(store: Store) {
    let server = Server::start(store, &[("CLIENTS_MADE_BY", "users"), ("CLIENTS_PER_USER", "2")]).await;
    let (one, other) = (server.user().await, server.user().await);
    let mut browser = Browser::signed_in(&server, &one).await;
    let first = own_client(&server, &mut browser).await;
    own_client(&server, &mut browser).await;
    let refused = create(&mut browser, &[]).await;
    assert_eq!(refused.answer.status, 403, "{}", refused.answer);
    assert!(refused.answer.text().contains("You have 2 clients"), "{}", refused.answer);
    own_client(&server, &mut Browser::signed_in(&server, &other).await).await;
    let page = browser.open(&format!("/clients/{}", first.id)).await;
    browser.press(&page, "delete-client").await;
    own_client(&server, &mut browser).await;
}

async fn a_user_changes_clients_so_often(store: Store) {
    // RFC 6585 4.
    let server = Server::start(store, &[("CLIENTS_MADE_BY", "users"), ("CLIENTS_PER_USER_HOUR", "2")]).await;
    let (one, other) = (server.user().await, server.user().await);
    let mut browser = Browser::signed_in(&server, &one).await;
    let client = own_client(&server, &mut browser).await;
    let page = edit(&mut browser, &client.id, &[("client_name", "Once")]).await;
    assert!(page.text_of("saved").is_some(), "{}", page.answer);
    let refused = edit(&mut browser, &client.id, &[("client_name", "Twice")]).await;
    assert_eq!(refused.answer.status, 429, "{}", refused.answer);
    let seconds = refused.answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=3600).contains(&seconds)), "{}", refused.answer);
    assert_eq!(create(&mut browser, &[]).await.answer.status, 429);
    own_client(&server, &mut Browser::signed_in(&server, &other).await).await;
    // What only takes away is always possible.
    let page = browser.open(&format!("/clients/{}", client.id)).await;
    browser.press(&page, "disable-client").await;
    assert!(!authenticates(&server, &client).await);
}

async fn so_many_clients_register_themselves(store: Store) {
    // Each of them is kept in memory.
    let settings = [("REGISTRATION_MODE", "open"), ("REGISTRATION_CLIENTS_MAX", "2")];
    let server = Server::start(store, &settings).await;
    server.web_client().await;
    let first = registered(&server, &with(json!({}))).await;
    registered(&server, &with(json!({}))).await;
    let ask = || server.post("/oauth/register").body("application/json", with(json!({})).to_string());
    ask().send().await.expect_error(503, "temporarily_unavailable");
    let text = |name: &str| first[name].as_str().unwrap_or_else(|| panic!("no {name}"));
    let delete = server.request("DELETE", text("registration_client_uri"));
    delete.bearer(text("registration_access_token")).send().await.expect(204);
    ask().send().await.expect(201);
    ask().send().await.expect(503);
}

async fn an_owner_does_not_undo_what_an_operator_narrowed(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let client = own_client(&server, &mut browser).await;
    let one_grant = ["--grant-type", "authorization_code", "--scope", "openid", "--require-pkce"];
    server.site().run_well(&[&["client", "update", &client.id][..], &one_grant].concat()).await;
    poll::until("the page has heard of it", async || {
        let page = browser.open(&format!("/clients/{}", client.id)).await;
        let form = page.form("edit-client-form").expect("a form");
        form.fields.iter().all(|(name, _)| name != "scope_profile").then_some(())
    })
    .await;
    for wider in [("scope_profile", "profile"), ("grant_type_refresh_token", "refresh_token")] {
        let page = edit(&mut browser, &client.id, &[wider]).await;
        assert_eq!(page.answer.status, 422, "{wider:?}: {}", page.answer);
        assert!(page.answer.text().contains("operator"), "{wider:?}: {}", page.answer);
    }
    // A form from before, with the box not ticked.
    let page = browser.open(&format!("/clients/{}", client.id)).await;
    let mut form = page.form("edit-client-form").expect("a form");
    form.fields.retain(|(name, _)| name != "require_pkce");
    browser.submit_form(&page, &form, "edit-client-submit", &[]).await.expect(422);
    let page = edit(&mut browser, &client.id, &[("client_name", "Renamed")]).await;
    assert!(page.text_of("saved").is_some(), "{}", page.answer);
    let kept = shown(&server, &client.id).await;
    assert_eq!((&kept["scope"], &kept["client_name"]), (&json!("openid"), &json!("Renamed")));
    assert_eq!((&kept["grant_types"], &kept["require_pkce"]), (&json!(["authorization_code"]), &json!(true)));
}

async fn an_owner_does_not_enable_what_an_operator_disabled(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let client = own_client(&server, &mut browser).await;
    let page = browser.open(&format!("/clients/{}", client.id)).await;
    let disabled = browser.press(&page, "disable-client").await;
    // Also when the owner had disabled it before, with the button that was shown then.
    server.site().run_well(&["client", "disable", &client.id]).await;
    let answer = browser.submit_form(&disabled, &disabled.form_of("enable-client"), "enable-client", &[]).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert!(answer.text().contains("operator"), "{answer}");
    poll::until("the page says why", async || {
        let page = browser.open(&format!("/clients/{}", client.id)).await;
        page.text_of("disabled-by-operator")
    })
    .await;
    assert!(!authenticates(&server, &client).await);
    server.site().run_well(&["client", "enable", &client.id]).await;
    server.knows(&client).await;
}

/// `PUT` at the client configuration endpoint (RFC 7592 2.2), as that client.
async fn put(server: &Server, answer: &Value, more: Value) -> Answer {
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name}"));
    let mut metadata = with(json!({ "client_id": answer["client_id"] }));
    metadata.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let request = server.request("PUT", text("registration_client_uri")).bearer(text("registration_access_token"));
    request.body("application/json", metadata.to_string()).send().await
}

async fn a_client_does_not_undo_what_an_operator_narrowed(server: Server) {
    let grants = json!(["authorization_code", "refresh_token"]);
    let answer = registered(&server, &with(json!({ "scope": "openid email", "grant_types": grants }))).await;
    let id = answer["client_id"].as_str().expect("an id");
    let narrow = ["--scope", "openid", "--grant-type", "authorization_code"];
    server.site().run_well(&[&["client", "update", id][..], &narrow].concat()).await;
    for wider in [json!({ "scope": "openid email" }), json!({ "scope": "openid", "grant_types": grants })] {
        let refused = put(&server, &answer, wider).await.expect_error(400, "invalid_client_metadata");
        assert!(refused.text().contains("operator") || refused.text().contains("scope"), "{refused}");
    }
    // What is not said is no more than what an operator left.
    let kept = put(&server, &answer, json!({ "client_name": "Renamed" })).await.expect(200).json();
    assert_eq!((&kept["scope"], &kept["client_name"]), (&json!("openid"), &json!("Renamed")));
}

async fn a_disabled_users_clients_stop(server: Server) {
    let (owner, other, service) = (server.user().await, server.user().await, server.service_client().await);
    let mut browser = Browser::signed_in(&server, &owner).await;
    let client = own_client(&server, &mut browser).await;
    let request = |scope: &'static str| {
        let id = client.id.clone();
        server.authorize_url(&[
            ("response_type", "code"),
            ("client_id", &id),
            ("redirect_uri", CALLBACK),
            ("scope", scope),
        ])
    };
    let callback = Browser::new(&server).authorize(&request("openid"), &other).await.callback();
    let code = query_of(&callback).remove("code").expect("a code");
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    let tokens = server.token_as(&client, &form).await.expect(200).json();
    let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    server.get("/oauth/userinfo").bearer(&access).send().await.expect(200);
    server.site().run_well(&["user", "disable", &owner.username]).await;
    poll::until("the client is refused", async || (!authenticates(&server, &client).await).then_some(())).await;
    server.refresh(&client, &refresh).await.expect_invalid_client();
    Browser::new(&server).open(&request("openid")).await.expect_error_page("invalid_client");
    assert!(!server.is_active(&service, &access).await);
    server.get("/oauth/userinfo").bearer(&access).send().await.expect(401);
    // And all of it goes on when the owner may sign in again.
    server.site().run_well(&["user", "enable", &owner.username]).await;
    server.knows(&client).await;
    server.get("/oauth/userinfo").bearer(&access).send().await.expect(200);
    server.refresh(&client, &refresh).await.expect(200);
}

async fn an_operator_deletes_a_client(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let deleted = server.site().run_json(&["client", "delete", &client.id]).await;
    assert_eq!(deleted, json!({ "client_id": client.id, "deleted": true }));
    poll::until("the client is refused", async || (!authenticates(&server, &client).await).then_some(())).await;
    server.get("/oauth/userinfo").bearer(&tokens.access).send().await.expect(401);
    poll::until("its grants end", async || {
        let grants = server.site().run_json(&["grant", "list", "--client", &client.id]).await;
        grants.as_array().expect("a list").is_empty().then_some(())
    })
    .await;
    for change in ["enable", "disable", "show", "delete", "rotate-secret"] {
        let output = server.site().run(&["client", change, &client.id]).await;
        assert!(!output.status.success(), "{change}");
    }
}

async fn an_owner_deletes_a_client(server: Server) {
    let (owner, other) = (server.user().await, server.user().await);
    let (mut browser, mut others) =
        (Browser::signed_in(&server, &owner).await, Browser::signed_in(&server, &other).await);
    let (client, theirs) = (own_client(&server, &mut browser).await, own_client(&server, &mut others).await);
    // Not another's, with a button of one's own.
    let page = others.open(&format!("/clients/{}", theirs.id)).await;
    let mut form = page.form_of("delete-client");
    form.action = form.action.replace(&theirs.id, &client.id);
    others.submit_form(&page, &form, "delete-client", &[]).await.expect(404);
    assert!(authenticates(&server, &client).await);
    let page = browser.open(&format!("/clients/{}", client.id)).await;
    let home = browser.press(&page, "delete-client").await;
    assert!(!home.answer.text().contains(&client.id), "{}", home.answer);
    assert_eq!(browser.open(&format!("/clients/{}", client.id)).await.answer.status, 404);
    assert!(!authenticates(&server, &client).await);
}

async fn people_are_warned_of_clients_that_users_made(server: Server) {
    // RFC 7591 5, for whom no operator answers.
    let (owner, other) = (server.user().await, server.user().await);
    let client = own_client(&server, &mut Browser::signed_in(&server, &owner).await).await;
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK)];
    let url = server.authorize_url(&request);
    let mut browser = Browser::signed_in(&server, &other).await;
    let warning = browser.open(&url).await.text_of("client-not-vouched");
    assert!(warning.is_some_and(|words| words.contains("A user of this server made")));
    server.site().run_well(&["client", "update", &client.id, "--vouch"]).await;
    assert_eq!(browser.open(&url).await.text_of("client-not-vouched"), None);
    assert_eq!(shown(&server, &client.id).await["vouched"], true);
    // What somebody else makes of it, nobody has answered for.
    let mut owner = Browser::signed_in(&server, &owner).await;
    poll::until("the change is saved", async || {
        edit(&mut owner, &client.id, &[("client_name", "Your Bank")]).await.text_of("saved")
    })
    .await;
    assert!(browser.open(&url).await.text_of("client-not-vouched").is_some());
}
