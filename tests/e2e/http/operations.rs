//! Running it: health, metrics, restart, crash, graceful stop, a database that goes away and comes back.

use std::{
    net::{IpAddr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
};

use crate::harness::{
    CALLBACK, Pkce, Server, Site, Store,
    http::{self, Request},
    poll,
    server::free_port,
    suite::{Case, on, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        health_says_live_and_ready,
        metrics_count_requests,
        metrics_say_where_everything_stands,
        every_answer_carries_a_request_id
    ],
    own![
        metrics_and_checks_are_for_programs_on_this_machine,
        behind_a_proxy_nobody_is_on_this_machine,
        metrics_and_checks_have_a_listener_of_their_own,
        metrics_and_checks_are_behind_a_token,
        a_restart_keeps_tokens_sessions_and_revocations,
        a_crash_keeps_what_was_answered,
        a_stop_finishes_the_request_in_flight,
        plain_http_beyond_loopback_is_refused,
        a_demonstration_beyond_loopback_is_refused,
        cookies_are_host_bound_where_https_is_spoken,
        callers_are_told_apart_whatever_the_proxy_writes,
    ],
    on![Postgres: a_database_that_is_down_is_503_and_mends_itself, a_second_node_sees_what_the_first_one_does],
];

async fn health_says_live_and_ready(server: Server) {
    server.get("/health/live").send().await.expect(200);
    let ready = server.get("/health/ready").send().await.expect(200).json();
    let named = |name: &str| ready["checks"].as_array().and_then(|checks| checks.iter().find(|it| it["name"] == name));
    for name in ["database", "read_models", "tables"] {
        assert_eq!(named(name).map(|check| check["ok"] == true), Some(true), "{name}: {ready}");
    }
}

async fn metrics_count_requests(server: Server) {
    // The text format of Prometheus.
    server.get("/health/live").send().await.expect(200);
    let metrics = server.get("/metrics").send().await.expect(200).text();
    assert!(metrics.lines().any(|line| line.starts_with("# TYPE ")), "{metrics}");
    assert!(metrics.contains("grantlog_"), "{metrics}");
}

/// What `docs/reliability.md` names.
async fn metrics_say_where_everything_stands(server: Server) {
    let stands = [
        "log_position",
        "oldest_write_seconds",
        "projection_position{projection=\"grants\"}",
        "projection_stopped{projection=\"grants\"}",
        "projection_lag_seconds{projection=\"grants\"}",
        "projections_failing",
        "projector_error",
        "live_position",
        "live_gaps",
        "live_poison_total",
        "live_stopped",
        "consequences_position",
        "consequences_lag_seconds",
    ];
    // A database that is busy may leave out a look.
    poll::until("every metric is there", async || {
        let metrics = server.get("/metrics").send().await.expect(200).text();
        let has = |name: &str| metrics.lines().any(|line| line.starts_with(&format!("grantlog_{name} ")));
        stands.iter().all(|name| has(name)).then_some(())
    })
    .await;
}

/// What `/metrics` answers, and whether `/health/ready` says why.
async fn heard(at: &dyn Fn(&str) -> Request) -> (u16, bool) {
    at("/health/live").send().await.expect(200);
    let ready = at("/health/ready").send().await.expect(200).json();
    assert_eq!(ready["ready"], true, "{ready}");
    (at("/metrics").send().await.status, ready.get("checks").is_some())
}

const READ: (u16, bool) = (200, true);

/// An address of this machine that is none of its own only.
fn outer_address() -> Option<IpAddr> {
    // Nothing is sent: this asks by which address one would go there.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

async fn metrics_and_checks_are_for_programs_on_this_machine(store: Store) {
    let (site, port, client) = (Site::new(store, &[]), free_port(), http::client());
    let mut command = site.command();
    // One for others too, which answers to any name.
    command.env("GRANTLOG_ISSUER", "https://id.example").env("GRANTLOG_HTTP_TRUSTED_PROXIES", "192.0.2.1");
    let log = std::fs::File::create(site.directory().join("server.log")).expect("a file");
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    let mut process = command.args(["serve", "--listen", &format!("0.0.0.0:{port}")]).spawn().expect("it runs");
    let at =
        |host: &str, path: &str| Request::new(&client, reqwest::Method::GET, format!("http://{host}:{port}{path}"));
    poll::until("the server is ready", async || {
        at("127.0.0.1", "/health/ready").try_send().await.ok().filter(|answer| answer.status == 200).map(|_| ())
    })
    .await;
    assert_eq!(heard(&|path| at("127.0.0.1", path)).await, READ);
    for (name, value) in [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("via", "1.1 proxy")] {
        assert_eq!(heard(&|path| at("127.0.0.1", path).header(name, value)).await, (403, false), "{name}");
    }
    // A page whose host somebody made mean this machine.
    let rebound = format!("evil.example:{port}");
    assert_eq!(heard(&|path| at("127.0.0.1", path).header("host", &rebound)).await, (403, false));
    if let Some(outer) = outer_address() {
        assert_eq!(heard(&|path| at(&outer.to_string(), path)).await, (403, false));
    }
    process.kill().expect("it can be ended");
    process.wait().expect("a child");
}

async fn behind_a_proxy_nobody_is_on_this_machine(store: Store) {
    let server = Server::start(store, &[("HTTP_TRUSTED_PROXIES", "127.0.0.1")]).await;
    for caller in ["", "127.0.0.1", "203.0.113.9"] {
        let at = |path: &str| match caller {
            "" => server.get(path),
            caller => server.get(path).header("x-forwarded-for", caller),
        };
        assert_eq!(heard(&at).await, (403, false), "{caller:?}");
    }
}

async fn metrics_and_checks_have_a_listener_of_their_own(store: Store) {
    let (port, client) = (free_port(), http::client());
    let settings = [("OPERATIONS_LISTEN", &*format!("127.0.0.1:{port}")), ("HTTP_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(store, &settings).await;
    assert_eq!(heard(&|path| server.get(path)).await, (404, false));
    let own = |path: &str| Request::new(&client, reqwest::Method::GET, format!("http://127.0.0.1:{port}{path}"));
    assert_eq!(heard(&own).await, READ);
    assert_eq!(heard(&|path| own(path).header("x-forwarded-for", "203.0.113.9")).await, READ);
    // And nothing else is there.
    for path in ["/", "/login", "/oauth/jwks", "/.well-known/openid-configuration"] {
        own(path).send().await.expect(404);
    }
    server.stop();
    assert!(own("/health/live").try_send().await.is_err(), "it stops with the server");
}

async fn metrics_and_checks_are_behind_a_token(store: Store) {
    let (token, port, client) = ("0123456789abcdef0123456789abcdef", free_port(), http::client());
    let listen = format!("127.0.0.1:{port}");
    let own = |path: &str| Request::new(&client, reqwest::Method::GET, format!("http://{listen}{path}"));
    for more in [&[][..], &[("OPERATIONS_LISTEN", &*listen)]] {
        let server = Server::start(store, &[&[("OPERATIONS_TOKEN", token)], more].concat()).await;
        let at = |path: &str| if more.is_empty() { server.get(path) } else { own(path) };
        assert_eq!(heard(&at).await, (401, false));
        assert_eq!(at("/metrics").send().await.header("www-authenticate"), Some("Bearer"));
        assert_eq!(heard(&|path| at(path).bearer("0123456789abcdef0123456789abcdeF")).await, (401, false));
        assert_eq!(heard(&|path| at(path).bearer(token)).await, READ);
        server.stop();
    }
}

async fn every_answer_carries_a_request_id(server: Server) {
    let (first, second) = (server.get("/").send().await, server.get("/nothing").send().await);
    let id = |answer: &crate::harness::Answer| answer.header("x-request-id").map(str::to_owned);
    assert!(id(&first).is_some(), "{first}");
    assert!(id(&second).is_some(), "{second}");
    assert_ne!(id(&first), id(&second));
}

async fn a_restart_keeps_tokens_sessions_and_revocations(store: Store) {
    let site = Site::new(store, &[]);
    let server = Server::on(&site, &[]).await;
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let mut browser = crate::harness::Browser::signed_in(&server, &user).await;
    let (kept, revoked) = (server.tokens(&client, &user).await, server.tokens(&client, &user).await);
    server.revoke_as(&client, &revoked.refresh).await.expect(200);
    let code = server.code(&client, &user, &pkce).await;
    server.stop();

    let server = Server::on(&site, &[]).await;
    assert!(server.is_active(&client, &kept.access).await);
    assert!(!server.is_active(&client, &revoked.access).await);
    server.get("/api/me").bearer(&kept.access).send().await.expect(200);
    server.refresh(&client, &kept.refresh).await.expect(200);
    server.refresh(&client, &revoked.refresh).await.expect_error(400, "invalid_grant");
    server.redeem(&client, &code, &pkce).await.expect(200);
    browser = browser.at(&server);
    let home = browser.open("/").await;
    assert!(home.form("login-form").is_none(), "the session was lost: {}", home.answer);
}

async fn a_crash_keeps_what_was_answered(store: Store) {
    // An answer is given after the commit, and a commit is on the disk.
    let site = Site::new(store, &[]);
    let server = Server::on(&site, &[]).await;
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let tokens = server.tokens(&client, &user).await;
    let revoked = server.tokens(&client, &user).await;
    let code = server.code(&client, &user, &pkce).await;
    server.redeem(&client, &code, &pkce).await.expect(200);
    server.revoke_as(&client, &revoked.refresh).await.expect(200);
    server.kill();

    let server = Server::on(&site, &[]).await;
    assert!(server.is_active(&client, &tokens.access).await);
    assert!(!server.is_active(&client, &revoked.access).await);
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
}

async fn a_stop_finishes_the_request_in_flight(store: Store) {
    let server = Server::start(store, &[]).await;
    let client = server.service_client().await;
    let requests = (0..40).map(|_| {
        let request = server.post_as(&client, "/oauth/token", &[("grant_type", "client_credentials")]);
        tokio::spawn(request.try_send())
    });
    let requests: Vec<_> = requests.collect();
    let stopping = server.clone();
    tokio::task::spawn_blocking(move || stopping.stop()).await.expect("it stopped well");
    for request in requests {
        // Refused at the door or answered; never begun and dropped, and never a failure.
        if let Ok(answer) = request.await.expect("the request's task") {
            assert_eq!(answer.status, 200, "{answer}");
        }
    }
}

async fn plain_http_beyond_loopback_is_refused(store: Store) {
    // RFC 6749 3.1 and 3.2: "MUST require the use of TLS".
    let site = Site::new(store, &[("ISSUER", "http://auth.example")]);
    let output = site.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert!(!output.status.success(), "it serves an issuer with plain http");
    assert!(String::from_utf8_lossy(&output.stderr).contains("https"), "the message does not say what is wanted");
}

async fn a_demonstration_beyond_loopback_is_refused(store: Store) {
    let site = Site::new(store, &[]);
    let output = site.run(&["serve", "--demo", "--listen", "0.0.0.0:0"]).await;
    assert!(!output.status.success(), "it demonstrates to the whole network");
    let site = Site::new(store, &[("ISSUER", "https://auth.example"), ("HTTP_TRUSTED_PROXIES", "127.0.0.1")]);
    let output = site.run(&["serve", "--demo", "--listen", "127.0.0.1:0"]).await;
    assert!(!output.status.success(), "it demonstrates to whoever the proxy lets in");
}

async fn cookies_are_host_bound_where_https_is_spoken(store: Store) {
    // RFC 6265bis 4.1.3.2: a `__Host-` cookie cannot be set by another host or over plain http.
    let settings = [("ISSUER", "https://auth.example"), ("HTTP_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(store, &settings).await;
    let user = server.user().await;
    let mut browser = crate::harness::Browser::new(&server);
    let https = |request: crate::harness::http::Request| request.header("x-forwarded-proto", "https");
    let answer = browser.send(https(server.get("/login"))).await.expect(200);
    let form = crate::harness::html::forms(&answer.text()).into_iter().find(|form| form.id == "login-form");
    let mut fields = form.expect("a login form").fields;
    fields.retain(|(name, _)| name != "username" && name != "password");
    let mut sent: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    sent.extend([("username", user.username.as_str()), ("password", user.password.as_str())]);
    let request = https(server.post("/login")).header("origin", "https://auth.example").form(&sent);
    let answer = browser.send(request).await;
    assert!(matches!(answer.status, 302 | 303), "{answer}");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()).collect();
    assert!(!cookies.is_empty(), "{answer}");
    for cookie in cookies {
        let lower = cookie.to_ascii_lowercase();
        // Session Management 1.0, 3.2: the frame's script reads the state, and nothing else.
        let hidden = if lower.starts_with("__host-grantlog_state=") { "; samesite=none" } else { "; httponly" };
        let attributes = ["; secure", "; path=/", "; samesite=", hidden];
        assert!(cookie.starts_with("__Host-"), "{cookie:.20}");
        assert!(attributes.iter().all(|attribute| lower.contains(attribute)), "attributes of {cookie:.20}");
        assert!(!lower.contains("; domain="), "{cookie:.20}");
    }
}

/// A PostgreSQL cluster of the case's own, which it may stop.
pub struct Cluster(String);

impl Cluster {
    fn command(arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
        let mut command = Command::new(script);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output().expect("tests/cluster runs");
        assert!(output.status.success(), "tests/cluster {arguments:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn run(arguments: Vec<String>) -> String {
        let work = move || Cluster::command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(work).await.expect("tests/cluster")
    }

    pub async fn create() -> Cluster {
        Cluster(Cluster::run(vec!["create".into()]).await)
    }

    pub async fn ask(&self, verb: &str) -> String {
        Cluster::run(vec![verb.into(), self.0.clone()]).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        Cluster::command(&["destroy", &self.0]);
    }
}

async fn a_database_that_is_down_is_503_and_mends_itself(_: Store) {
    // RFC 9110 15.6.4 and 10.2.3.
    let cluster = Cluster::create().await;
    let site = Site::on_cluster(&cluster.ask("url").await, &[("STORE_CONNECT_TIMEOUT_SECONDS", "2")]);
    let server = Server::on(&site, &[]).await;
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let service = server.service_client().await;
    let tokens = server.tokens(&client, &user).await;
    let code = server.code(&client, &user, &pkce).await;
    cluster.ask("stop").await;

    // What needs the store.
    let unavailable = [
        server.token_as(&service, &[("grant_type", "client_credentials")]).await,
        server.refresh(&client, &tokens.refresh).await,
        server.redeem(&client, &code, &pkce).await,
    ];
    for answer in unavailable {
        assert_eq!(answer.status, 503, "{answer}");
        assert!(answer.header("retry-after").is_some(), "{answer}");
        assert!(!answer.text().to_lowercase().contains("postgres"), "the fault's text is shown: {answer}");
    }
    // What does not, stays correct: never active on the strength of a state that may be old.
    let metadata = server.get("/.well-known/oauth-authorization-server").send().await;
    metadata.expect(200);
    server.get("/health/live").send().await.expect(200);
    poll::until("it says that it is not ready, with a reason to come back", async || {
        (server.get("/health/ready").send().await.status == 503).then_some(())
    })
    .await;
    poll::until("introspection answers 503 once the bound on staleness has passed", async || {
        let answer = server.post_as(&client, "/oauth/introspect", &[("token", &tokens.access)]).send().await;
        assert!(matches!(answer.status, 200 | 503), "{answer}");
        (answer.status == 503).then_some(())
    })
    .await;
    // Who asks cannot be known now; who does not say who asks is told so.
    let asked = server.token_as(&service, &[("grant_type", "magic")]).await.expect(503);
    assert!(asked.header("retry-after").is_some(), "{asked}");
    server.post("/oauth/token").form(&[("grant_type", "magic")]).send().await.expect_client_error();
    let wrong =
        [("response_type", "code"), ("client_id", client.id.as_str()), ("redirect_uri", "https://evil.example/")];
    let wrong = server.get(&server.authorize_url(&wrong)).send().await;
    assert_eq!(wrong.header("location"), None, "{wrong}");

    cluster.ask("start").await;
    poll::until("it is ready again without a restart", async || {
        (server.get("/health/ready").send().await.status == 200).then_some(())
    })
    .await;
    assert!(server.is_active(&client, &tokens.access).await);
    server.redeem(&client, &code, &pkce).await.expect(200);
    server.refresh(&client, &tokens.refresh).await.expect(200);
    server.service_token(&service).await;
    let request = [
        ("response_type", "code"),
        ("client_id", client.id.as_str()),
        ("redirect_uri", CALLBACK),
        ("scope", "profile"),
    ];
    server.authorized(&user, &request).await;
    server.stop();
}

async fn a_second_node_sees_what_the_first_one_does(store: Store) {
    let site = Site::new(store, &[]);
    let first = Server::on(&site, &[]).await;
    let second = Server::on(&site, &[]).await;
    let (user, client) = (first.user().await, first.web_client().await);
    second.knows(&client).await;
    let tokens = first.tokens(&client, &user).await;
    poll::until("the second node knows a token of the first", async || {
        second.is_active(&client, &tokens.access).await.then_some(())
    })
    .await;
    // What must have one winner needs no waiting: the log decides.
    let next = second.refresh(&client, &tokens.refresh).await.expect(200);
    let next = crate::harness::Tokens::of(next);
    second.revoke_as(&client, &next.refresh).await.expect(200);
    poll::until("the first node sees a revocation at the second", async || {
        (!first.is_active(&client, &tokens.access).await).then_some(())
    })
    .await;
    first.refresh(&client, &next.refresh).await.expect_error(400, "invalid_grant");
}

async fn callers_are_told_apart_whatever_the_proxy_writes(store: Store) {
    // RFC 7239 6: with a port, and in quotes; Azure writes the port into X-Forwarded-For, too.
    let behind = [("HTTP_TRUSTED_PROXIES", "127.0.0.1"), ("EVENTS_SOURCE_ADDRESS", "whole")];
    let standard = [&behind[..], &[("HTTP_FORWARDED_HEADER", "forwarded")]].concat();
    for (settings, header, written) in [
        (&behind[..], "x-forwarded-for", ["203.0.113.7:50123", "\"[2001:db8::7]:443\""]),
        (&standard[..], "forwarded", ["for=\"203.0.113.7:50123\";proto=https", "for=\"[2001:db8::7]:443\""]),
    ] {
        let server = Server::start(store, settings).await;
        let client = server.service_client().await;
        for (written, address) in written.iter().zip(["203.0.113.7", "2001:db8::7"]) {
            let form = [("grant_type", "client_credentials")];
            server.post_as(&client, "/oauth/token", &form).header(header, written).send().await.expect(200);
            let newest = server.site().run_json(&["events", "list", "--limit", "1"]).await;
            assert!(newest.to_string().contains(&format!("\"{address}\"")), "{newest}");
        }
        // Said once, without what was sent.
        for _ in 0..2 {
            server.get("/health/live").header(header, "for=_hush").send().await.expect(200);
        }
        let log = server.log();
        assert_eq!(log.matches("it is no address").count(), 1, "{log}");
        assert!(!log.contains("_hush"), "{log}");
    }
}
