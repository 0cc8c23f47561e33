//! Bad forms and queries: a clear 4xx, never a crash, and other requests unhurt.

use crate::harness::{
    Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    wrong_percent_encoding_is_refused,
    a_nul_character_is_refused,
    invalid_utf8_is_refused,
    a_body_that_is_no_form_is_refused,
    a_wrong_query_is_answered_on_a_page,
    a_body_shorter_than_announced_does_not_hang,
    an_unknown_path_is_404,
]];

/// Where forms are taken.
const ENDPOINTS: &[&str] = &["/oauth/token", "/oauth/revoke", "/oauth/introspect"];

async fn expect_refused(server: &Server, bodies: &[&[u8]]) {
    let client = server.service_client().await;
    for endpoint in ENDPOINTS {
        for body in bodies {
            let request = server.post(endpoint).basic(&client.id, &client.secret).raw_form(*body);
            let answer = request.send().await;
            assert_eq!(answer.status, 400, "{endpoint} {:?}: {answer}", String::from_utf8_lossy(body));
            assert_eq!(answer.json()["error"], "invalid_request", "{endpoint}: {answer}");
        }
    }
    server.service_token(&client).await;
}

async fn wrong_percent_encoding_is_refused(server: Server) {
    // RFC 6749 appendix B, RFC 3986 2.1: a percent sign is followed by two hexadecimal digits.
    expect_refused(
        &server,
        &[
            b"grant_type=client_credentials&token=%",
            b"grant_type=client_credentials&token=%4",
            b"grant_type=client_credentials&token=%zz",
            b"grant_type=client_credentials&token=a%g1b",
            b"%zz=1&grant_type=client_credentials&token=x",
        ],
    )
    .await;
}

async fn a_nul_character_is_refused(server: Server) {
    // No parameter of RFC 6749 may hold one (appendix A), and PostgreSQL's text cannot.
    expect_refused(
        &server,
        &[
            b"grant_type=client_credentials&token=x&scope=read%00",
            b"grant_type=client_credentials&token=x%00",
            b"grant_type=client_credentials&token=x&other%00=1",
        ],
    )
    .await;
}

async fn invalid_utf8_is_refused(server: Server) {
    // RFC 6749 appendix B: values are UTF-8 before they are encoded.
    expect_refused(
        &server,
        &[
            b"grant_type=client_credentials&token=%ff",
            b"grant_type=client_credentials&token=%c3%28",
            b"grant_type=client_credentials&token=%ed%a0%80",
            b"grant_type=client_credentials&token=\xff\xfe",
        ],
    )
    .await;
}

async fn a_body_that_is_no_form_is_refused(server: Server) {
    // RFC 6749 3.2.
    expect_refused(&server, &[b"", b"&&&&", b"=", b"===", b"\n", b"{}", b"grant_type", b"\x1f\x8b\x08\x00"]).await;
}

async fn a_wrong_query_is_answered_on_a_page(server: Server) {
    // RFC 6749 4.1.2.1: what cannot be read cannot be redirected.
    let client = server.web_client().await;
    let start = format!("/oauth/authorize?response_type=code&client_id={}&redirect_uri=", client.id);
    for end in ["%", "%zz", "%ff", "%00", "https%3A%2F%2Fclient.example%2Fcallback%00", "%c3%28"] {
        let answer = server.get(&format!("{start}{end}")).send().await;
        assert_eq!(answer.header("location"), None, "{end}: {answer}");
        answer.expect_client_error();
    }
    for query in ["%", "?", "&", "=", "client_id=%00", "client_id=%ff", "client_id[]=x", "a=%u0041"] {
        server.get(&format!("/oauth/authorize?{query}")).send().await.expect_client_error();
    }
}

async fn a_body_shorter_than_announced_does_not_hang(server: Server) {
    // RFC 9112 6.3: the message is incomplete.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
    let head = "POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}Content-Length: 1000\r\n\r\ngrant_type=password");
    stream.write_all(request.as_bytes()).await.expect("written");
    stream.shutdown().await.expect("our half is closed");
    let mut answer = Vec::new();
    // An answer or none, but an end.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2") && !answer.starts_with(b"HTTP/1.1 5"), "{answer:?}");
}

async fn an_unknown_path_is_404(server: Server) {
    // RFC 9110 15.5.5.
    for path in ["/oauth/nothing", "/nothing", "/.env", "/oauth/token/x", "/%00", "/%ff", "/..%2f..%2fetc/passwd"] {
        let answer = server.get(path).send().await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer}");
    }
}
