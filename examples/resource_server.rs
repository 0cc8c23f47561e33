//! An API that is protected by Grantlog, in a process of its own (RFC 6749 7, RFC 6750, RFC 7662).
//!
//! Start a server in one terminal:
//!
//!     cargo run --release -- serve --demo
//!
//! It prints the id and the secret of a demo client. Start this API in another, with these, which is enough for tokens of
//! that client (a real API has a client of its own, made with `grantlog client create --kind api`, and is told of all):
//!
//!     cargo run --example resource_server -- http://127.0.0.1:5000/oauth/introspect CLIENT_ID CLIENT_SECRET
//!
//! Get a token with the curl line that the server printed, and use it:
//!
//!     curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:5001/hello
//!     curl -i http://127.0.0.1:5001/hello
//!
//! The first greets the user; the second is refused with a `WWW-Authenticate` that names the scope. When the token is
//! revoked, or its user or client disabled, this API sees it at most `max_age` later.

use std::net::SocketAddr;
use std::time::Duration;

use grantlog::resource::{Authorized, Remote, RemoteSettings, ResourceServer, refusal};
use warp::Filter;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5001);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, client_id, client_secret] = arguments.as_slice() else {
        return Err("usage: resource_server INTROSPECTION_ENDPOINT CLIENT_ID CLIENT_SECRET".into());
    };
    let settings = RemoteSettings {
        // A revoked token is let in for at most two seconds more; longer is faster, shorter is safer.
        max_age: Duration::from_secs(2),
        ..RemoteSettings::new(endpoint, client_id, client_secret)
    };
    let api = ResourceServer::remote(Remote::new(settings)?);

    let hello = warp::path!("hello").and(api.require_oauth("profile")).map(hello);
    // `recover` once, behind all routes: it answers those who were not let through.
    let routes = warp::get().and(hello).recover(refusal);

    println!("listening on http://{LISTEN}");
    warp::serve(routes).run(LISTEN).await;
    Ok(())
}

fn hello(caller: Authorized) -> String {
    match (caller.user(), &caller.username) {
        (Some(_), Some(username)) => format!("hello {username}\n"),
        (Some(user), None) => format!("hello user {user}\n"),
        (None, _) => format!("hello service {}\n", caller.client_id),
    }
}
