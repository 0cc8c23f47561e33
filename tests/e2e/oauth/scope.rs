//! Which scopes exist, and who may have one: RFC 6749 3.3.

use serde_json::json;

use crate::harness::{
    Answer, Browser, CALLBACK, Client, Server, Site, Store, User,
    browser::query_of,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![only_scopes_that_exist_are_registered, a_scope_is_given_to_those_who_may_have_it]];

async fn only_scopes_that_exist_are_registered(store: Store) {
    let settings = [("OAUTH_SCOPES", "read,write"), ("REGISTRATION_MODE", "open")];
    let server = Server::start(store, &settings).await;
    let configuration = server.get("/.well-known/oauth-authorization-server").send().await.expect(200).json();
    let listed = configuration["scopes_supported"].as_array().expect("a list");
    assert!(["openid", "read", "write"].iter().all(|word| listed.contains(&json!(word))), "{configuration}");
    let create = ["client", "create", "--name", "X", "--redirect-uri", CALLBACK, "--scope"];
    let output = server.site().run(&[&create[..], &["read admin"]].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("scope"), "{said}");
    let made = server.client(&["--redirect-uri", CALLBACK, "--scope", "openid read"]).await;
    let output = server.site().run(&["client", "update", &made.id, "--scope", "openid admin"]).await;
    assert!(!output.status.success());
    let shown = server.site().run_json(&["client", "show", &made.id]).await;
    assert_eq!(shown["scope"], "openid read");
}

/// The scope that the password grant gives.
async fn password(server: &Server, client: &Client, user: &User, scope: &str) -> Answer {
    let (username, password) = (user.username.as_str(), user.password.as_str());
    let form = [("grant_type", "password"), ("username", username), ("password", password), ("scope", scope)];
    server.token_as(client, &form).await
}

/// Says in the settings file who may have which scope.
fn rules(site: &Site, rules: &str) {
    let text = format!("[oauth]\nuser_scopes = [{rules}]\n");
    std::fs::write(site.directory().join("grantlog.toml"), text).expect("a file");
}

async fn a_scope_is_given_to_those_who_may_have_it(store: Store) {
    // RFC 6749 3.3: the server may give less than what was asked for, and then says so.
    let site = Site::new(store, &[]);
    rules(&site, r#""admin: Ann root", "write: nobody""#);
    let server = Server::on(&site, &[]).await;
    let ben = server.user().await;
    let ann = User { username: "ann".into(), password: ben.password.clone() };
    let arguments = ["user", "create", "--username", &ann.username, "--password-stdin"];
    assert!(site.run_with(&arguments, &format!("{}\n", ann.password)).await.status.success());
    let grants = ["password", "authorization_code", "refresh_token"].map(|grant| ["--grant-type", grant]).concat();
    let scope = ["--redirect-uri", CALLBACK, "--scope", "profile admin write"];
    let client = server.client(&[&grants[..], &scope].concat()).await;
    let given = async |user: &User, scope: &str| {
        password(&server, &client, user, scope).await.expect(200).json()["scope"].clone()
    };
    assert_eq!(given(&ann, "profile admin write").await, "admin profile");
    assert_eq!(given(&ben, "profile admin write").await, "profile");
    password(&server, &client, &ben, "admin").await.expect_error(400, "invalid_scope");
    password(&server, &client, &ann, "write").await.expect_error(400, "invalid_scope");
    let url = |scope: &str| {
        let parameters =
            [("response_type", "code"), ("client_id", &client.id), ("redirect_uri", CALLBACK), ("scope", scope)];
        server.authorize_url(&parameters)
    };
    let mut browser = Browser::signed_in(&server, &ben).await;
    // The page asks for no more than what can be given.
    let page = browser.open(&url("profile admin")).await;
    assert!(page.form("consent-form").is_some() && !page.answer.text().contains("“admin”"), "{}", page.answer);
    for (user, asked, got) in [(&ben, "profile admin", "profile"), (&ann, "profile admin", "admin profile")] {
        let callback = Browser::new(&server).authorize(&url(asked), user).await.callback();
        let code = query_of(&callback).remove("code").expect("a code");
        let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
        assert_eq!(server.token_as(&client, &form).await.expect(200).json()["scope"], got);
    }
    let refused = browser.open(&url("admin")).await.callback();
    assert_eq!(query_of(&refused)["error"], "invalid_scope");
    // What somebody may not have any more is in no token that is out, and does not come back by a code or a refresh.
    let tokens = password(&server, &client, &ann, "profile admin").await.expect(200).json();
    let [access, refresh] =
        ["access_token", "refresh_token"].map(|name| tokens[name].as_str().expect("a token").to_owned());
    let only = password(&server, &client, &ann, "admin").await.expect(200).json();
    let callback = Browser::new(&server).authorize(&url("profile admin"), &ann).await.callback();
    let code = query_of(&callback).remove("code").expect("a code");
    server.stop();
    rules(&site, r#""admin: root""#);
    let server = Server::on(&site, &[]).await;
    for token in [&access, &refresh] {
        assert_eq!(server.introspect_as(&client, token).await["scope"], "profile");
    }
    let only = only["access_token"].as_str().expect("a token");
    assert_eq!(server.introspect_as(&client, only).await["active"], false);
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    assert_eq!(server.token_as(&client, &form).await.expect(200).json()["scope"], "profile");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    assert_eq!(server.token_as(&client, &form).await.expect(200).json()["scope"], "profile");
}
