//! What operators do with many users and clients: search and page through lists, rename and erase users.

use serde_json::Value;

use crate::harness::{
    Browser, Server, Site, Store, User,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    a_renamed_user_signs_in_under_the_new_name_only,
    an_erased_user_leaves_no_name_and_no_token,
    users_and_clients_are_searched_and_paged,
    grants_and_sessions_are_paged_and_show_names,
]];

async fn signs_in(server: &Server, username: &str, password: &str) -> bool {
    let user = User { username: username.to_owned(), password: password.to_owned() };
    let mut browser = Browser::new(server);
    let page = browser.open("/login").await;
    browser.fill_in_login(&page, &user).await.is_signed_in()
}

async fn a_renamed_user_signs_in_under_the_new_name_only(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    let (user, other, client) = (server.user().await, server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let taken = site.run(&["user", "rename", &user.username, &other.username.to_uppercase()]).await;
    assert!(!taken.status.success() && String::from_utf8_lossy(&taken.stderr).contains("taken"), "{taken:?}");
    let shown = site.run_json(&["user", "rename", &user.username, "Another Name"]).await;
    assert_eq!(shown["username"], "Another Name");
    assert!(signs_in(&server, "another name", &user.password).await, "the new name");
    assert!(!signs_in(&server, &user.username, &user.password).await, "the old name");
    // In another spelling it is still one's own.
    site.run_well(&["user", "rename", "another name", "ANOTHER name"]).await;
    site.run_well(&["user", "create", "--username", &user.username]).await;
    let told = server.post_as(&client, "/oauth/introspect", &[("token", &tokens.access)]).send().await.expect(200);
    assert_eq!(told.json()["active"], true, "what was allowed stays");
    let missing = site.run(&["user", "rename", "nobody", "somebody"]).await;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no user nobody"), "{missing:?}");
}

async fn an_erased_user_leaves_no_name_and_no_token(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let erased = site.run_json(&["user", "erase", &user.username]).await;
    assert_eq!((&erased["status"], &erased["username"]), (&Value::from("erased"), &Value::Null));
    crate::harness::poll::until("the server has heard of it", async || {
        let told = server.post_as(&client, "/oauth/introspect", &[("token", &tokens.access)]).send().await.expect(200);
        (told.json()["active"] == false).then_some(())
    })
    .await;
    assert_eq!(server.refresh(&client, &tokens.refresh).await.status, 400);
    assert!(!signs_in(&server, &user.username, &user.password).await);
    assert_eq!(site.run_json(&["grant", "list", "--client", &client.id]).await, serde_json::json!([]));
    // What was cut off in the middle can be given again, by the id.
    let id = erased["user_id"].as_str().expect("an id");
    site.run_well(&["user", "erase", id]).await;
    site.run_well(&["user", "create", "--username", &user.username]).await;
    assert_eq!(ids(&site.run_json(&["user", "list", "--status", "erased"]).await, "user_id"), [id]);
}

fn ids(list: &Value, name: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[name].as_str().expect("an id").to_owned()).collect()
}

/// All of a list, two at a time.
async fn paged(site: &Site, command: &[&str], name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let last = found.last().cloned();
        let after = last.iter().flat_map(|last| ["--after", last.as_str()]);
        let arguments: Vec<&str> = command.iter().copied().chain(["--limit", "2"]).chain(after).collect();
        let page = ids(&site.run_json(&arguments).await, name);
        if page.is_empty() {
            return found;
        }
        assert!(page.len() <= 2 && page.iter().all(|id| !found.contains(id)), "{page:?} behind {found:?}");
        found.extend(page);
    }
}

async fn users_and_clients_are_searched_and_paged(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    for name in ["Ann", "Ben", "Anna", "Zoe", "Joanne"] {
        site.run_well(&["user", "create", "--username", name]).await;
        site.run_well(&["client", "create", "--name", &format!("{name}'s app"), "--kind", "machine"]).await;
    }
    let all = ids(&site.run_json(&["user", "list"]).await, "user_id");
    assert_eq!(all.len(), 5);
    assert_eq!(paged(site, &["user", "list"], "user_id").await, all);
    assert_eq!(
        paged(site, &["user", "list", "--name", "ANN"], "user_id").await,
        [&all[0], &all[2], &all[4]].map(Clone::clone)
    );
    site.run_well(&["user", "disable", "Anna"]).await;
    assert_eq!(ids(&site.run_json(&["user", "list", "--status", "disabled"]).await, "user_id"), [all[2].clone()]);
    assert_eq!(paged(site, &["user", "list", "--status", "enabled"], "user_id").await.len(), 4);

    let clients = ids(&site.run_json(&["client", "list"]).await, "client_id");
    assert_eq!(paged(site, &["client", "list"], "client_id").await, clients);
    assert_eq!(paged(site, &["client", "list", "--name", "ann"], "client_id").await.len(), 3);
    site.run_well(&["client", "disable", &clients[1]]).await;
    assert_eq!(
        ids(&site.run_json(&["client", "list", "--status", "disabled"]).await, "client_id"),
        [clients[1].clone()]
    );
    assert_eq!(site.run_json(&["client", "list", "--user", "Ben"]).await, serde_json::json!([]));
}

async fn grants_and_sessions_are_paged_and_show_names(store: Store) {
    let server = Server::start(store, &[]).await;
    let site = server.site();
    let (one, two, client) = (server.user().await, server.user().await, server.web_client().await);
    for user in [&one, &two, &one] {
        server.tokens(&client, user).await;
    }
    let grants = site.run_json(&["grant", "list"]).await;
    assert_eq!(paged(site, &["grant", "list"], "grant_id").await, ids(&grants, "grant_id"));
    for grant in grants.as_array().expect("a list") {
        assert!(grant["client_name"].is_string() && grant["username"].is_string(), "{grant}");
    }
    assert_eq!(site.run_json(&["grant", "list", "--user", &one.username]).await.as_array().map(Vec::len), Some(2));
    site.run_well(&["grant", "revoke", grants[0]["grant_id"].as_str().expect("an id")]).await;
    assert_eq!(ids(&site.run_json(&["grant", "list", "--status", "revoked"]).await, "grant_id").len(), 1);

    let sessions = site.run_json(&["session", "list"]).await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(3));
    assert_eq!(paged(site, &["session", "list"], "session_id").await, ids(&sessions, "session_id"));
    let of_two = site.run_json(&["session", "list", "--user", &two.username]).await;
    assert_eq!(
        (of_two.as_array().map(Vec::len), &of_two[0]["username"]),
        (Some(1), &Value::from(two.username.clone()))
    );
}
