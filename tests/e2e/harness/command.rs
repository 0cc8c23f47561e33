//! The command line, as an operator uses it: clients and users are made with it while the server runs.

use std::{
    io::Write,
    process::{Output, Stdio},
    sync::Arc,
};

use serde_json::Value;

use super::{Answer, CALLBACK, Server, Signer, Site, assertion, http::Request, poll, random, secrets};

/// A registered client, with the secret that was shown once.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    /// Empty for a public client.
    pub secret: String,
    pub auth_method: String,
    /// Signs for who registered `private_key_jwt`.
    pub signer: Option<Arc<Signer>>,
}

/// A user who can sign in.
#[derive(Clone, Debug)]
pub struct User {
    pub username: String,
    pub password: String,
}

impl Site {
    /// Runs `grantlog ARGUMENTS` on this site's database, with `input` on its standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let work = move || {
            let mut child = command.spawn().expect("the binary runs");
            // A command that does not read closes the pipe; that is its own business.
            let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
            child.wait_with_output().expect("its output")
        };
        tokio::task::spawn_blocking(work).await.expect("the command ended")
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "").await
    }

    /// Runs a command that must succeed; gives back its standard output.
    pub async fn run_well(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command with `--json`.
    pub async fn run_json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let text = self.run_well(&arguments).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {text}"))
    }
}

impl Server {
    /// `grantlog client create` with these arguments; back when the running server knows the client.
    pub async fn client(&self, arguments: &[&str]) -> Client {
        let mut command = vec!["client", "create", "--name", "A test's client"];
        command.extend(arguments);
        let made = self.site().run_json(&command).await;
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        let auth_method = text("token_endpoint_auth_method");
        let client = Client { id: text("client_id"), secret: text("client_secret"), auth_method, signer: None };
        assert!(!client.id.is_empty(), "no client_id in {made}");
        secrets::register(&client.secret);
        self.knows(&client).await;
        client
    }

    /// A client with that key, by value (`jwks`).
    pub async fn client_with_key(&self, signer: &Signer, arguments: &[&str]) -> Client {
        let file = format!("jwks-{}.json", signer.kid);
        std::fs::write(self.site().directory().join(&file), signer.jwks().to_string()).expect("a file");
        self.client(&[arguments, &["--jwks", &file]].concat()).await
    }

    /// Waits until this server has seen the client's registration.
    pub async fn knows(&self, client: &Client) {
        poll::until("the server sees a client that the command line registered", async || {
            // Who signs to prove who it is, is asked for by name.
            if client.auth_method.ends_with("_jwt") {
                let page = self.get(&self.authorize_url(&[("client_id", &client.id)])).send().await;
                return (!page.text().contains("invalid_client")).then_some(());
            }
            let form = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
            let answer = self.token_as(client, &form).await;
            (answer.json()["error"] != "invalid_client").then_some(())
        })
        .await;
    }

    /// The usual web application: confidential, code and refresh, with a callback at another host.
    pub async fn web_client(&self) -> Client {
        self.code_client("client_secret_basic").await
    }

    /// An application that cannot keep a secret, such as one in a browser.
    pub async fn public_client(&self) -> Client {
        self.code_client("none").await
    }

    async fn code_client(&self, auth_method: &str) -> Client {
        self.client(&[
            "--redirect-uri",
            CALLBACK,
            "--grant-type",
            "authorization_code",
            "--grant-type",
            "refresh_token",
            "--response-type",
            "code",
            "--scope",
            "profile read write",
            "--auth-method",
            auth_method,
        ])
        .await
    }

    /// A service that acts for itself: client credentials.
    pub async fn service_client(&self) -> Client {
        let grant = ["--grant-type", "client_credentials", "--scope", "profile read"];
        self.client(&[&grant[..], &["--auth-method", "client_secret_basic"]].concat()).await
    }

    /// An API: asks about the tokens that it is shown, and gets none.
    pub async fn api_client(&self) -> Client {
        self.client(&["--kind", "api"]).await
    }

    /// A client that may ask for a user's password, and refresh.
    pub async fn password_client(&self) -> Client {
        let grants = ["--grant-type", "password", "--grant-type", "refresh_token", "--scope", "profile read write"];
        self.client(&[&grants[..], &["--auth-method", "client_secret_basic"]].concat()).await
    }

    /// `grantlog user create` with a fresh name and password.
    pub async fn user(&self) -> User {
        let user = User { username: format!("user-{}", random(6).to_lowercase()), password: random(18) };
        secrets::register(&user.password);
        let arguments = ["user", "create", "--username", &user.username, "--password-stdin"];
        let output = self.site().run_with(&arguments, &format!("{}\n", user.password)).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        user
    }

    /// `POST path` with the client authenticated by the method it registered.
    pub fn post_as(&self, client: &Client, path: &str, form: &[(&str, &str)]) -> Request {
        match client.auth_method.as_str() {
            "none" => self.post(path).form(&[form, &[("client_id", &client.id)]].concat()),
            "client_secret_post" => {
                let credentials = [("client_id", client.id.as_str()), ("client_secret", client.secret.as_str())];
                self.post(path).form(&[form, &credentials].concat())
            }
            "private_key_jwt" => {
                let signer = client.signer.as_ref().expect("the client's key");
                let signed = signer.sign(&assertion::claims(self, client));
                self.post(path).form(&[form, &assertion::parameters(&signed)].concat())
            }
            _ => self.post(path).basic(&client.id, &client.secret).form(form),
        }
    }

    /// The token endpoint, as that client.
    pub async fn token_as(&self, client: &Client, form: &[(&str, &str)]) -> Answer {
        self.post_as(client, "/oauth/token", form).send().await
    }

    /// The introspection endpoint, as that client.
    pub async fn introspect_as(&self, client: &Client, token: &str) -> Value {
        self.post_as(client, "/oauth/introspect", &[("token", token)]).send().await.expect(200).json()
    }

    /// Whether that client is told that the token is active.
    pub async fn is_active(&self, client: &Client, token: &str) -> bool {
        let answer = self.introspect_as(client, token).await;
        answer["active"].as_bool().unwrap_or_else(|| panic!("no boolean `active` in {answer}"))
    }

    /// The revocation endpoint, as that client.
    pub async fn revoke_as(&self, client: &Client, token: &str) -> Answer {
        self.post_as(client, "/oauth/revoke", &[("token", token)]).send().await
    }
}
