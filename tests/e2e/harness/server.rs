//! A running server: the real binary on a free port.

use std::{
    fs::OpenOptions,
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use super::{
    Site, Store,
    http::{self, Request},
    poll,
};

/// Cheap to clone; the process is stopped gracefully with the last clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    site: Site,
    base: String,
    process: Mutex<Option<Child>>,
    http: reqwest::Client,
}

/// How long a server may take to stop before it counts as hanging.
const STOP_LIMIT: Duration = Duration::from_secs(30);

static SHARED: [OnceCell<Mutex<Option<Server>>>; 2] = [const { OnceCell::const_new() }; 2];

/// The server that the cases of that store share.
pub async fn shared(store: Store) -> Server {
    let cell = SHARED[store as usize].get_or_init(|| async {
        // Many cases fail sign-ins and register from this one address; the limits are tried on servers of their own.
        let settings = [
            ("SIGN_IN_ATTEMPTS_PER_ADDRESS", "100000"),
            ("CLIENTS_MADE_BY", "users"),
            ("REGISTRATION_MODE", "open"),
            ("REGISTRATION_PER_ADDRESS", "100000"),
            ("REGISTRATION_PER_HOUR", "100000"),
        ];
        Mutex::new(Some(Server::start(store, &settings).await))
    });
    cell.await.lock().expect("not poisoned").clone().expect("the shared servers are taken only after all cases")
}

/// The shared servers that were started.
pub fn lent_shared() -> Vec<Server> {
    SHARED.iter().filter_map(|cell| cell.get()?.lock().expect("not poisoned").clone()).collect()
}

/// Takes the shared servers that were started, to stop them.
pub fn take_shared() -> Vec<Server> {
    SHARED.iter().filter_map(|cell| cell.get()?.lock().expect("not poisoned").take()).collect()
}

impl Server {
    /// A server on a fresh database, with these settings (see [`Site::new`]).
    pub async fn start(store: Store, settings: &[(&str, &str)]) -> Server {
        Server::on(&Site::new(store, settings), &[]).await
    }

    /// A server on a site that exists: its first, its next after a stop, or one more node beside others.
    pub async fn on(site: &Site, arguments: &[&str]) -> Server {
        // Another process may take the port between our look and the server's bind; then another one is tried.
        for _ in 0..3 {
            if let Some(server) = Server::try_on(site, arguments).await {
                return server;
            }
        }
        panic!("the server does not start; its log: {}", site.directory().join("server.log").display());
    }

    /// A server on a fresh database whose issuer has that path, below which it is then asked.
    #[allow(dead_code, reason = "the faults have no need of it")]
    pub async fn start_below(path: &str, store: Store) -> Server {
        let site = Site::new(store, &[]);
        let started = Server::try_at(&site, &[], free_port(), path).await;
        started.unwrap_or_else(|| panic!("the server does not start; its log is in {}", site.directory().display()))
    }

    async fn try_on(site: &Site, arguments: &[&str]) -> Option<Server> {
        let port = free_port();
        Server::try_on_port(site, arguments, port).await
    }

    async fn try_on_port(site: &Site, arguments: &[&str], port: u16) -> Option<Server> {
        Server::try_at(site, arguments, port, "").await
    }

    async fn try_at(site: &Site, arguments: &[&str], port: u16, path: &str) -> Option<Server> {
        let base = format!("http://127.0.0.1:{port}{path}");
        let log = site.directory().join("server.log");
        let log = OpenOptions::new().create(true).append(true).open(log).expect("the server's log");
        let mut command = site.command();
        if !site.has("ISSUER") {
            command.env("GRANTLOG_ISSUER", &base);
        }
        let process = command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let process = Mutex::new(Some(process));
        let server = Server(Arc::new(Inner { site: site.clone(), base, process, http: http::client() }));
        let ready = poll::until("the server is ready, or ended", async || {
            if server.exit_status().is_some() {
                return Some(false);
            }
            server.get("/health/ready").try_send().await.ok().filter(|answer| answer.status == 200).map(|_| true)
        });
        ready.await.then_some(server)
    }

    pub fn site(&self) -> &Site {
        &self.0.site
    }

    pub fn store(&self) -> Store {
        self.site().store()
    }

    /// `http://127.0.0.1:PORT`, which is the issuer too; with its path, if it has one.
    pub fn base(&self) -> &str {
        &self.0.base
    }

    pub fn port(&self) -> u16 {
        let base = url::Url::parse(self.base()).expect("a base");
        base.port().expect("the base has its port")
    }

    /// A path of this server as a whole URL; a whole URL stays as it is.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.base()) } else { path.to_owned() }
    }

    pub fn get(&self, path: &str) -> Request {
        Request::new(&self.0.http, reqwest::Method::GET, self.url(path))
    }

    pub fn post(&self, path: &str) -> Request {
        Request::new(&self.0.http, reqwest::Method::POST, self.url(path))
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        let method = method.parse().expect("an HTTP method");
        Request::new(&self.0.http, method, self.url(path))
    }

    /// `GET /oauth/authorize` with these parameters, as a URL.
    pub fn authorize_url(&self, parameters: &[(&str, &str)]) -> String {
        self.url(&format!("/oauth/authorize?{}", http::encode(parameters)))
    }

    /// The process id, for signals.
    pub fn process_id(&self) -> u32 {
        self.0.process.lock().expect("not poisoned").as_ref().expect("the server runs").id()
    }

    /// Resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_id())).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number of KiB")
    }

    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.process.lock().expect("not poisoned").as_mut().and_then(|child| child.try_wait().expect("a child"))
    }

    /// Everything this site's servers have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.site().directory().join("server.log")).expect("the server's log")
    }

    /// Asks it to stop, as an operator would, and waits until it has. Panics when it hangs or fails.
    pub fn stop(&self) {
        let status = self.0.stop().expect("the server stops when asked to");
        assert!(status.success(), "the server ended with {status}");
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        if let Some(mut child) = self.0.process.lock().expect("not poisoned").take() {
            child.kill().expect("the process can be killed");
            child.wait().expect("a child");
        }
    }
}

impl Inner {
    fn stop(&self) -> Option<ExitStatus> {
        let mut child = self.process.lock().ok()?.take()?;
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nothing listens on at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
