//! The pages: plain server-rendered forms that work without JavaScript, one submit each.
//!
//! - `routes`: which path is which page; `visit`: who is at the browser; `failure`: the error page
//! - `sign_in`, `sign_out`, `accounts`, `consent`, `form_post`, `leaving`, `home`, `create_client`, `client`, `account`, `profile`, `demo`: one page (or
//!   a few) each
//! - `chrome`: what is around every page; `assets`: style sheet and logo; `scripts`: the few scripts; `templates/`: the HTML
//! - `csrf`, `cookies`, `next`: the rules that protect a browser, each in one place
//! - `further`: the fields of a client that are folded away; `start_login`: the link that begins a login at a client
//! - `scopes`, `words`, `moment`, `destination`: how scopes, events, times and addresses are said; `settled`: reading one's own writes; `paging`: long
//!   lists
//!
//! Not here: the protocol (`oauth`), the rules (the domain crate). Ids of elements are a stable interface for people
//! who automate a browser.

pub mod account;
pub mod accounts;
pub mod assets;
pub mod chrome;
pub mod client;
pub mod client_form;
#[cfg(test)]
mod client_form_tests;
pub mod consent;
pub mod cookies;
pub mod create_client;
pub mod csrf;
pub mod demo;
pub mod destination;
pub mod failure;
pub mod form_post;
pub mod further;
pub mod home;
pub mod leaving;
pub mod moment;
pub mod next;
pub mod paging;
pub mod profile;
pub mod routes;
pub mod scopes;
pub mod scripts;
pub mod settled;
pub mod sign_in;
pub mod sign_out;
pub mod start_login;
#[cfg(test)]
mod tests;
pub mod visit;
pub mod words;

pub use accounts::accounts_page;
pub use consent::{consent_again_page, consent_page};
pub use failure::error_page;
pub use form_post::form_post_page;
pub use leaving::leaving_page;
pub use routes::routes;
pub use sign_in::sign_in_page;
pub use visit::{SignedIn, accounts, is_csrf_token, kept};
