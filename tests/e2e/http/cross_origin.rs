//! Pages of other origins: which answers they may read (Fetch 3.3, OpenID Connect Core 5.3). In a real browser:
//! `browser::cross_origin`.

use crate::harness::{
    Answer, Server,
    http::Request,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    pages_of_every_origin_ask_what_clients_ask,
    pages_of_every_origin_read_why_they_were_refused,
    no_page_of_others_reads_what_is_for_people_and_for_servers,
]];

const ORIGIN: &str = "https://page.example";

fn from_a_page(request: Request) -> Request {
    request.header("origin", ORIGIN)
}

/// A browser that asks whether a page may.
fn preflight(server: &Server, path: &str, method: &str) -> Request {
    from_a_page(server.request("OPTIONS", path))
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type")
}

/// The words of a list in a header.
fn words(answer: &Answer, name: &str) -> Vec<String> {
    let list = answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer}"));
    list.split(',').map(|word| word.trim().to_ascii_lowercase()).collect()
}

#[track_caller]
fn expect_open(answer: Answer) -> Answer {
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer}");
    // With it browsers would send cookies.
    assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer}");
    answer
}

async fn pages_of_every_origin_ask_what_clients_ask(server: Server) {
    for (path, methods) in [
        ("/oauth/token", &["POST"][..]),
        ("/oauth/revoke", &["POST"]),
        ("/oauth/userinfo", &["GET", "POST"]),
        ("/api/me", &["GET", "POST"]),
        ("/oauth/jwks", &["GET"]),
        ("/.well-known/openid-configuration", &["GET"]),
        ("/.well-known/oauth-authorization-server", &["GET"]),
    ] {
        for method in methods {
            let answer = expect_open(preflight(&server, path, method).send().await.expect(204));
            assert!(words(&answer, "access-control-allow-methods").contains(&method.to_ascii_lowercase()), "{answer}");
            let headers = words(&answer, "access-control-allow-headers");
            assert!(["authorization", "content-type"].iter().all(|name| headers.contains(&(*name).to_owned())));
        }
    }
    let (client, user) = (server.public_client().await, server.user().await);
    let tokens = server.tokens(&client, &user).await;
    for path in ["/oauth/userinfo", "/api/me"] {
        expect_open(from_a_page(server.get(path)).bearer(&tokens.access).send().await.expect(200));
    }
    let form = [("client_id", client.id.as_str()), ("token", tokens.access.as_str())];
    expect_open(from_a_page(server.post("/oauth/revoke")).form(&form).send().await.expect(200));
}

async fn pages_of_every_origin_read_why_they_were_refused(server: Server) {
    let refused = expect_open(from_a_page(server.get("/oauth/userinfo")).bearer("none").send().await.expect(401));
    assert!(words(&refused, "access-control-expose-headers").contains(&"www-authenticate".to_owned()), "{refused}");
    expect_open(from_a_page(server.post("/oauth/token")).form(&[]).send().await.expect_error(401, "invalid_client"));
    expect_open(from_a_page(server.request("DELETE", "/oauth/userinfo")).send().await.expect(405));
    // Before the endpoint is asked.
    let large = from_a_page(server.post("/oauth/token")).raw_form("x".repeat(70_000)).send().await;
    expect_open(large.expect_error(413, "invalid_request"));
}

async fn no_page_of_others_reads_what_is_for_people_and_for_servers(server: Server) {
    for path in [
        "/oauth/authorize",
        "/oauth/logout",
        "/oauth/check_session",
        "/oauth/introspect",
        "/oauth/register",
        "/",
        "/login",
        "/account",
        "/metrics",
        "/nothing",
    ] {
        let asked = preflight(&server, path, "GET").send().await.expect_client_error();
        let read = from_a_page(server.get(path)).send().await;
        for answer in [asked, read] {
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer}");
        }
    }
}
