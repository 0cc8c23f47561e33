//! The limits of the server, over real sockets.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use warp::Filter;

use super::request::Surroundings;
use super::request_id::{RequestContext, request_context};
use super::routes::{Manner, Routes};
use super::server::{Server, ServerError};
use crate::config::Settings;

/// A running server, stopped by `stop` or when dropped.
struct Running {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
    /// The handler of `/gate` waits for this.
    gate: Arc<Notify>,
    /// Told when a request has reached `/gate`.
    entered: Arc<Notify>,
}

async fn start(flags: &[(&str, &str)]) -> Running {
    let flags: Vec<_> = [("listen", "127.0.0.1:0")].iter().chain(flags).copied().collect();
    let settings = Settings::with(&flags).unwrap();
    let server = Server::bind(&settings).unwrap();
    let address = server.local_addr().unwrap();
    let server = server.listen().unwrap();
    let (gate, entered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let surroundings = Arc::new(Surroundings::new(&settings.http, 7));
    let routes = Routes::new(routes(gate.clone(), entered.clone()), |_| Manner::PAGE);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(routes, surroundings, async {
        let _ = stopped.await;
    }));
    Running { address, stop: Some(stop), task, gate, entered }
}

fn routes(gate: Arc<Notify>, entered: Arc<Notify>) -> warp::filters::BoxedFilter<(warp::reply::Response,)> {
    use warp::Reply;
    let hello = warp::path!("hello").and(request_context()).map(|context: RequestContext| context.caller.to_string());
    let panic = warp::path!("panic").map(|| -> &'static str { panic!("on purpose") });
    let stuck = warp::path!("stuck").then(pending::<&'static str>);
    let echo = warp::path!("echo").and(warp::body::bytes()).map(|body: bytes::Bytes| body.len().to_string());
    let gate = warp::path!("gate").then(move || {
        let (gate, entered) = (gate.clone(), entered.clone());
        async move {
            entered.notify_one();
            gate.notified().await;
            "through"
        }
    });
    hello.or(panic).or(stuck).or(echo).or(gate).map(Reply::into_response).boxed()
}

/// Sends `request` on a new connection and reads until the server closes it.
async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(request).await;
    read_all(&mut stream).await
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("never closed");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let server = start(&[]).await;
    let answer = exchange(server.address, &get("/hello")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("x-request-id: 00000007-0000000001"), "{answer}");
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    let missing = exchange(server.address, &get("/nowhere")).await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("x-request-id: "), "{missing}");
}

#[tokio::test]
async fn a_panic_is_answered_500_and_others_go_on() {
    let server = start(&[]).await;
    let answer = exchange(server.address, &get("/panic")).await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("x-request-id: "), "{answer}");
    assert!(!answer.contains("on purpose"), "{answer}");
    assert!(exchange(server.address, &get("/hello")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn headers_that_come_too_slowly_close_the_connection() {
    let server = start(&[("http.header_read_timeout_seconds", "1")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.unwrap();
    let began = Instant::now();
    let answer = read_all(&mut stream).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = start(&[("http.header_read_timeout_seconds", "1")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn headers_that_are_too_large_or_too_many_are_answered_431() {
    let server = start(&[("http.header_bytes", "4096"), ("http.headers", "16")]).await;
    let large = format!("GET /hello HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "a".repeat(5000));
    let answer = exchange(server.address, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET /hello HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x-more: a\r\n".repeat(17));
    let answer = exchange(server.address, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn endless_headers_do_not_fill_the_memory() {
    let server = start(&[("http.header_bytes", "4096")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\n").await.unwrap();
    let line = "x-endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(1000);
    let mut written = 0;
    while written < 64_000_000 && stream.write_all(line.as_bytes()).await.is_ok() {
        written += line.len();
    }
    assert!(written < 64_000_000, "the server read {written} bytes of headers");
}

#[tokio::test]
async fn a_body_that_is_announced_or_turns_out_too_large_is_refused() {
    let server = start(&[("http.body_bytes", "1024")]).await;
    let post = |body: String| format!("POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{body}");
    let right = post(format!("content-length: 1024\r\n\r\n{}", "a".repeat(1024)));
    assert!(exchange(server.address, right.as_bytes()).await.ends_with("1024"));
    let announced = post("content-length: 10000000\r\n\r\n".into());
    assert!(exchange(server.address, announced.as_bytes()).await.starts_with("HTTP/1.1 413"));
    let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
    let chunked = post(format!("transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(2)));
    let answer = exchange(server.address, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_503() {
    let server = start(&[("http.request_timeout_seconds", "1")]).await;
    let answer = exchange(server.address, &get("/stuck")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5"), "{answer}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_503() {
    let server = start(&[("http.request_timeout_seconds", "1")]).await;
    let answer =
        exchange(server.address, b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a_connection_past_the_limit_waits_until_another_ends() {
    let server = start(&[("http.connections", "1")]).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut held = first;
    held.write_all(b"GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.entered.notified().await;

    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(&get("/hello")).await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "answered although the limit was reached");

    drop(held);
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_finishes_the_request_in_flight_and_takes_no_new_one() {
    let mut server = start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
    // The listener is closed before the running request is answered.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.gate.notify_one();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("through"), "{answer}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut server = start(&[("http.stop_timeout_seconds", "0")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
    server.task.await.unwrap();
}

/// A certificate for 127.0.0.1 that is its own authority, in files.
fn self_signed(directory: &std::path::Path) -> (rustls::RootCertStore, [String; 2]) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = ["cert.pem", "key.pem"].map(|name| directory.join(name).display().to_string());
    std::fs::write(&files[0], made.cert.pem()).unwrap();
    std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (roots, files)
}

/// The answer to a request over TLS, by a client that trusts `roots` only.
async fn exchange_tls(address: std::net::SocketAddr, roots: &rustls::RootCertStore) -> io::Result<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots.clone()).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    stream.write_all(&get("/hello")).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_only() {
    let directory = tempfile::tempdir().unwrap();
    let (roots, [cert_file, key_file]) = self_signed(directory.path());
    let server = start(&[("tls.cert_file", &cert_file), ("tls.key_file", &key_file)]).await;
    let answer = exchange_tls(server.address, &roots).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    assert!(!exchange(server.address, &get("/hello")).await.contains("200 OK"));
}

#[tokio::test]
async fn a_replaced_certificate_is_taken_up_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (old, [cert_file, key_file]) = self_signed(directory.path());
    let server = start(&[("tls.cert_file", &cert_file), ("tls.key_file", &key_file)]).await;
    exchange_tls(server.address, &old).await.unwrap();
    let hang_up = || {
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };

    let (new, _) = self_signed(directory.path());
    hang_up();
    let looked = async {
        while exchange_tls(server.address, &new).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looked).await.expect("the new certificate is used");
    assert!(exchange_tls(server.address, &old).await.is_err(), "the old one is gone");

    std::fs::write(&cert_file, "no certificate").unwrap();
    hang_up();
    for _ in 0..20 {
        exchange_tls(server.address, &new).await.expect("the last good one stays");
    }
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let server = start(&[("http.connections_per_address", "2")]).await;
    let held = [TcpStream::connect(server.address).await.unwrap(), TcpStream::connect(server.address).await.unwrap()];
    let one_more = exchange(server.address, &get("/hello")).await;
    assert_eq!(one_more, "", "the third connection is closed");
    drop(held);
    let answered = async {
        while !exchange(server.address, &get("/hello")).await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("there is a place again");
}

#[tokio::test]
async fn a_trusted_proxy_takes_as_many_connections_as_it_needs() {
    let flags = [("http.connections_per_address", "1"), ("http.trusted_proxies", "127.0.0.1")];
    let server = start(&flags).await;
    let _held = [TcpStream::connect(server.address).await.unwrap(), TcpStream::connect(server.address).await.unwrap()];
    assert!(exchange(server.address, &get("/hello")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn nobody_connects_before_the_server_listens() {
    let settings = Settings::with(&[("listen", "127.0.0.1:0")]).unwrap();
    let server = Server::bind(&settings).unwrap();
    let address = server.local_addr().unwrap();
    let early = TcpStream::connect(address).await.expect_err("refused");
    assert_eq!(early.kind(), io::ErrorKind::ConnectionRefused);
    let _listening = server.listen().unwrap();
    TcpStream::connect(address).await.expect("connected");
}

#[tokio::test]
async fn an_address_in_use_and_a_missing_certificate_are_clear_errors() {
    let server = start(&[]).await;
    let taken = Settings::with(&[("listen", &server.address.to_string())]).unwrap();
    let error = Server::bind(&taken).err().unwrap();
    assert!(matches!(&error, ServerError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
    assert!(error.to_string().starts_with(&format!("cannot listen on {}", server.address)));

    let files = [("tls.cert_file", "/nowhere/cert.pem"), ("tls.key_file", "/nowhere/key.pem")];
    let error = Server::bind(&Settings::with(&files).unwrap()).err().unwrap();
    assert!(error.to_string().contains("/nowhere/cert.pem"), "{error}");
}
