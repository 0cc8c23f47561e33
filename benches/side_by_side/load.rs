//! A closed-loop HTTP/1.1 load generator over kept-alive connections. It does as little as it can between two
//! requests, because it shares its cores with the server that it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What one connection sends, and what it makes of the answers.
pub trait Script: Send + 'static {
    /// Writes the next request into `out`; false when there is none left.
    fn next(&mut self, out: &mut Vec<u8>) -> bool;

    /// Whether the answer is the one that was hoped for.
    fn answered(&mut self, answer: &Answer<'_>) -> bool;
}

pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a str,
    pub body: &'a str,
}

/// The same request for ever; 200 is right.
#[derive(Clone)]
pub struct Fixed(pub Vec<u8>);

impl Script for Fixed {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0);
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        answer.status == 200
    }
}

/// Outcome of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub errors: usize,
}

/// Runs one script per connection until `length` has passed or every script is done.
pub async fn run<S: Script>(address: SocketAddr, scripts: Vec<S>, length: Duration) -> Outcome {
    let started = Instant::now();
    let end = started + length;
    let mut connections = JoinSet::new();
    for script in scripts {
        connections.spawn(connection(address, script, end));
    }
    let (mut latencies, mut errors) = (Vec::new(), 0);
    while let Some(done) = connections.join_next().await {
        let (times, failed) = done.expect("a connection of the load generator does not panic");
        latencies.extend(times);
        errors += failed;
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| match latencies.len() {
        0 => Duration::ZERO,
        count => Duration::from_micros(u64::from(latencies[((count - 1) as f64 * share) as usize])),
    };
    Outcome { per_second: (latencies.len() - errors) as f64 / seconds, p50: at(0.5), p99: at(0.99), errors }
}

async fn connection<S: Script>(address: SocketAddr, mut script: S, end: Instant) -> (Vec<u32>, usize) {
    let (mut latencies, mut errors) = (Vec::with_capacity(1 << 16), 0);
    let mut stream = connect(address).await;
    let (mut request, mut buffer) = (Vec::with_capacity(2048), Vec::with_capacity(16 << 10));
    while Instant::now() < end {
        request.clear();
        if !script.next(&mut request) {
            break;
        }
        let sent = Instant::now();
        let right = match exchange(&mut stream, &request, &mut buffer).await {
            Ok(head_end) => script.answered(&parse(&buffer, head_end)),
            Err(_) => {
                stream = connect(address).await;
                false
            }
        };
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        errors += usize::from(!right);
    }
    (latencies, errors)
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server that is measured accepts connections");
    stream.set_nodelay(true).expect("TCP_NODELAY can be set");
    stream
}

/// Sends one request and reads one answer into `buffer`; returns where its body begins.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    stream.write_all(request).await?;
    buffer.clear();
    let (mut head_end, mut whole) = (None, usize::MAX);
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if head_end.is_none() {
            head_end = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
            if let Some(head) = head_end {
                whole = head + content_length(&buffer[..head]);
            }
        }
        if let Some(head) = head_end.filter(|_| buffer.len() >= whole) {
            return Ok(head);
        }
    }
}

/// All servers measured here answer with Content-Length.
fn content_length(head: &[u8]) -> usize {
    header(std::str::from_utf8(head).unwrap_or(""), "content-length").and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The value of a header of an answer.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn parse(buffer: &[u8], head_end: usize) -> Answer<'_> {
    let head = std::str::from_utf8(&buffer[..head_end]).unwrap_or("");
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Answer { status, head, body: std::str::from_utf8(&buffer[head_end..]).unwrap_or("") }
}

/// A GET with headers, each ending in `\r\n`.
pub fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A form POST with headers, each ending in `\r\n`.
pub fn post(path: &str, headers: &str, form: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// One request outside any measurement.
pub async fn once(address: SocketAddr, request: &[u8]) -> (u16, String, String) {
    let (mut stream, mut buffer) = (connect(address).await, Vec::new());
    let head_end = exchange(&mut stream, request, &mut buffer).await.expect("the server that is measured answers");
    let answer = parse(&buffer, head_end);
    (answer.status, answer.head.to_owned(), answer.body.to_owned())
}
