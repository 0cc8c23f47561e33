//! Allocations for each request, counted on the threads of a server that runs in this very process.
//!
//!     cargo bench --bench allocations
//!
//! The count is of everything between the socket and the answer: hyper, warp and Grantlog. The bare warp route of
//! `benches/side_by_side` is counted beside it. What the server allocates by itself meanwhile (feeds, metrics) is
//! measured while nobody asks, and taken off.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantlog::config::Settings;
use serde_json::Value;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread belongs to the server.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count(bytes: usize) {
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const REQUESTS: u32 = 20_000;
const IDLE: Duration = Duration::from_secs(1);

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let database = format!("sqlite:{}", folder.path().join("bench.db").display());
    grantlog(&database, &["migrate"], "");
    let password = ["--json", "client", "create", "--name", "Bench", "--scope", "profile", "--grant-type", "password"];
    let client = grantlog(&database, &password, "");
    let client: Value = serde_json::from_str(&client).expect("client create prints JSON");
    grantlog(&database, &["user", "create", "--username", "bench", "--password-stdin"], "correct horse");
    let address = serve(&database);
    let text = |name: &str| client[name].as_str().expect("client create prints the client").to_owned();
    let pair = STANDARD.encode(format!("{}:{}", text("client_id"), text("client_secret")));
    let basic = format!("Authorization: Basic {pair}\r\n");

    let mut connection = Connection::open(address);
    let ask_token = post("/oauth/token", &basic, "grant_type=password&username=bench&password=correct+horse");
    let answer: Value = serde_json::from_str(&connection.ask(&ask_token)).expect("a token response is JSON");
    let token = answer["access_token"].as_str().expect("a token response has a token");
    let introspect = post("/oauth/introspect", &basic, &format!("token={token}"));
    let me = get("/api/me", &format!("Authorization: Bearer {token}\r\n"));
    let discovery = get("/.well-known/oauth-authorization-server", "");

    println!("| request | allocations | bytes | bare warp, allocations | bytes |");
    println!("|---|---|---|---|---|");
    for (what, request) in [("introspection", introspect), ("/api/me", me), ("discovery", discovery)] {
        let (ours, bytes) = measure(&mut connection, &request);
        let mut bare = Connection::open(serve_bare(connection.head_and_body(&request)));
        let (theirs, their_bytes) = measure(&mut bare, &request);
        println!("| {what} | {ours:.1} | {bytes:.0} | {theirs:.1} | {their_bytes:.0} |");
    }
}

/// Allocations and bytes of one request.
fn measure(connection: &mut Connection, request: &[u8]) -> (f64, f64) {
    let read = || (ALLOCATIONS.load(Ordering::Relaxed) as f64, BYTES.load(Ordering::Relaxed) as f64);
    for _ in 0..1000 {
        connection.ask(request);
    }
    let idle = read();
    std::thread::sleep(IDLE);
    let (started, began) = (read(), Instant::now());
    for _ in 0..REQUESTS {
        connection.ask(request);
    }
    let (ended, idles) = (read(), began.elapsed().as_secs_f64() / IDLE.as_secs_f64());
    let each = |idle: f64, started: f64, ended: f64| (ended - started - (started - idle) * idles) / f64::from(REQUESTS);
    (each(idle.0, started.0, ended.0), each(idle.1, started.1, ended.1))
}

/// Runs the command line on the database.
fn grantlog(database: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantlog"));
    command.args(arguments).env("GRANTLOG_DATABASE", database).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().expect("the command starts");
    process.stdin.take().expect("stdin is piped").write_all(input.as_bytes()).expect("the command reads");
    let output = process.wait_with_output().expect("the command ends");
    assert!(output.status.success(), "{command:?} failed");
    String::from_utf8(output.stdout).expect("the command prints text")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Runs a server on threads whose allocations are counted.
fn counted<F: Future<Output = ()>>(server: impl FnOnce() -> F + Send + 'static) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).on_thread_start(|| COUNTED.set(true)).enable_all();
    let runtime = runtime.build().expect("a runtime");
    std::thread::spawn(move || runtime.block_on(server()));
}

fn serve(database: &str) -> SocketAddr {
    let address = free_address();
    let flags = [("database", database.to_owned()), ("listen", address.to_string())];
    let settings = Settings::load(None, &flags).expect("the settings are right");
    counted(move || async move { grantlog::serve::serve(settings).await.expect("the server starts") });
    address
}

/// The bare warp route of `benches/side_by_side`.
fn serve_bare((head, body): (String, String)) -> SocketAddr {
    use warp::Filter as _;
    use warp::http::{HeaderMap, HeaderName, HeaderValue};
    let address = free_address();
    let body: &'static str = Box::leak(body.into_boxed_str());
    let headers: HeaderMap = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !["content-length", "date"].contains(name))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let answer = move || {
        let mut response = warp::reply::Response::new(body.into());
        response.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        response
    };
    let other = answer.clone();
    let post = warp::post().and(warp::body::form()).map(move |_: std::collections::HashMap<String, String>| answer());
    counted(move || warp::serve(post.or(warp::get().map(other))).run(address));
    address
}

/// One kept-alive connection.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        for _ in 0..400 {
            if let Ok(stream) = TcpStream::connect(address) {
                stream.set_nodelay(true).expect("TCP_NODELAY can be set");
                let mut connection = Self { stream, answer: Vec::new() };
                if connection.exchange(&get("/health/ready", "")).0.starts_with("HTTP/1.1 200") {
                    return connection;
                }
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("the server at {address} is not ready after 10 seconds");
    }

    /// The body of an answer that must be 200.
    fn ask(&mut self, request: &[u8]) -> String {
        let (head, body) = self.exchange(request);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}{body}");
        body.to_owned()
    }

    fn head_and_body(&mut self, request: &[u8]) -> (String, String) {
        let (head, body) = self.exchange(request);
        (head.to_owned(), body.to_owned())
    }

    fn exchange(&mut self, request: &[u8]) -> (&str, &str) {
        self.stream.write_all(request).expect("the server reads");
        self.answer.clear();
        let mut chunk = [0; 4096];
        loop {
            let read = self.stream.read(&mut chunk).expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            self.answer.extend_from_slice(&chunk[..read]);
            let text = str::from_utf8(&self.answer).expect("answers are text");
            let Some(end) = text.find("\r\n\r\n") else { continue };
            let length = text[..end].lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).expect("answers say how long they are");
            if text.len() == end + 4 + length {
                break;
            }
        }
        let text = str::from_utf8(&self.answer).expect("answers are text");
        text.split_once("\r\n\r\n").expect("an answer has a head")
    }
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

fn post(path: &str, headers: &str, form: &str) -> Vec<u8> {
    let length = form.len();
    let form_type = "Content-Type: application/x-www-form-urlencoded";
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{form_type}\r\nContent-Length: {length}\r\n\r\n{form}")
        .into_bytes()
}
