//! The database as commands use it: opened, up to date, with the secrets that belong to it.

use grantlog_domain::Actor;
use uuid::Uuid;

use super::CliError;
use crate::clock::Clock;
use crate::config::Settings;
use crate::entropy::Entropy;
use crate::secrets::Secrets;
use crate::store::{CommandContext, Store};

pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) secrets: Secrets,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
}
