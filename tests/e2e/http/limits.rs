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
    each_caller_hears_of_a_limit_in_his_own_form,
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
        let head = format!("POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n");
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
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n").await.expect("written");
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
    let head =
        format!("POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n");
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

/// The answer to a request that is sent as it stands, and never ended.
async fn answer_to(server: &Server, sent: String) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
    stream.write_all(sent.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn each_caller_hears_of_a_limit_in_his_own_form(store: Store) {
    // RFC 6749 5.2, RFC 7591 3.2.2: JSON for clients; a text for people.
    let settings = [("HTTP_REQUEST_TIMEOUT_SECONDS", "1"), ("HTTP_HEADERS", "16"), ("REGISTRATION_MODE", "open")];
    let server = Server::start(store, &settings).await;
    let head = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n");
    let headers: String = (0..20).map(|number| format!("x-filler-{number}: 1\r\n")).collect();
    let large = |path: &str| format!("{}Content-Length: 70000\r\n\r\n", head(path));
    let many = |path: &str| format!("{}{headers}Content-Length: 0\r\nConnection: close\r\n\r\n", head(path));
    let slow = |path: &str| format!("{}Content-Length: 10\r\n\r\ngr", head(path));
    for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
        for (sent, status, error) in [
            (large(path), "413", "invalid_request"),
            (many(path), "431", "invalid_request"),
            (slow(path), "503", "temporarily_unavailable"),
        ] {
            let answer = answer_to(&server, sent).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
            assert!(answer.contains("\r\ncontent-type: application/json\r\n"), "{path}: {answer}");
            assert!(answer.contains("cache-control: no-store"), "{path}: {answer}");
            assert!(answer.contains(&format!("{{\"error\":\"{error}\"")), "{path}: {answer}");
            assert_eq!(answer.contains("retry-after: 5"), status == "503", "{path}: {answer}");
        }
    }
    let registration = large("/oauth/register").replace(FORM, "application/json");
    let answer = answer_to(&server, registration).await;
    assert!(answer.contains("{\"error\":\"invalid_client_metadata\""), "{answer}");
    for path in ["/oauth/authorize", "/login"] {
        for (sent, status) in [(large(path), "413"), (many(path), "431"), (slow(path), "503")] {
            let answer = answer_to(&server, sent).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
            assert!(answer.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{path}: {answer}");
        }
    }
}
