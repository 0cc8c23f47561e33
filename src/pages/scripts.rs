//! Scripts: on three pages, each named in the policy of its page by its hash, so that nothing else runs.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Goes on when every frame of the page has loaded, or when that takes too long.
pub const CONTINUE: &str = include_str!("assets/continue.js");
/// Answers pages of clients (OpenID Connect Session Management 3.2).
pub const CHECK_SESSION: &str = include_str!("assets/check_session.js");

/// The source expression of a script that stands in a page (CSP Level 3, 2.3.1).
pub fn script_source(script: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, script.as_bytes())))
}
