//! The command line: it works beside a running server, and says clearly what is wrong.

use crate::harness::{
    CALLBACK, Server, Site, Store, poll,
    suite::{Case, on, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_client_is_printed_as_the_rfc_7591_object,
        a_client_list_shows_no_secret,
        a_user_is_listed_without_a_password,
        a_grant_revoked_on_the_command_line_ends_at_the_server,
        a_changed_password_replaces_the_old_one,
        events_are_listed_with_their_names,
        projections_say_how_far_they_are,
        help_is_there_for_every_command,
        a_wrong_argument_is_exit_code_two,
        a_client_that_does_not_exist_is_said_so,
        a_key_can_be_rotated,
        what_was_disabled_and_enabled_again_gets_no_old_token_back,
    ],
    own![a_rebuild_beside_a_running_server_changes_no_answer, the_log_refuses_to_be_changed],
    on![Sqlite: an_unknown_setting_is_an_error_that_names_the_nearest, a_wrong_database_url_is_explained, a_database_that_is_not_there_is_explained, one_process_at_a_time_migrates],
];

async fn one_process_at_a_time_migrates(store: Store) {
    for _ in 0..3 {
        let site = Site::empty(store, &[]);
        let outputs = futures::future::join_all((0..12).map(|_| site.run(&["migrate"]))).await;
        for output in outputs {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        // What makes the file by itself waits its turn as well.
        let site = Site::empty(store, &[]);
        let names: Vec<String> = (0..6).map(|number| format!("user-{number}")).collect();
        let site_of = &site;
        let made = names.iter().map(|name| async move { site_of.run(&["user", "create", "--username", name]).await });
        for output in futures::future::join_all(made).await {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(site.run_json(&["user", "list"]).await.as_array().map(Vec::len), Some(6));
    }
}

async fn a_client_is_printed_as_the_rfc_7591_object(server: Server) {
    // RFC 7591 2 and 3.2.1.
    let arguments = [
        "client",
        "create",
        "--name",
        "Printed",
        "--redirect-uri",
        CALLBACK,
        "--grant-type",
        "authorization_code",
        "--response-type",
        "code",
        "--scope",
        "profile read",
        "--auth-method",
        "client_secret_post",
    ];
    let made = server.site().run_json(&arguments).await;
    crate::harness::secrets::register(made["client_secret"].as_str().expect("a secret"));
    assert_eq!(made["client_name"], "Printed");
    assert_eq!(made["redirect_uris"], serde_json::json!([CALLBACK]));
    assert_eq!(made["grant_types"], serde_json::json!(["authorization_code"]));
    assert_eq!(made["response_types"], serde_json::json!(["code"]));
    assert_eq!(made["token_endpoint_auth_method"], "client_secret_post");
    let scope: std::collections::BTreeSet<_> = made["scope"].as_str().expect("a scope").split(' ').collect();
    assert_eq!(scope, ["profile", "read"].into());
    assert_eq!(made["client_secret_expires_at"], 0);
}

async fn a_client_list_shows_no_secret(server: Server) {
    let client = server.web_client().await;
    for arguments in [&["client", "list"][..], &["client", "show", &client.id]] {
        let (plain, json) =
            (server.site().run_well(arguments).await, server.site().run_json(arguments).await.to_string());
        for text in [plain, json] {
            assert!(text.contains(&client.id), "{text}");
            assert!(!text.contains(&client.secret), "the secret is printed again");
        }
    }
}

async fn a_user_is_listed_without_a_password(server: Server) {
    let user = server.user().await;
    let list = server.site().run_json(&["user", "list"]).await.to_string();
    assert!(list.contains(&user.username), "{list}");
    assert!(!list.contains(&user.password) && !list.contains("argon2"), "more than names in the list");
}

async fn a_grant_revoked_on_the_command_line_ends_at_the_server(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let grants = server.site().run_json(&["grant", "list", "--client", &client.id]).await;
    let grants = grants.as_array().expect("a list").clone();
    assert_eq!(grants.len(), 1, "{grants:?}");
    let id = ["grant_id", "id"].iter().find_map(|name| grants[0][name].as_str()).expect("the grant's id");
    server.site().run_well(&["grant", "revoke", id]).await;
    poll::until("the running server sees the revocation", async || {
        (!server.is_active(&client, &tokens.access).await).then_some(())
    })
    .await;
    server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
}

async fn a_changed_password_replaces_the_old_one(server: Server) {
    let (user, client) = (server.user().await, server.password_client().await);
    let mut browser = crate::harness::Browser::signed_in(&server, &user).await;
    let password = crate::harness::random(18);
    crate::harness::secrets::register(&password);
    let arguments = ["user", "set-password", &user.username, "--password-stdin"];
    let output = server.site().run_with(&arguments, &format!("{password}\n")).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let changed = crate::harness::User { password, ..user.clone() };
    server.password_tokens(&client, &changed).await;
    let form = [("grant_type", "password"), ("username", &*user.username), ("password", &*user.password)];
    server.token_as(&client, &form).await.expect_error(400, "invalid_grant");
    poll::until("who was signed in with the old password is signed out", async || {
        (!browser.open("/").await.is_signed_in()).then_some(())
    })
    .await;
}

async fn events_are_listed_with_their_names(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    server.refresh(&client, &tokens.refresh).await.expect(200);
    let export = server.site().run_well(&["events", "export"]).await;
    for name in ["client.registered", "user.registered", "grant.code_issued", "grant.code_redeemed", "grant.refreshed"]
    {
        assert!(export.contains(name), "{name} is not exported");
    }
}

async fn projections_say_how_far_they_are(server: Server) {
    let status = server.site().run_json(&["projections", "status"]).await.to_string();
    assert!(status.contains("tokens"), "{status}");
}

async fn help_is_there_for_every_command(server: Server) {
    let nouns = ["serve", "migrate", "client", "user", "grant", "key", "events", "projections"];
    let top = server.site().run_well(&["--help"]).await;
    for noun in nouns {
        assert!(top.contains(noun), "{noun} is not in the help");
        server.site().run_well(&[noun, "--help"]).await;
    }
}

async fn a_wrong_argument_is_exit_code_two(server: Server) {
    for arguments in [&["client", "invent"][..], &["serve", "--no-such-flag"], &["client", "create"]] {
        let output = server.site().run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

async fn a_client_that_does_not_exist_is_said_so(server: Server) {
    for id in ["01890a5d-ac96-774b-bcce-b302099a8057", "unknown"] {
        let output = server.site().run(&["client", "show", id]).await;
        assert!(!output.status.success());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(id) && !message.contains("panicked"), "{message}");
    }
}

async fn a_key_can_be_rotated(server: Server) {
    // RFC 7517: the old key stays until it is retired.
    server.site().run_well(&["key", "rotate"]).await;
    let keys = server.site().run_json(&["key", "list"]).await;
    assert!(keys.as_array().is_some_and(|keys| !keys.is_empty()), "{keys}");
    // Before the new ones sign, a second time makes none, and says so.
    let again = server.site().run(&["key", "rotate"]).await;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && said.contains("RS256: no key was made") && said.contains("--now"), "{said}");
    assert_eq!(server.site().run_json(&["key", "list"]).await, keys);
}

async fn a_rebuild_beside_a_running_server_changes_no_answer(store: Store) {
    let server = Server::start(store, &[]).await;
    let (user, client) = (server.user().await, server.web_client().await);
    let (kept, revoked) = (server.tokens(&client, &user).await, server.tokens(&client, &user).await);
    server.revoke_as(&client, &revoked.refresh).await.expect(200);
    for name in ["clients", "users", "grants", "tokens", "sessions", "keys", "activity", "participants"] {
        server.site().run_well(&["projections", "rebuild", name]).await;
        assert!(server.is_active(&client, &kept.access).await, "after the rebuild of {name}");
        assert!(!server.is_active(&client, &revoked.access).await, "after the rebuild of {name}");
    }
    server.site().run_well(&["projections", "check"]).await;
    let next = crate::harness::Tokens::of(server.refresh(&client, &kept.refresh).await);
    server.stop();
    let server = Server::on(server.site(), &[]).await;
    assert!(server.is_active(&client, &next.access).await, "after a restart on the rebuilt tables");
    assert!(!server.is_active(&client, &revoked.access).await, "after a restart on the rebuilt tables");
}

async fn the_log_refuses_to_be_changed(store: Store) {
    let server = Server::start(store, &[]).await;
    let client = server.service_client().await;
    server.service_token(&client).await;
    server.stop();
    for statement in ["DELETE FROM events", "UPDATE events SET payload = '{}'"] {
        let refused = match store {
            Store::Postgres => crate::harness::site::try_query(server.site().database(), statement).is_err(),
            Store::Sqlite => {
                let file = server.site().directory().join("grantlog.db");
                let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.expect("the file");
                sqlx::query(statement).execute(&pool).await.is_err()
            }
        };
        assert!(refused, "{statement} was done");
    }
}

async fn an_unknown_setting_is_an_error_that_names_the_nearest(store: Store) {
    let site = Site::new(store, &[("OAUTH_CODE_LIFETIME_SECOND", "60")]);
    let output = site.run(&["migrate"]).await;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("GRANTLOG_OAUTH_CODE_LIFETIME_SECONDS"), "{message}");

    let site = Site::new(store, &[]);
    let file = site.directory().join("wrong.toml");
    std::fs::write(&file, "[oauth]\nrequire_pcke = \"all\"\n").expect("a file");
    let output = site.run(&["--config", &file.display().to_string(), "migrate"]).await;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("require_pkce"), "{message}");
}

async fn a_wrong_database_url_is_explained(store: Store) {
    let site = Site::new(store, &[]);
    for url in ["mysql://localhost/x", "postgres:", "nonsense", "sqlite:/no/such/directory/x.db"] {
        let output = site.run(&["--database", url, "client", "list"]).await;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1..=99)), "{url}: {message}");
        assert!(!message.is_empty() && !message.contains("panicked"), "{url}: {message}");
    }
}

async fn a_database_that_is_not_there_is_explained(store: Store) {
    let site = Site::new(store, &[("STORE_CONNECT_TIMEOUT_SECONDS", "1")]);
    let port = crate::harness::server::free_port();
    let url = format!("postgres://grantlog:hush-hush-password@127.0.0.1:{port}/grantlog");
    let output = site.run(&["--database", &url, "client", "list"]).await;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1..=99)), "{message}");
    assert!(message.contains("127.0.0.1"), "it does not say where it looked: {message}");
    assert!(!message.contains("hush-hush"), "the password is printed");
}

async fn what_was_disabled_and_enabled_again_gets_no_old_token_back(server: Server) {
    for noun in ["user", "client"] {
        let (client, user) = (server.password_client().await, server.user().await);
        let name = if noun == "user" { &user.username } else { &client.id };
        let tokens = server.password_tokens(&client, &user).await;
        server.site().run_well(&[noun, "disable", name]).await;
        poll::until("the grant is revoked in the log", async || {
            let list = server.site().run_json(&["grant", "list", "--all", "--client", &client.id]).await;
            list.to_string().contains(&format!("\"{noun}_disabled\"")).then_some(())
        })
        .await;
        server.site().run_well(&[noun, "enable", name]).await;
        poll::until("the server knows that it is enabled again", async || {
            let form = [
                ("grant_type", "password"),
                ("username", user.username.as_str()),
                ("password", user.password.as_str()),
            ];
            (server.token_as(&client, &form).await.status == 200).then_some(())
        })
        .await;
        assert!(!server.is_active(&client, &tokens.access).await, "{noun}");
        server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
    }
}
