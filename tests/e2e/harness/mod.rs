//! What the cases stand on: servers, clients and users, an HTTP client, a browser stand-in, and the secrets' register.
//!
//! Black box: nothing here knows the server's code. The binary is started as an operator would start it, set up through
//! its command line, and asked over HTTP.

pub mod assertion;
pub mod browser;
pub mod command;
pub mod documents;
pub mod flow;
pub mod html;
pub mod http;
pub mod log;
pub mod poll;
pub mod postgres;
pub mod secrets;
pub mod server;
pub mod signer;
pub mod site;
pub mod suite;
pub mod tls;

pub use browser::Browser;
pub use command::{Client, User};
pub use documents::Documents;
pub use flow::{Pkce, Tokens};
pub use http::Answer;
pub use server::Server;
pub use signer::Signer;
pub use site::{Site, Store};

/// The redirect URI that most clients here register. Nothing answers there: the cases read the redirect instead.
pub const CALLBACK: &str = "https://client.example/callback";

/// `bytes` random bytes in base64url: state values, verifiers, passwords, names.
pub fn random(bytes: usize) -> String {
    use base64::Engine;
    let mut buffer = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut buffer).expect("the system has randomness");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(buffer)
}
