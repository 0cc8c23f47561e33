//! The flows as Python's Authlib drives them: `tests/authlib/flows.py`, with the user's browser played from here.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::harness::{
    Browser, CALLBACK, Client, Server,
    http::encode,
    secrets,
    suite::{Case, shared},
};

/// Where the OpenID Connect client sends people who signed out.
const SIGNED_OUT: &str = "https://client.example/signed_out";

pub const CASES: &[&[Case]] = &[shared![authlib_drives_every_flow]];

async fn setup(server: &Server, username: &str, password: &str) -> Value {
    let redirect = ["--redirect-uri", CALLBACK, "--scope", "profile read"];
    let code = ["--grant-type", "authorization_code", "--grant-type", "refresh_token", "--response-type", "code"];
    let implicit = ["--grant-type", "implicit", "--response-type", "token", "--auth-method", "none"];
    let post = server.client(&[&redirect[..], &code, &["--auth-method", "client_secret_post"]].concat()).await;
    let implicit = server.client(&[&redirect[..], &implicit].concat()).await;
    let types = ["code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"]
        .map(|name| ["--response-type", name]);
    let openid = ["--redirect-uri", CALLBACK, "--scope", "openid profile", "--post-logout-redirect-uri", SIGNED_OUT];
    let grants = ["--grant-type", "authorization_code", "--grant-type", "implicit", "--grant-type", "refresh_token"];
    let openid = server.client(&[&openid[..], &grants, types.as_flattened()].concat()).await;
    let jwt =
        ["--redirect-uri", CALLBACK, "--scope", "openid", "--access-token-format", "jwt", "--userinfo-alg", "RS256"];
    let jwt = server.client(&[&jwt[..], &code].concat()).await;
    let client = |client: Client| json!({ "id": client.id, "secret": client.secret });
    json!({
        "base": server.base(),
        "redirect_uri": CALLBACK,
        "username": username,
        "password": password,
        "web": client(server.web_client().await),
        "post": client(post),
        "public": client(server.public_client().await),
        "service": client(server.service_client().await),
        "password_client": client(server.password_client().await),
        "implicit": client(implicit),
        "openid": client(openid),
        "jwt": client(jwt),
        "signed_out": SIGNED_OUT,
    })
}

async fn authlib_drives_every_flow(server: Server) {
    // RFC 6749 4.1 to 4.4 and 6, RFC 7636, RFC 7009, RFC 7662, RFC 8414.
    let python =
        std::env::var("GRANTLOG_TEST_PYTHON").expect("Authlib's environment is missing: run tests/run authlib");
    let user = server.user().await;
    let setup = setup(&server, &user.username, &user.password).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/authlib/flows.py");
    let mut child = Command::new(python)
        .arg(script)
        .arg(setup.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("Python runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut done = false;
    let mut browser = Browser::new(&server);
    while let Some(line) = lines.next_line().await.expect("its output") {
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Some(secret) = said["secret"].as_str() {
            secrets::register(secret);
        }
        if let Some(url) = said["authorize"].as_str() {
            browser = Browser::new(&server);
            let page = browser.authorize(url, &user).await;
            // OAuth 2.0 Form Post Response Mode: what the client would read from the body.
            let callback = match page.form("form-post") {
                Some(form) => {
                    let fields = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                    format!("{}?{}", form.action, encode(&fields.collect::<Vec<_>>()))
                }
                None => page.callback().to_string(),
            };
            input.write_all(format!("{callback}\n").as_bytes()).await.expect("it listens");
        }
        if let Some(url) = said["logout"].as_str() {
            let callback = browser.open(url).await.callback();
            input.write_all(format!("{callback}\n").as_bytes()).await.expect("it listens");
        }
        done |= said["done"] == json!(true);
    }
    let status = child.wait().await.expect("a child");
    assert!(status.success() && done, "Authlib's flows ended with {status}");
}
