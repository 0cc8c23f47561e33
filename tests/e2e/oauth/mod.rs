//! The protocol endpoints; the modules mirror `src/oauth`.

pub mod authorize;
pub mod consent;
pub mod implicit;
pub mod introspect;
pub mod jwt_access_token;
pub mod metadata;
pub mod open_redirect;
pub mod pkce;
pub mod prompt;
pub mod redirect_uri;
pub mod revoke;
pub mod scope;
pub mod token;
pub mod userinfo;
