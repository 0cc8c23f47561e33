//! Every limit holds: too much is refused or cut off, memory stays flat, and other requests are unhurt.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{
    Server, Store, poll,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    a_body_of_ten_megabytes_is_refused,
    a_body_without_announced_length_is_limited_too,
    a_hundred_thousand_parameters_are_refused,
    endless_headers_are_cut_off,
    a_slow_client_is_cut_off,
    too_many_multipart_parts_are_refused,
]];

/// Memory may grow by this much while a limit is tried many times over.
const MEMORY_GROWTH_KIB_MAX: u64 = 64 * 1024;

/// The server does its usual work, and quickly.
async fn expect_unhurt(server: &Server) {
    let client = server.service_client().await;
    let start = Instant::now();
    server.service_token(&client).await;
    assert!(start.elapsed() < Duration::from_secs(5), "a token took {:?}", start.elapsed());
    assert!(!server.log().contains("panicked"), "a panic; see {}", server.site().directory().display());
}

/// Runs `attack` twenty times; the server's memory must not follow.
async fn expect_flat_memory(server: &Server, attack: impl AsyncFn()) {
    attack().await;
    let before = server.memory_kib();
    for _ in 0..20 {
        attack().await;
    }
    let after = server.memory_kib();
    assert!(after < before + MEMORY_GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
    expect_unhurt(server).await;
}

/// A refusal in the range of the client's own faults, or a connection closed while we were still sending.
async fn expect_refused(server: &Server, path: &str, content_type: &str, body: Vec<u8>, statuses: &[u16]) {
    let sent = server.post(path).body(content_type, body).try_send().await;
    if let Ok(answer) = sent {
        assert!(statuses.contains(&answer.status), "{path}: {answer}");
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn a_body_of_ten_megabytes_is_refused(store: Store) {
    // RFC 9110 15.5.14; setting `http.body_bytes`.
    let server = Server::start(store, &[]).await;
    expect_flat_memory(&server, async || {
        for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/authorize", "/login"] {
            let body = format!("grant_type=password&password={}", "x".repeat(10 << 20)).into_bytes();
            expect_refused(&server, path, FORM, body, &[413]).await;
        }
    })
    .await;
}

async fn a_body_without_announced_length_is_limited_too(store: Store) {
    // RFC 9112 7.1: a chunked body has no length until it has ended.
    let server = Server::start(store, &[]).await;
    expect_flat_memory(&server, async || {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
        let head = format!("POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n");
        stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.expect("written");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let mut sent = 0;
        // The server may close at any point; ten megabytes are never taken in full.
        while sent < 160 && stream.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 1;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
    })
    .await;
}

async fn a_hundred_thousand_parameters_are_refused(store: Store) {
    // Setting `http.parameters`.
    let server = Server::start(store, &[("HTTP_BODY_BYTES", "1048576"), ("HTTP_HEADER_BYTES", "262144")]).await;
    let many: String = (0..100_000).map(|number| format!("p{number}=1&")).collect();
    let few: String = (0..2000).map(|number| format!("p{number}=1&")).collect();
    expect_flat_memory(&server, async || {
        for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/authorize", "/login"] {
            for body in [&many, &few] {
                expect_refused(&server, path, FORM, body.clone().into_bytes(), &[400, 413]).await;
            }
        }
        let answer = server.get(&format!("/oauth/authorize?{few}")).send().await;
        assert!(matches!(answer.status, 400 | 414 | 431), "{answer}");
    })
    .await;
}

async fn too_many_multipart_parts_are_refused(store: Store) {
    // Setting `http.parameters`, for curl's -F as well.
    let server = Server::start(store, &[("HTTP_BODY_BYTES", "1048576")]).await;
    let part = "--XX\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n";
    let body = format!("{}--XX--\r\n", part.repeat(10_000)).into_bytes();
    let large =
        format!("--XX\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{}\r\n--XX--\r\n", "x".repeat(10 << 20));
    expect_flat_memory(&server, async || {
        let multipart = "multipart/form-data; boundary=XX";
        expect_refused(&server, "/oauth/token", multipart, body.clone(), &[400, 413]).await;
        expect_refused(&server, "/oauth/token", multipart, large.clone().into_bytes(), &[413]).await;
    })
    .await;
}

async fn endless_headers_are_cut_off(store: Store) {
    // RFC 6585 5; settings `http.header_bytes` and `http.headers`.
    let server = Server::start(store, &[]).await;
    expect_flat_memory(&server, async || {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n").await.expect("written");
        let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
        let mut sent = 0;
        while sent < 10_000 && stream.write_all(line.as_bytes()).await.is_ok() {
            sent += 1;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
        assert!(sent < 10_000, "ten megabytes of headers were read");
    })
    .await;
    let mut request = server.get("/health/live");
    for number in 0..300 {
        request = request.header(&format!("x-filler-{number}"), "1");
    }
    if let Ok(answer) = request.try_send().await {
        assert_eq!(answer.status, 431, "{answer}");
    }
    let long = server.get(&format!("/health/live?{}", "x".repeat(300_000))).try_send().await;
    assert!(long.is_err() || long.is_ok_and(|answer| matches!(answer.status, 414 | 431)));
}

async fn a_slow_client_is_cut_off(store: Store) {
    // Settings `http.header_read_timeout_seconds` and `http.request_timeout_seconds`.
    let settings = [("HTTP_HEADER_READ_TIMEOUT_SECONDS", "1"), ("HTTP_REQUEST_TIMEOUT_SECONDS", "2")];
    let server = Server::start(store, &settings).await;
    let head = format!("POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n");
    let begun = [head.clone(), format!("{head}\r\ngrant_type="), String::new()];
    let mut streams = Vec::new();
    for start in begun.iter().cycle().take(60) {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
        stream.write_all(start.as_bytes()).await.expect("written");
        streams.push(stream);
    }
    expect_unhurt(&server).await;
    for mut stream in streams {
        let mut answer = Vec::new();
        let end = tokio::time::timeout(poll::PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "a connection on which nothing comes is still open");
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    expect_unhurt(&server).await;
}
