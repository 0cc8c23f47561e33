//! A server of a client that does what servers should not.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that reads one request of each connection, answers with `answer` (the connection stays open when it is cut
/// short), and counts.
async fn server(answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            open.push(stream);
        }
    });
    (address, asked)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn settings(timeout: Duration) -> RemoteSettings {
    RemoteSettings { allow_private: true, authorities: Vec::new(), timeout, concurrent: 4 }
}

fn remote(reach: Reach) -> Remote {
    Remote::new(settings(Duration::from_secs(20)), reach)
}

/// The same with a name server that says of every name that it is this machine.
fn everything_is_here(reach: Reach) -> Remote {
    Remote::resolving(settings(Duration::from_secs(20)), reach, |_| Ok(vec![IpAddr::from([127, 0, 0, 1])]))
}

#[tokio::test]
async fn a_document_is_read_up_to_its_bound() {
    let (address, _) = server(ok("{\"keys\":[]}")).await;
    let url = format!("http://{address}/jwks");
    assert_eq!(remote(Reach::Loopback).fetch(&url, 11).await.expect("a document"), "{\"keys\":[]}");
    assert!(matches!(remote(Reach::Loopback).fetch(&url, 10).await, Err(FetchError::TooLarge(10))));
    // The same when the length is not said before.
    let chunk = "x".repeat(1000);
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{chunk}\r\n3e8\r\n{chunk}\r\n");
    let (address, _) = server(chunked).await;
    let fetched = remote(Reach::Loopback).fetch(&format!("http://{address}/"), 1500).await;
    assert!(matches!(fetched, Err(FetchError::TooLarge(1500))), "{fetched:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, asked) = server(ok("secret")).await;
    let moved = format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let (address, _) = server(moved).await;
    let remote = remote(Reach::Loopback);
    let url = format!("http://{address}/");
    assert!(matches!(remote.fetch(&url, 100).await, Err(FetchError::Status(StatusCode::FOUND))));
    assert_eq!(remote.post_form(&url, "a=b".into()).await.expect("an answer"), StatusCode::FOUND);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_does_not_answer_is_given_up() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"] {
        let (address, _) = server(answer.to_owned()).await;
        let remote = Remote::new(settings(Duration::from_millis(300)), Reach::Loopback);
        let fetched = remote.fetch(&format!("http://{address}/"), 100).await;
        assert!(matches!(fetched, Err(FetchError::TimedOut)), "{fetched:?}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_not_connected_to() {
    let (address, asked) = server(ok("secret")).await;
    let port = address.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "0.0.0.0", "10.0.0.1"]
    {
        for reach in [Reach::Public, Reach::Loopback] {
            let fetched = remote(reach).fetch(&format!("https://{host}:{port}/"), 100).await;
            let here = reach == Reach::Loopback && !matches!(host, "0.0.0.0" | "10.0.0.1");
            assert_eq!(matches!(fetched, Err(FetchError::Address)), !here, "{host} {reach:?} {fetched:?}");
        }
    }
    let before = asked.load(Ordering::SeqCst);
    // A name that leads here.
    let fetched = everything_is_here(Reach::Public).fetch(&format!("https://client.example:{port}/"), 100).await;
    assert!(matches!(fetched, Err(FetchError::Address)), "{fetched:?}");
    let posted =
        everything_is_here(Reach::Public).post_form(&format!("https://client.example:{port}/"), String::new()).await;
    assert!(matches!(posted, Err(FetchError::Address)), "{posted:?}");
    assert_eq!(asked.load(Ordering::SeqCst), before);
}

#[test]
fn only_https_is_asked_and_http_on_this_machine_where_that_is_allowed() {
    for url in ["http://client.example/", "http://10.0.0.1/", "ftp://client.example/", "file:///etc/passwd", "x", ""] {
        assert!(matches!(remote(Reach::Private).check(url), Err(FetchError::Url)), "{url}");
    }
    for url in ["https://user@client.example/", "https://user:password@client.example/"] {
        assert!(matches!(remote(Reach::Private).check(url), Err(FetchError::Url)), "{url}");
    }
    assert!(matches!(remote(Reach::Public).check("http://127.0.0.1/"), Err(FetchError::Url)));
    let long = format!("https://client.example/{}", "x".repeat(URL_BYTES_MAX));
    assert!(matches!(remote(Reach::Public).check(&long), Err(FetchError::Url)));
    assert!(remote(Reach::Public).check("https://client.example/jwks").is_ok());
    assert!(remote(Reach::Loopback).check("http://localhost:1/").is_ok());
}
