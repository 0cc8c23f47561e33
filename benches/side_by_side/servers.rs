//! The servers that are held against each other: Grantlog on a fresh database, and a bare warp route.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::load;

const GRANTLOG: &str = env!("CARGO_BIN_EXE_grantlog");
const USER: (&str, &str) = ("bench", "correct horse battery staple");

/// Where a measured server keeps its log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A running Grantlog with one client and one user.
pub struct Grantlog {
    pub address: SocketAddr,
    pub client_id: String,
    /// `Authorization` header of the client, with its line end.
    pub basic: String,
    /// URL of its database.
    pub database: String,
    scope: &'static str,
    process: Child,
    _folder: TempDir,
}

impl Grantlog {
    pub async fn start(kind: Kind) -> Self {
        Self::start_as(kind, "profile", &[], &[]).await
    }

    /// With that scope, further arguments of `client create`, and settings of the server in its environment.
    pub async fn start_as(kind: Kind, scope: &'static str, more: &[&str], settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let database = match kind {
            Kind::Sqlite => format!("sqlite:{}", folder.path().join("bench.db").display()),
            Kind::Postgres => new_postgres_database().await,
        };
        let address = free_address();
        let mut command = grantlog(&folder, &database);
        command.args(["serve", "--listen", &address.to_string()]);
        command.env("GRANTLOG_LOG_LEVEL", "warn").envs(settings.iter().copied()).stdout(Stdio::null());
        let process = command.spawn().expect("the server starts");
        wait_until_ready(address).await;
        let client = run(
            grantlog(&folder, &database)
                .args(["--json", "client", "create", "--name", "Bench", "--scope", scope])
                .args(["--redirect-uri", "https://bench.example/cb", "--response-type", "code"])
                .args(["--grant-type", "authorization_code", "--grant-type", "refresh_token"])
                .args(["--grant-type", "client_credentials", "--grant-type", "password"])
                .args(more),
            "",
        );
        let client: Value = serde_json::from_str(&client).expect("client create prints JSON");
        let text = |name: &str| client[name].as_str().expect("client create prints the client").to_owned();
        run(grantlog(&folder, &database).args(["user", "create", "--username", USER.0, "--password-stdin"]), USER.1);
        let (client_id, client_secret) = (text("client_id"), text("client_secret"));
        let basic = format!("Authorization: Basic {}\r\n", base64(&format!("{client_id}:{client_secret}")));
        let server = Self { address, client_id, basic, database, scope, process, _folder: folder };
        server.wait_until_client_is_known().await;
        server
    }

    /// The CLI wrote to the log; the server hears of it through the feed.
    async fn wait_until_client_is_known(&self) {
        for _ in 0..400 {
            if load::once(self.address, &self.client_credentials()).await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server does not learn of its client");
    }

    pub fn client_credentials(&self) -> Vec<u8> {
        load::post("/oauth/token", &self.basic, "grant_type=client_credentials&scope=profile")
    }

    pub fn password(&self) -> Vec<u8> {
        let form = format!("grant_type=password&username={}&password={}", USER.0, USER.1.replace(' ', "+"));
        load::post("/oauth/token", &self.basic, &form)
    }

    /// A token of the password grant, as the server answers it.
    pub async fn user_token(&self) -> Value {
        let (status, _, body) = load::once(self.address, &self.password()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("a token response is JSON")
    }

    /// Signs in through the form and returns the `Cookie` header with its line end.
    pub async fn sign_in(&self) -> String {
        let (before, request) = self.login(USER.0, USER.1, "").await;
        let (status, head, body) = load::once(self.address, &request).await;
        assert!(matches!(status, 302 | 303), "sign-in answered {status}: {body}");
        cookies(&head, &before)
    }

    /// The sign-in form as the user sends it, from that address as the proxy says. It may be sent any number of times.
    pub async fn honest_login(&self, address: &str) -> Vec<u8> {
        self.login(USER.0, USER.1, &format!("X-Forwarded-For: {address}\r\n")).await.1
    }

    /// The same with the wrong password of that name.
    pub async fn wrong_login(&self, username: &str, address: &str) -> Vec<u8> {
        self.login(username, "wrong", &format!("X-Forwarded-For: {address}\r\n")).await.1
    }

    /// The form filled in, and the `Cookie` header of the browser that it was shown in.
    async fn login(&self, username: &str, password: &str, headers: &str) -> (String, Vec<u8>) {
        let (_, head, body) = load::once(self.address, &load::get("/login", "")).await;
        let cookie = cookies(&head, "");
        let form =
            format!("username={username}&password={}&csrf={}", password.replace(' ', "+"), hidden(&body, "csrf"));
        let request = load::post("/login", &format!("{cookie}{headers}"), &form);
        (cookie, request)
    }

    /// Allows the client once, so that later authorization requests are answered without a page.
    pub async fn consent(&self, cookie: &str) {
        let (status, _, page) = load::once(self.address, &load::get(&self.authorize_path(), cookie)).await;
        assert_eq!(status, 200, "{page}");
        let form: Vec<String> = page
            .split("<input")
            .filter(|input| input.contains("type=\"hidden\""))
            .map(|input| format!("{}={}", attribute(input, "name"), encode(&attribute(input, "value"))))
            .collect();
        let form = format!("{}&decision=allow", form.join("&"));
        let (status, head, body) = load::once(self.address, &load::post("/oauth/authorize", cookie, &form)).await;
        let location = load::header(&head, "location").unwrap_or("");
        assert!(matches!(status, 302 | 303) && location.contains("code="), "{status} {location} {body}");
    }

    pub fn authorize_path(&self) -> String {
        format!(
            "/oauth/authorize?response_type=code&client_id={}&scope={}&state=s&redirect_uri={}",
            self.client_id,
            encode(self.scope),
            encode("https://bench.example/cb")
        )
    }

    pub fn redeem(&self, code: &str) -> Vec<u8> {
        let form =
            format!("grant_type=authorization_code&code={code}&redirect_uri={}", encode("https://bench.example/cb"));
        load::post("/oauth/token", &self.basic, &form)
    }

    /// Largest resident size so far, in MiB.
    pub fn peak_memory_mib(&self) -> f64 {
        memory_mib(self.process.id(), "VmHWM:")
    }
}

impl Drop for Grantlog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn memory_mib(process: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}

fn grantlog(folder: &TempDir, database: &str) -> Command {
    let mut command = Command::new(GRANTLOG);
    command.current_dir(folder.path()).env("GRANTLOG_DATABASE", database);
    command
}

fn run(command: &mut Command, input: &str) -> String {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
    process.stdin.take().expect("stdin is piped").write_all(input.as_bytes()).expect("the command reads");
    let output = process.wait_with_output().expect("the command ends");
    assert!(output.status.success(), "{command:?} failed");
    String::from_utf8(output.stdout).expect("the command prints text")
}

/// A migrated PostgreSQL database that no server reads, so that nothing else works there.
pub async fn migrated_postgres_database() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let database = new_postgres_database().await;
    run(grantlog(&folder, &database).arg("migrate"), "");
    database
}

async fn new_postgres_database() -> String {
    let cluster = std::env::var("GRANTLOG_TEST_POSTGRES").expect("benches/run starts PostgreSQL");
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("bench_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&cluster).await.expect("PostgreSQL answers");
    connection.execute(format!("CREATE DATABASE {name}").as_str()).await.expect("a database can be made");
    let mut url = url::Url::parse(&cluster).expect("the cluster's URL");
    url.set_path(&name);
    url.to_string()
}

/// The same server without anything of Grantlog in it: warp, the same answers.
pub struct Bare {
    pub address: SocketAddr,
    process: Child,
}

impl Bare {
    /// Answers every request as the server there answers this one: the same headers, the same body, as many bytes.
    pub async fn like(server: SocketAddr, request: &[u8]) -> Self {
        let (status, head, body) = load::once(server, request).await;
        assert_eq!(status, 200, "{body}");
        let address = free_address();
        let this = std::env::current_exe().expect("a program knows itself");
        let answer = format!("{head}{body}");
        let process =
            Command::new(this).args(["--bare", &address.to_string(), &answer]).spawn().expect("the bare server starts");
        wait_until_ready(address).await;
        let bare = Self { address, process };
        let (_, bare_head, bare_body) = load::once(address, request).await;
        assert_eq!((bare_head.len(), bare_body), (head.len(), body), "{bare_head}\nis not as long as\n{head}");
        bare
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server of `--bare`: GET and POST on any path. Headers and body of the answer are made ready before, and a form
/// is read.
pub async fn serve_bare(address: SocketAddr, answer: &str) {
    use warp::Filter as _;
    use warp::http::{HeaderMap, HeaderName, HeaderValue};
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let body: &'static str = Box::leak(body.to_owned().into_boxed_str());
    let headers: HeaderMap = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        // Those two are written by the library.
        .filter(|(name, _)| !["content-length", "date"].contains(name))
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a header");
            (name, HeaderValue::from_str(value).expect("its value"))
        })
        .collect();
    let answer = move || {
        let mut response = warp::reply::Response::new(body.into());
        response.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        response
    };
    let other = answer.clone();
    let post = warp::post().and(warp::body::form()).map(move |_: std::collections::HashMap<String, String>| answer());
    let get = warp::get().map(other);
    warp::serve(post.or(get)).run(address).await;
}

pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

pub async fn wait_until_ready(address: SocketAddr) {
    for _ in 0..1200 {
        if tokio::net::TcpStream::connect(address).await.is_ok()
            && load::once(address, &load::get("/health/ready", "")).await.0 == 200
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the server at {address} is not ready after 30 seconds");
}

fn cookies(head: &str, known: &str) -> String {
    let mut jar: Vec<(String, String)> = Vec::new();
    let old = known.trim_start_matches("Cookie: ").trim_end().split("; ").filter(|pair| !pair.is_empty());
    let new = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .filter_map(|(_, value)| value.split(';').next());
    for (name, value) in old.chain(new).filter_map(|pair| pair.split_once('=')) {
        jar.retain(|(kept, _)| kept != name);
        jar.push((name.to_owned(), value.to_owned()));
    }
    let pairs: Vec<String> = jar.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("Cookie: {}\r\n", pairs.join("; "))
}

fn hidden(page: &str, name: &str) -> String {
    let input = page
        .split("<input")
        .find(|input| input.contains(&format!("name=\"{name}\"")))
        .unwrap_or_else(|| panic!("the page has no field {name}"));
    attribute(input, "value")
}

fn attribute(tag: &str, name: &str) -> String {
    let after = tag.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
    let value = after.split('"').next().unwrap_or("");
    value.replace("&#38;", "&").replace("&amp;", "&").replace("&#x2F;", "/").replace("&#47;", "/")
}

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
