//! The demonstration: `grantlog serve --demo` with nothing configured.

use std::process::Command;

use crate::conformance::dynamic::{registered, with};
use crate::conformance::rp::Rp;
use crate::harness::{
    Browser, Server, Site, Store, User, poll, secrets,
    site::query,
    suite::{Case, on, own},
};

pub const CASES: &[&[Case]] = &[
    own![
        the_curl_line_on_the_terminal_works_as_it_stands,
        any_name_signs_in_and_every_page_says_that_it_is_a_demonstration,
        the_documented_curl_line_works_with_the_printed_client,
        a_demo_is_never_served_for_real,
        a_real_database_is_never_served_as_a_demo,
        a_demo_of_an_earlier_release_becomes_real_only_when_its_operator_says_so,
        nobody_reaches_it_under_a_name_of_their_own,
        a_test_suite_registers_its_clients_with_the_demo,
    ],
    on![Sqlite: a_demo_has_a_file_and_a_pepper_of_its_own],
];

async fn start(store: Store) -> Server {
    Server::on(&Site::new(store, &[]), &["--demo"]).await
}

/// The curl line that the terminal shows.
async fn curl_line(server: &Server) -> String {
    poll::until("the terminal shows a curl line", async || {
        let log = server.log();
        log.lines().find_map(|line| line.find("curl -").map(|start| line[start..].trim().to_owned()))
    })
    .await
}

/// `ID:SECRET` as the curl line has it. The terminal shows this one on purpose.
fn credentials(curl_line: &str) -> String {
    let credentials = curl_line.split_whitespace().skip_while(|word| *word != "-u").nth(1).expect("-u ID:SECRET");
    let (_, secret) = credentials.split_once(':').expect("ID:SECRET");
    secrets::register_shown_on_terminal(secret);
    credentials.to_owned()
}

fn run_in_shell(line: String) -> serde_json::Value {
    let output = Command::new("sh").args(["-c", &line]).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"));
    for name in ["access_token", "refresh_token"] {
        secrets::register(json[name].as_str().unwrap_or_default());
    }
    json
}

async fn the_curl_line_on_the_terminal_works_as_it_stands(store: Store) {
    // RFC 6749 4.3 in one line.
    let server = start(store).await;
    let line = curl_line(&server).await;
    credentials(&line);
    let json = run_in_shell(line);
    let token = json["access_token"].as_str().unwrap_or_else(|| panic!("no token: {json}"));
    server.get("/api/me").bearer(token).send().await.expect(200);
}

async fn the_documented_curl_line_works_with_the_printed_client(store: Store) {
    // RFC 6749 4.3, as a multipart form.
    let server = start(store).await;
    let printed = curl_line(&server).await;
    let credentials = credentials(&printed);
    let json = run_in_shell(format!(
        "curl -s -u {credentials} -XPOST {}/oauth/token -F grant_type=password -F username=ann -F password=valid \
         -F scope=profile",
        server.base()
    ));
    let token = json["access_token"].as_str().unwrap_or_else(|| panic!("no token: {json}"));
    let me = server.get("/api/me").bearer(token).send().await.expect(200);
    assert!(me.text().contains("ann"), "{me}");
    // As on the page: any name with any password.
    let (id, secret) = credentials.split_once(':').expect("ID:SECRET");
    let form = [("grant_type", "password"), ("username", "ann"), ("password", "another"), ("scope", "profile")];
    server.post("/oauth/token").basic(id, secret).form(&form).send().await.expect(200);
}

async fn any_name_signs_in_and_every_page_says_that_it_is_a_demonstration(store: Store) {
    let server = start(store).await;
    credentials(&curl_line(&server).await);
    let mut browser = Browser::new(&server);
    let page = browser.open("/login").await;
    assert!(page.text_of("demo-banner").is_some(), "{}", page.answer);
    let anyone = User { username: "anyone".into(), password: "whatever".into() };
    let page = browser.fill_in_login(&page, &anyone).await;
    assert!(page.form("login-form").is_none(), "{}", page.answer);
    let home = browser.open("/").await;
    assert!(home.text_of("demo-banner").is_some(), "{}", home.answer);
    assert!(home.answer.text().contains("anyone"), "{}", home.answer);
}

/// The words with which a server does not start.
async fn refused(site: &Site, arguments: &[&str]) -> String {
    let output = site.run(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()).await;
    assert_eq!(output.status.code(), Some(4), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn a_demo_is_never_served_for_real(store: Store) {
    // Whoever was let in as anybody would keep the session, the tokens and the clients.
    let site = Site::new(store, &[]);
    let demo = Server::on(&site, &["--demo"]).await;
    credentials(&curl_line(&demo).await);
    demo.stop();
    assert!(refused(&site, &[]).await.contains("this is a demo's database"));
    let marked = site.run(&["migrate", "--mark", "real"]).await;
    assert_eq!(marked.status.code(), Some(4), "{marked:?}");
    // Commands work on it as on any other, and so does the demo.
    site.run_well(&["client", "list"]).await;
    Server::on(&site, &["--demo"]).await;
}

async fn a_real_database_is_never_served_as_a_demo(store: Store) {
    let site = Site::new(store, &[]);
    let server = Server::on(&site, &[]).await;
    let user = server.user().await;
    server.stop();
    assert!(refused(&site, &["--demo"]).await.contains("this is a real database"));
    let marked = site.run(&["migrate", "--mark", "demo"]).await;
    assert_eq!(marked.status.code(), Some(4), "{marked:?}");
    let server = Server::on(&site, &[]).await;
    Browser::signed_in(&server, &user).await;
    // Nor is one that was only filled by commands.
    let site = Site::new(store, &[]);
    site.run_well(&["migrate"]).await;
    site.run_well(&["client", "create", "--name", "Service", "--grant-type", "client_credentials"]).await;
    assert!(refused(&site, &["--demo"]).await.contains("this is a real database"));
}

/// As releases left it that marked nothing.
async fn unmark(site: &Site) {
    let statement = "DELETE FROM database_purpose";
    match site.store() {
        Store::Postgres => drop(query(site.owner(), statement)),
        Store::Sqlite => {
            let file = site.directory().join("grantlog.db");
            let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.expect("the file");
            sqlx::query(statement).execute(&pool).await.expect("deleted");
            pool.close().await;
        }
    }
}

async fn a_demo_of_an_earlier_release_becomes_real_only_when_its_operator_says_so(store: Store) {
    let site = Site::new(store, &[]);
    let demo = Server::on(&site, &["--demo"]).await;
    let credentials = credentials(&curl_line(&demo).await);
    let (id, secret) = credentials.split_once(':').expect("ID:SECRET");
    let form = [("grant_type", "password"), ("username", "ann"), ("password", "valid")];
    let refresh = demo.post("/oauth/token").basic(id, secret).form(&form).send().await.expect(200).json();
    let refresh = refresh["refresh_token"].as_str().expect("a refresh token").to_owned();
    secrets::register(&refresh);
    let browser = Browser::signed_in(&demo, &User { username: "ann".into(), password: String::new() }).await;
    demo.stop();
    unmark(&site).await;
    assert!(refused(&site, &[]).await.contains("grantlog migrate --mark real"));
    // Nobody has a password: it goes on as the demo that it is.
    Server::on(&site, &["--demo"]).await.stop();
    assert!(refused(&site, &[]).await.contains("this is a demo's database"));
    unmark(&site).await;
    let create = ["user", "create", "--username", "ben", "--password-stdin"];
    assert!(site.run_with(&create, "a long password\n").await.status.success());
    for arguments in [&[][..], &["--demo"]] {
        assert!(refused(&site, arguments).await.contains("grantlog migrate --mark real"));
    }
    site.run_well(&["migrate", "--mark", "real"]).await;
    assert!(refused(&site, &["--demo"]).await.contains("this is a real database"));
    // Nothing of what the demo gave to anybody is left.
    let server = Server::on(&site, &[]).await;
    server.post("/oauth/token").basic(id, secret).form(&form).send().await.expect_invalid_client();
    assert!(!browser.at(&server).open("/").await.is_signed_in());
    site.run_well(&["client", "enable", id]).await;
    poll::until("the client is let in again", async || {
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        let answer = server.post("/oauth/token").basic(id, secret).form(&form).send().await;
        (answer.json()["error"] == "invalid_grant").then_some(())
    })
    .await;
}

async fn a_demo_has_a_file_and_a_pepper_of_its_own(_: Store) {
    let site = Site::new(Store::Sqlite, &[]);
    let server = Server::on(&site, &[]).await;
    server.service_client().await;
    let site = site.with_nothing_named();
    let demo = Server::on(&site, &["--demo"]).await;
    credentials(&curl_line(&demo).await);
    let there = |name: &str| site.directory().join(name).exists();
    assert!(there("grantlog-demo.db") && there("grantlog-demo.pepper"));
    let clients = site.run_json(&["client", "list", "--database", "sqlite:grantlog-demo.db"]).await;
    assert_eq!(clients.as_array().map(Vec::len), Some(1), "{clients}");
}

async fn nobody_reaches_it_under_a_name_of_their_own(store: Store) {
    // DNS rebinding: a page at rebound.example, whose name leads to 127.0.0.1 by now.
    let server = start(store).await;
    let real = Server::start(store, &[]).await;
    for server in [&server, &real] {
        for path in ["/", "/login", "/oauth/authorize", "/oauth/token", "/api/me", "/.well-known/openid-configuration"]
        {
            for host in
                ["rebound.example", "rebound.example:5000", "localhost.rebound.example", "127.0.0.1.rebound.example"]
            {
                server.get(path).header("host", host).send().await.expect(421);
            }
        }
        for own in ["localhost", "127.0.0.1:80", "[::1]:5000"] {
            server.get("/login").header("host", own).send().await.expect(200);
        }
    }
    // Whatever a proxy says of the name.
    server
        .get("/login")
        .header("host", "rebound.example")
        .header("x-forwarded-host", "localhost")
        .send()
        .await
        .expect(421);
}

async fn a_test_suite_registers_its_clients_with_the_demo(store: Store) {
    // RFC 7591 3: the conformance suite registers one or two clients for each of its modules, all from one address.
    let server = start(store).await;
    for _ in 0..60 {
        registered(&server, &with(serde_json::json!({}))).await;
    }
    // Its people have something to tell for every claim, and clients that name no scope may ask for all of it.
    let rp = Rp::registered(&server, "code", serde_json::json!({})).await;
    let ann = User { username: "Ann Ä".to_owned(), password: "valid".to_owned() };
    let scope = [("scope", "openid profile email address phone")];
    let login = rp.login(&mut Browser::new(&server), &ann, &scope).await;
    let told = rp.userinfo(login.access_token().expect("an access token")).await;
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    let in_id_tokens = ["iss", "aud", "azp", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid"];
    for claim in configuration["claims_supported"].as_array().expect("a list").iter().filter_map(|name| name.as_str()) {
        assert!(in_id_tokens.contains(&claim) || !told[claim].is_null(), "{claim} is not in {told}");
    }
    assert_eq!((&told["email"], &told["given_name"]), (&"ann@example.com".into(), &"Ann Ä".into()));
}
