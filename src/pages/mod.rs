//! Pages.
pub mod account;
pub mod assets;
pub mod chrome;
pub mod client;
pub mod client_form;
pub mod consent;
pub mod cookies;
pub mod create_client;
pub mod csrf;
pub mod demo;
pub mod form_action;
pub mod home;
pub mod login;
pub mod logout;
pub mod moment;
pub mod next;
#[cfg(test)]
mod samples;
pub mod scopes;
pub mod words;
