//! The HTTP side that belongs to no single endpoint.
//!
//! - `server`: sockets, connection limits, graceful stop; `per_address`: connections by address; `tls`: the certificate
//! - `open_files`: the system's limit that connections run into
//! - `head_timer`: the deadline for the head of a request
//! - `lately`: how much an address may ask of what is for everybody
//! - `routes`: all routes of a listener as one service; `failure`: how one hears that there is no answer
//! - `hosts`: whom a server on this machine alone is asked as; `mount`: the path of the issuer
//! - `request`: what happens around every request: id, deadline, body limit, panic, metrics, log
//! - `request_id`: the id of a request and the address of its caller
//! - `metrics`, `health`: `/metrics`, `/health/live`, `/health/ready`; `operations`: who reads them
//! - `security_headers`: headers of every page; `cross_origin`: those of answers that pages of others may read
//! - `form`: parameters of queries and bodies
//! - `bearer`, `client_auth`: whose request it is

pub mod bearer;
pub mod client_assertion;
pub mod client_auth;
pub mod cross_origin;
pub mod failure;
pub mod form;
pub mod head_timer;
pub mod health;
mod hosts;
pub mod lately;
pub mod metrics;
mod mount;
pub mod open_files;
pub mod operations;
pub mod per_address;
pub mod request;
pub mod request_id;
pub mod routes;
pub mod security_headers;
pub mod server;
#[cfg(test)]
mod server_tests;
mod tls;
