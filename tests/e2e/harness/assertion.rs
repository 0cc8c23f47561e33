//! What a client signs to prove who it is: RFC 7523 2.2 and 3.

use serde_json::{Value, json};

use super::{Client, Server, poll::now, random, secrets};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Claims of a good assertion.
pub fn claims(server: &Server, client: &Client) -> Value {
    json!({
        "iss": client.id, "sub": client.id, "aud": server.base(), "jti": random(16), "iat": now(), "exp": now() + 60,
    })
}

/// The parameters with that assertion (RFC 7521 4.2).
pub fn parameters(assertion: &str) -> [(&'static str, &str); 2] {
    secrets::register(assertion.rsplit('.').next().unwrap_or_default());
    [("client_assertion_type", TYPE), ("client_assertion", assertion)]
}
