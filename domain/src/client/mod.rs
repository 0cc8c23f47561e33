//! A client: an application that may ask for tokens (RFC 6749 2), with the metadata of RFC 7591 2.

mod author;
mod command;
mod decide;
mod error;
mod event;
mod jwk_set;
mod limits;
mod metadata;
mod openid;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use author::Author;
pub use command::ClientCommand;
pub use error::ClientError;
pub use event::ClientEvent;
pub use jwk_set::JwkSet;
pub use limits::{Ceiling, check as check_limits};
pub use metadata::{
    AccessTokenFormat, ApplicationType, CLIENT_NAME_CHARS_MAX, ClientMetadata, GrantType, JwsAlgorithm,
    REDIRECT_URIS_MAX, ResponseType, SubjectType, TokenEndpointAuthMethod,
};
pub use openid::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, OpenIdMetadata};

use crate::SecretHash;
use crate::ids::UserId;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Client {
    stage: Stage,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Absent,
    Enabled(Box<Registration>),
    /// And who did it.
    Disabled(Box<Registration>, Author),
    Deleted,
}

/// What a client registered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    pub metadata: ClientMetadata,
    /// Absent for public clients.
    pub secret: Option<SecretHash>,
    /// Who made it in the browser; absent when an operator did.
    pub owner: Option<UserId>,
    /// Of a client that registered itself.
    pub registration_access_token: Option<SecretHash>,
    pub author: Author,
    /// An operator answered for it later, and nobody else has changed it since.
    pub vouched: bool,
    pub ceiling: Ceiling,
}

impl Registration {
    /// Whether an operator answers for the client: made it, let it in, or looked at it as it is now.
    #[must_use]
    pub const fn is_vouched(&self) -> bool {
        self.author.vouches() || self.vouched
    }
}

impl Client {
    #[must_use]
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The registration, unless there is none or it was deleted.
    #[must_use]
    pub fn registration(&self) -> Option<&Registration> {
        match &self.stage {
            Stage::Enabled(registration) | Stage::Disabled(registration, _) => Some(registration),
            Stage::Absent | Stage::Deleted => None,
        }
    }

    fn remember(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Registered { metadata, secret, owner, registration_access_token, by, .. } => {
                let author = Author::of_registration(by, owner.is_some(), registration_access_token.is_some());
                let (vouched, ceiling) = (false, Ceiling::default());
                let registration =
                    Registration { metadata, secret, owner, registration_access_token, author, vouched, ceiling };
                self.stage = Stage::Enabled(Box::new(registration));
            }
            ClientEvent::Updated { metadata, vouched, by, .. } => {
                if let Some(registration) = self.registration_mut() {
                    if Author::of_change(by) == Author::Operator {
                        registration.ceiling.set(&registration.metadata, &metadata, vouched);
                    }
                    registration.metadata = metadata;
                    registration.vouched = vouch(vouched, by).unwrap_or(registration.vouched);
                }
            }
            ClientEvent::SecretRotated { secret, .. } => {
                if let Some(registration) = self.registration_mut() {
                    registration.secret = Some(secret);
                }
            }
            ClientEvent::Disabled { by, .. } => {
                if let Stage::Enabled(registration) | Stage::Disabled(registration, _) = std::mem::take(&mut self.stage)
                {
                    self.stage = Stage::Disabled(registration, Author::of_change(by));
                }
            }
            ClientEvent::Enabled { .. } => {
                if let Stage::Disabled(registration, _) = std::mem::take(&mut self.stage) {
                    self.stage = Stage::Enabled(registration);
                }
            }
            ClientEvent::Deleted { .. } => self.stage = Stage::Deleted,
        }
    }

    fn registration_mut(&mut self) -> Option<&mut Registration> {
        match &mut self.stage {
            Stage::Enabled(registration) | Stage::Disabled(registration, _) => Some(registration),
            Stage::Absent | Stage::Deleted => None,
        }
    }
}

/// Whether a change begins or ends that an operator answers for a client; `None` when it does neither.
#[must_use]
pub fn vouch(vouched: bool, by: Option<Author>) -> Option<bool> {
    if vouched { Some(true) } else { (Author::of_change(by) != Author::Operator).then_some(false) }
}

crate::drive_by_decide!(Client, "client", ClientCommand, ClientEvent, ClientError);
