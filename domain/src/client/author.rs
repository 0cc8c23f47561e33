//! Who acts on a client, and with that who answers for what it may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ClientError;

/// Who registered or changed a client. What an operator set, only an operator lifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The command line, or this server by itself.
    Operator,
    /// Who was given a token to register with (RFC 7591 1.2).
    InitialAccessToken,
    /// Who is signed in.
    User,
    /// Anybody, and who has no more than a registration access token (RFC 7592 2).
    Anonymous,
}

impl Author {
    pub const ALL: &[Self] = &[Self::Operator, Self::InitialAccessToken, Self::User, Self::Anonymous];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::InitialAccessToken => "initial_access_token",
            Self::User => "user",
            Self::Anonymous => "anonymous",
        }
    }

    /// Whether a client that this one registers is one that an operator answers for.
    #[must_use]
    pub const fn vouches(self) -> bool {
        matches!(self, Self::Operator | Self::InitialAccessToken)
    }

    /// Of a registration from before authors were kept: those of the browser had an owner, those over HTTP a token.
    #[must_use]
    pub const fn of_registration(by: Option<Self>, has_owner: bool, has_registration_access_token: bool) -> Self {
        match (by, has_owner, has_registration_access_token) {
            (Some(by), ..) => by,
            (None, true, _) => Self::User,
            (None, false, true) => Self::Anonymous,
            (None, false, false) => Self::Operator,
        }
    }

    /// Of a change from before authors were kept: the one whose doing nobody else can undo.
    #[must_use]
    pub fn of_change(by: Option<Self>) -> Self {
        by.unwrap_or(Self::Operator)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Author {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|author| author.as_str() == text).ok_or(ClientError::UnknownValue)
    }
}
