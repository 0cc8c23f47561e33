//! Identifiers of the aggregates. All but `KeyId` are UUIDs (version 7 when Grantlog made them).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! newtype_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.0.as_hyphenated(), out)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Accepts only the hyphenated form, so that one identifier has one spelling on the wire.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text.len() {
                    36 => Uuid::try_parse(text).map(Self),
                    _ => Uuid::try_parse("").map(Self),
                }
            }
        }
    };
}

newtype_id!(
    /// `client_id` (RFC 6749 2.2).
    ClientId
);
newtype_id!(
    /// The subject: who a token speaks for (`sub`).
    UserId
);
newtype_id!(
    /// One signed-in browser.
    SessionId
);
newtype_id!(
    /// One authorization and everything issued from it.
    GrantId
);

/// `kid` of a signing key (RFC 7517 4.5): 1 to 64 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
