//! The demonstration: `grantlog serve --demo` with nothing configured.

use std::process::Command;

use crate::conformance::dynamic::{registered, with};
use crate::harness::{
    Browser, Server, Site, Store, User, poll, secrets,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    the_curl_line_on_the_terminal_works_as_it_stands,
    any_name_signs_in_and_every_page_says_that_it_is_a_demonstration,
    the_documented_curl_line_works_with_the_printed_client,
    without_the_demo_its_client_is_disabled,
    a_test_suite_registers_its_clients_with_the_demo,
]];

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
}

async fn any_name_signs_in_and_every_page_says_that_it_is_a_demonstration(store: Store) {
    let server = start(store).await;
    credentials(&curl_line(&server).await);
    let mut browser = Browser::new(&server);
    let page = browser.open("/login").await;
    assert!(page.text_of("demo-banner").is_some(), "{}", page.answer);
    let anyone = User { username: "anyone".into(), password: String::new() };
    let page = browser.fill_in_login(&page, &anyone).await;
    assert!(page.form("login-form").is_none(), "{}", page.answer);
    let home = browser.open("/").await;
    assert!(home.text_of("demo-banner").is_some(), "{}", home.answer);
    assert!(home.answer.text().contains("anyone"), "{}", home.answer);
}

async fn without_the_demo_its_client_is_disabled(store: Store) {
    // Its secret was on a terminal and on a page: nobody may use it on a server that is not a demonstration any more.
    let site = Site::new(store, &[]);
    let demo = Server::on(&site, &["--demo"]).await;
    let credentials = credentials(&curl_line(&demo).await);
    let (id, secret) = credentials.split_once(':').expect("ID:SECRET");
    let form = [("grant_type", "client_credentials")];
    demo.post("/oauth/token").basic(id, secret).form(&form).send().await.expect(200);
    demo.stop();
    let server = Server::on(&site, &[]).await;
    server.post("/oauth/token").basic(id, secret).form(&form).send().await.expect_invalid_client();
}

async fn a_test_suite_registers_its_clients_with_the_demo(store: Store) {
    // RFC 7591 3: the conformance suite registers one or two clients for each of its modules, all from one address.
    let server = start(store).await;
    for _ in 0..60 {
        registered(&server, &with(serde_json::json!({}))).await;
    }
}
