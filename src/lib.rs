//! Grantlog: an OAuth 2.0 authorization server whose database is its audit trail.
pub mod config;
