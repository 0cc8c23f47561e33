//! What every route is handed: the settings, the store, the live models, the secrets and the clock.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use grantlog_domain::{Actor, Timestamp, UserId};
use grantlog_projections::engine::{ProjectorStatus, ProjectorWatch};
use grantlog_projections::live::Live;
use uuid::Uuid;
use warp::Filter;

use crate::clock::Clock;
use crate::config::Settings;
use crate::http::lately::Lately;
use crate::http::request_id::RequestContext;
use crate::oauth::profiles::Profiles;
use crate::oidc::client_keys::ClientKeys;
use crate::oidc::held_keys::HeldKeys;
use crate::oidc::own_token::OwnKeys;
use crate::oidc::remote::{Reach, Remote};
use crate::oidc::signing::Signing;
use crate::secrets::Secrets;
use crate::store::vault::Vault;
use crate::store::{CommandContext, Store};

/// The running server. Clones share it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    inner: AppInner,
    profiles: Profiles,
    signing: Signing,
    remote: Remote,
    client_keys: ClientKeys,
    own_keys: OwnKeys,
    own_clients: Lately<UserId>,
    held_keys: HeldKeys,
    projector: OnceLock<ProjectorWatch>,
}

/// The parts of the running server.
pub struct AppInner {
    pub settings: Settings,
    pub store: Store,
    pub live: Live,
    pub secrets: Secrets,
    pub clock: Clock,
    pub vault: Vault,
}

impl App {
    #[must_use]
    pub fn new(parts: AppInner) -> Self {
        let remote = Remote::new(parts.settings.remote.clone(), Reach::of(&parts.settings));
        let client_keys = ClientKeys::new(parts.clock.clone());
        let (profiles, signing, own_keys) = (Profiles::new(), Signing::new(), OwnKeys::default());
        // As many users as there are can come, so only each of them is bounded.
        let own_clients = Lately::new(parts.settings.clients.per_user_hour, u32::MAX);
        let held_keys = HeldKeys::default();
        let (inner, projector) = (parts, OnceLock::new());
        Self(Arc::new(Shared {
            inner,
            profiles,
            signing,
            remote,
            client_keys,
            own_keys,
            own_clients,
            held_keys,
            projector,
        }))
    }

    /// Personal data, read from the vault a moment ago.
    #[must_use]
    pub fn profiles(&self) -> &Profiles {
        &self.0.profiles
    }

    /// Signs JSON Web Tokens.
    #[must_use]
    pub fn signing(&self) -> &Signing {
        &self.0.signing
    }

    /// Asks servers of clients.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.0.remote
    }

    /// Public keys of clients.
    #[must_use]
    pub fn client_keys(&self) -> &ClientKeys {
        &self.0.client_keys
    }

    /// Public keys of this server, to verify what comes back.
    #[must_use]
    pub fn own_keys(&self) -> &OwnKeys {
        &self.0.own_keys
    }

    /// How many clients each user made or changed lately.
    #[must_use]
    pub fn own_clients(&self) -> &Lately<UserId> {
        &self.0.own_clients
    }

    /// Which keys are this server's.
    #[must_use]
    pub fn held_keys(&self) -> &HeldKeys {
        &self.0.held_keys
    }

    /// Says who keeps the tables of the read models in this process. Once.
    pub fn watch(&self, projector: ProjectorWatch) {
        let _ = self.0.projector.set(projector);
    }

    /// What this process does for the tables of the read models; nothing while it starts.
    #[must_use]
    pub fn projector(&self) -> ProjectorStatus {
        self.0.projector.get().map(ProjectorWatch::status).unwrap_or_default()
    }

    /// Now, in whole seconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new identifier (UUID version 7).
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        self.secrets.entropy().uuid_v7(self.clock.now_millis())
    }

    /// Who gives a command in this request; `correlation` is the grant or session that it belongs to.
    #[must_use]
    pub fn command_context(
        &self,
        actor: Actor,
        request: &RequestContext,
        correlation: Option<String>,
    ) -> CommandContext {
        CommandContext {
            actor,
            request_id: Some(request.id.as_str().to_owned()),
            correlation,
            source_address: self.settings.source_address.keep(request.caller),
        }
    }
}

impl Deref for App {
    type Target = AppInner;

    fn deref(&self) -> &AppInner {
        &self.0.inner
    }
}

/// Hands the app to a route.
pub fn with(app: &App) -> impl Filter<Extract = (App,), Error = Infallible> + Clone + use<> {
    let app = app.clone();
    warp::any().map(move || app.clone())
}
