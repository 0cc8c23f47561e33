//! The protocol endpoints of OAuth 2.0 and its extensions.
//!
//! - `endpoints`: the one table of them, from which come the routes and the metadata
//! - `authorize`: RFC 6749 3.1, with `authorization_request` (what it asks), `request_object` (the same, signed) and
//!   `authorization_response` (the way back)
//! - `token`: RFC 6749 3.2, one file per grant type
//! - `revoke`, `introspect`, `metadata`, `jwks`, `userinfo`, `register`: one endpoint each
//! - `error`: every error code and status
//! - `posted`: the request of the endpoints that take a form; `active_token`, `profiles`, `scopes`: what several of them ask
//!
//! Not here: client authentication, bearer tokens and forms (`http`), pages (`pages`), rules (the domain crate). Places
//! for what comes later: `par` (RFC 9126), `device` (RFC 8628).

pub mod active_token;
pub mod authorization_request;
pub mod authorization_response;
pub mod authorize;
pub mod endpoints;
pub mod error;
pub mod introspect;
pub mod jwks;
pub mod jwt_access_token;
pub mod metadata;
pub mod posted;
pub mod profiles;
pub mod register;
pub mod request_object;
pub mod revoke;
pub mod scopes;
pub mod shown;
pub mod token;
pub mod userinfo;
