//! What every endpoint shares: client authentication, bearer tokens, forms, limits, operations.

pub mod bearer;
pub mod client_assertion;
pub mod client_auth;
pub mod cross_origin;
pub mod form;
pub mod issuer_path;
pub mod limits;
pub mod observability;
pub mod operations;
pub mod remote_tls;
