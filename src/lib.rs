//! Grantlog: an OAuth 2.0 authorization server whose database is its audit trail.

#![deny(unsafe_code)]

pub mod app;
pub mod background;
pub mod cli;
pub mod client_fields;
pub mod clock;
pub mod config;
pub mod consequences;
pub mod demo;
pub mod entropy;
pub mod http;
pub mod logging;
pub mod oauth;
pub mod oidc;
pub mod pages;
pub mod peppers;
pub mod resource;
pub mod routes;
pub mod secrets;
pub mod serve;
pub mod sign_in;
pub mod standing;
pub mod store;
pub mod unused_clients;
pub mod upgrading;
