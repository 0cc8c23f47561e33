//! The modules of the OpenID Foundation's conformance suite for providers, one case each, named as the module is.
//! `docs/conformance.md` lists all of them, with those that are not here yet. Not the suite itself: these cases ask what its
//! modules ask, of the real binary.

pub mod backchannel;
pub mod claims;
pub mod codes;
pub mod config;
pub mod core;
pub mod dynamic;
pub mod frontchannel;
pub mod key_rotation;
pub mod logout;
pub mod parameters;
pub mod receiver;
pub mod request_objects;
pub mod rp;
pub mod session;
pub mod subjects;
pub mod tampered;
