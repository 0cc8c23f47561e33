//! What can be asked of a client.

use super::{Author, ClientMetadata};
use crate::ids::UserId;
use crate::{Scope, SecretHash, Timestamp};

#[derive(Clone, Debug)]
pub enum ClientCommand {
    /// RFC 7591 3.1. A secret goes with every method but `none`.
    Register {
        metadata: ClientMetadata,
        secret: Option<SecretHash>,
        owner: Option<UserId>,
        /// For a client that registers itself (RFC 7592 3).
        registration_access_token: Option<SecretHash>,
        /// The widest scope that it may have; absent: any.
        widest: Option<Scope>,
        by: Author,
        at: Timestamp,
    },
    /// Replaces the metadata. `secret` is for a client that had none and becomes confidential, or that begins to sign with
    /// one. With `vouch`, an operator answers for what it is then.
    Update {
        metadata: ClientMetadata,
        secret: Option<SecretHash>,
        vouch: bool,
        /// The widest scope that it may have, beside what it has already; absent: any.
        widest: Option<Scope>,
        by: Author,
        at: Timestamp,
    },
    RotateSecret {
        secret: SecretHash,
        by: Author,
        at: Timestamp,
    },
    Disable {
        by: Author,
        at: Timestamp,
    },
    Enable {
        by: Author,
        at: Timestamp,
    },
    Delete {
        by: Author,
        at: Timestamp,
    },
}
