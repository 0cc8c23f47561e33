//! OpenID Connect on top of OAuth: what it adds, and no second path beside it.
//!
//! - `request`: the parameters of an authentication request; `id_token`: what comes of it; `hint`: ID tokens that come back;
//!   `own_token`: any JSON Web Token of this server that comes back
//! - `logout`: the endpoint that signs people out; `backchannel`, `frontchannel`, `check_session`: how clients hear of it;
//!   `sid`: what they know a session by
//! - `claims`: what can be said of a user, and which scope opens what; `claims_request`: what a request names one by one;
//!   `subject`: under which identifier a client knows a user
//! - `client_jwt`: what clients sign; `client_keys`: the keys that they sign with
//! - `remote`: documents of clients, fetched with bounds; `sector`: the one that a client is held against when it registers
//! - `keys`: the life of signing keys; `signing`: JSON Web Tokens signed with them
//!
//! Not here: the endpoints that both have (`oauth`), the pages (`pages`), the rules (the domain crate).

pub mod backchannel;
pub mod check_session;
pub mod claims;
pub mod claims_request;
pub mod client_jwt;
pub mod client_keys;
pub mod frontchannel;
pub mod held_keys;
pub mod hint;
pub mod id_token;
pub mod keys;
pub mod logout;
pub mod own_token;
pub mod remote;
pub mod request;
pub mod sector;
pub mod sid;
pub mod signing;
pub mod subject;
