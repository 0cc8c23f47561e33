//! The pages, as a browser without JavaScript sees them.

pub mod account;
pub mod accounts;
pub mod clients;
pub mod consent;
pub mod forms;
pub mod headers;
pub mod sign_in;
pub mod tabs;
