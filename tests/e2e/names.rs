//! Names and passwords that are not what they look like: RFC 8264, RFC 8265, Unicode Technical Standard 39.

use serde_json::json;

use crate::conformance::dynamic::with;
use crate::harness::{
    Browser, CALLBACK, Server, Store, User, random,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_client_has_a_name_that_is_seen,
        names_that_look_the_same_are_one,
        a_password_is_one_however_it_is_typed,
        a_password_that_nobody_can_type_is_refused,
        names_are_kept_apart_from_what_stands_beside_them,
    ],
    own![who_registers_itself_has_a_name_that_is_seen],
];

const HIDING: [&str; 5] =
    ["Your Bank\u{202e}knaB", "Your\u{200b}Bank", "\u{2066}Bank\u{2069}", "Bank\u{feff}", "Bank\u{ad}"];

async fn a_client_has_a_name_that_is_seen(server: Server) {
    let client = server.web_client().await;
    for name in HIDING {
        let made = server.site().run(&["client", "create", "--name", name, "--redirect-uri", CALLBACK]).await;
        assert!(!made.status.success(), "{name:?}");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(said.contains("client_name") && !said.contains(name), "{said}");
        let changed = server.site().run(&["client", "update", &client.id, "--name", name]).await;
        assert!(!changed.status.success(), "{name:?}");
    }
    for name in ["Caf\u{e9} \u{2764}\u{fe0f}", "\u{5e9}\u{5dc}\u{5d5}\u{5dd}", "\u{1f970} Photos"] {
        server.site().run_well(&["client", "update", &client.id, "--name", name]).await;
    }
}

async fn who_registers_itself_has_a_name_that_is_seen(store: Store) {
    // RFC 7591 3.2.2.
    let server = Server::start(store, &[("REGISTRATION_MODE", "open")]).await;
    for name in HIDING {
        let metadata = with(json!({ "client_name": name })).to_string();
        let request = server.post("/oauth/register").body("application/json", metadata);
        let answer = request.send().await.expect(400).json();
        assert_eq!(answer["error"], "invalid_client_metadata", "{name:?}: {answer}");
    }
}

async fn create(server: &Server, username: &str, password: &str) -> bool {
    let arguments = ["user", "create", "--username", username, "--password-stdin"];
    server.site().run_with(&arguments, password).await.status.success()
}

async fn names_that_look_the_same_are_one(server: Server) {
    let (name, password) = (format!("admin{}", random(6).to_lowercase()), random(18));
    assert!(create(&server, &name, &password).await);
    let like = |from: char, to: char| name.replace(from, &to.to_string());
    let wide: String = name.chars().map(|c| if c == 'a' { '\u{ff41}' } else { c }).collect();
    let likes = [like('a', '\u{430}'), like('i', '\u{456}'), like('i', '\u{131}'), wide.clone(), name.to_uppercase()];
    for like in &likes {
        assert!(!create(&server, like, &password).await, "{like:?}");
    }
    for hiding in [format!("{name}\u{200b}"), format!("\u{202e}{name}"), format!("\u{feff}{name}")] {
        assert!(!create(&server, &hiding, &password).await, "{hiding:?}");
    }
    Browser::signed_in(&server, &User { username: wide, password }).await;
}

async fn a_password_is_one_however_it_is_typed(server: Server) {
    let name = format!("zoe-{}", random(8));
    assert!(create(&server, &name, "p\u{e4}sswort f\u{fc}r Zo\u{eb}").await);
    let password = "pa\u{308}sswort fu\u{308}r Zoe\u{308}".to_owned();
    Browser::signed_in(&server, &User { username: name, password }).await;
}

async fn a_password_that_nobody_can_type_is_refused(server: Server) {
    // A byte order mark that an editor wrote, and what follows a NUL.
    for password in ["\u{feff}correct horse", "correct\0horse", "correct\u{200b}horse"] {
        let arguments = ["user", "create", "--username", &random(12), "--password-stdin"];
        let refused = server.site().run_with(&arguments, password).await;
        assert!(!refused.status.success(), "{password:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("byte order mark") && !said.contains("horse"), "{said}");
    }
}

async fn names_are_kept_apart_from_what_stands_beside_them(server: Server) {
    // HTML 4.5.24: a name of the other direction does not move what stands beside it.
    let (user, client) = (server.user().await, server.web_client().await);
    let name = "\u{5e9}\u{5dc}\u{5d5}\u{5dd} 1";
    server.site().run_well(&["client", "update", &client.id, "--name", name]).await;
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK)];
    let mut browser = Browser::new(&server);
    let page = crate::harness::poll::until("the server knows the new name", async || {
        let page = browser.open(&server.authorize_url(&request)).await;
        page.answer.text().contains(name).then_some(page)
    })
    .await;
    assert!(page.answer.text().contains(&format!("<bdi>{name}</bdi>")), "{}", page.answer);
    let page = browser.fill_in_login(&page, &user).await.answer.text();
    for shown in [format!("<bdi>{name}</bdi>"), format!("<bdi>{}</bdi>", user.username)] {
        assert!(page.contains(&shown), "{shown}: {page}");
    }
}
