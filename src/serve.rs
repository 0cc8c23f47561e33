//! The server from its start to its end: binds, opens the store, brings the read models up to date, serves, stops.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use futures::FutureExt as _;
use grantlog_domain::Actor;
use grantlog_projections::db::DbError;
use grantlog_projections::feed::{Appended, Wake};
use grantlog_projections::live::{FollowOptions, Live, Now};
use grantlog_projections::{Projector, ProjectorOptions, prepare};
use metrics_exporter_prometheus::BuildError;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, AppInner};
use crate::background::Background;
use crate::clock::Clock;
use crate::config::{ConfigError, Settings};
use crate::consequences;
use crate::demo::{self, DemoError};
use crate::entropy::Entropy;
use crate::http::request::Surroundings;
use crate::http::server::{Server, ServerError};
use crate::http::{client_assertion, metrics, open_files};
use crate::oidc::backchannel;
use crate::oidc::keys::{KeyError, Keys};
use crate::peppers;
use crate::routes::{operations_routes, routes};
use crate::secrets::Secrets;
use crate::store::vault::{Vault, VaultError};
use crate::store::{Attesting, Purpose, Store, StoreError, StoreOptions, warnings};
use crate::{unused_clients, upgrading};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
    #[error("cannot start the metrics: {0}")]
    Metrics(#[from] BuildError),
    #[error("a task that must run for as long as the server did not: {0}")]
    Background(String),
}

/// Serves until SIGTERM or SIGINT, then finishes what is in flight.
///
/// # Errors
/// When it cannot start, or one of the tasks beside it ended; see [`ServeError`].
pub async fn serve(settings: Settings) -> Result<(), ServeError> {
    settings.check_transport()?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let handle = metrics::install()?;
    let mut background = Background::default();
    background.spawn("metrics", metrics::upkeep(handle.clone()));

    open_files::allow(settings.http.connections);
    // The address first: a port in use is noticed before the database is touched. Connections are let in when all is there.
    let server = Server::bind(&settings)?;
    let operations = Server::bind_operations(&settings)?;
    let settings = match server.local_addr() {
        Ok(address) => settings.bound_to(address),
        Err(_) => settings,
    };
    let app = open(settings).await?;
    let wake = Wake::new(app.store.db());
    let clock = app.clock.clone();
    let now = Now::new(move || clock.now());
    let follower = app.live.follow(app.store.log(), &wake, FollowOptions::new(now.clone()));
    let projector = Projector::start(app.store.log(), &wake, ProjectorOptions::new(now));
    observe(&app, &wake, projector.appended());
    app.watch(projector.watch());
    background.spawn("tables", projector.ended());
    background.spawn("live models", ended_unless_stopped(app.clone(), follower.ended()));
    background.spawn("consequences", consequences::run(app.store.clone(), app.settings.session_end_grants));
    background.spawn("back-channel logout", backchannel::run(app.clone()));
    background.spawn("peppers", peppers::follow(app.clone()));
    background.spawn("partitions", app.store.clone().keep_partitions());
    let keys = signing_keys(&app);
    keys.tend(&app.settings.keys).await?;
    background.spawn("keys", keys.run(app.settings.keys.clone()));
    background.spawn("unused clients", unused_clients::run(app.clone()));
    background.spawn("client assertions", client_assertion::tidy(app.clone()));
    if app.settings.demo {
        demo::set_up(&app).await?;
    }
    upgrading::tell(&app);
    let operations_address = operations.as_ref().and_then(|operations| operations.local_addr().ok());
    let (server, operations) = (server.listen()?, operations.map(Server::listen).transpose()?);
    announce(&app);
    if let Some(address) = operations_address {
        tracing::info!(listen = %address, "serving metrics and health");
    }

    let process = u32::from_be_bytes(app.secrets.entropy().bytes());
    let surroundings = Arc::new(Surroundings::new(&app.settings.http, process));
    let stop = async {
        tokio::select! {
            () = stop => None,
            ended = background.ended() => {
                tracing::error!(%ended, "stopping, to be started anew: a task beside the server has ended");
                Some(ended)
            }
        }
    };
    let stop = Box::pin(stop).shared();
    let beside = async {
        if let Some(operations) = operations {
            let routes = operations_routes(&app, handle.clone());
            operations.run(routes, Arc::clone(&surroundings), stop.clone().map(drop)).await;
        }
    };
    let serving = server.run(routes(&app, handle.clone()), Arc::clone(&surroundings), stop.clone().map(drop));
    tokio::join!(serving, beside);
    let failed = stop.await;
    drop(background);
    // Appends under way are finished; what the models have not seen they will read at the next start.
    app.store.close().await;
    follower.stop().await;
    projector.stop().await;
    tracing::info!("stopped");
    failed.map_or(Ok(()), |ended| Err(ServeError::Background(ended)))
}

/// Not when the log holds what a newer version wrote: then the server says that it is not ready, and why.
async fn ended_unless_stopped(app: App, ended: impl Future<Output = ()>) {
    ended.await;
    if app.live.feed_status().stopped.is_some() {
        std::future::pending().await
    }
}

/// Opens the database, brings it up to date, and loads the read models.
async fn open(settings: Settings) -> Result<App, ServeError> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let options = StoreOptions::from(&settings.store);
    for warning in warnings(&settings.database) {
        tracing::warn!("{warning}");
    }
    let store = Store::open(&settings.database, options, clock.clone(), entropy).await?;
    store
        .migrate(&mut |step| tracing::info!(version = step.version, description = step.description, "migrating"))
        .await?;
    demo::admit(&store, if settings.demo { Purpose::Demo } else { Purpose::Real }).await?;
    let secrets = store.open_secrets(&settings.pepper).await?;
    attest(&store, &secrets).await?;
    let vault = Vault::from_settings(&settings, store.db().clone(), secrets.clone(), clock.clone())?;
    prepare(store.log()).await?;
    let live = Live::new();
    live.load(store.log(), clock.now()).await?;
    Ok(App::new(AppInner { settings, store, live, secrets, clock, vault }))
}

/// Once in the life of a database that is older than the codes of events.
async fn attest(store: &Store, secrets: &Secrets) -> Result<(), StoreError> {
    let mut said = None;
    let mut report = |at: Attesting| {
        let percent = at.done * 100 / at.total.max(1);
        if said.replace(percent / 10) != Some(percent / 10) {
            tracing::info!(percent, "giving the events that are there their codes");
        }
    };
    let events = store.attest(secrets, &mut report).await?;
    if events > 0 {
        tracing::warn!(events, "the log is taken for true as it was until now; from here on each event proves itself");
    }
    Ok(())
}

fn signing_keys(app: &App) -> Keys {
    let (store, vault, clock) = (app.store.clone(), app.vault.clone(), app.clock.clone());
    Keys { store, vault, clock, actor: Actor::System }
}

/// What this process appends is known to its read models before the caller hears of it.
fn observe(app: &App, wake: &Wake, appended: Appended) {
    let (live, wake) = (app.live.clone(), wake.clone());
    app.store.observe(move |events| {
        live.apply_own(events);
        appended.offer(events);
        wake.signal();
    });
}

/// Says where the server is. In a demo also the client, its secret and a line to paste, which is what a demo is for.
fn announce(app: &App) {
    let settings = &app.settings;
    tracing::info!(listen = %settings.listen, issuer = %settings.issuer, database = %settings.database, "serving");
    let text = match settings.demo {
        true => banner(app),
        false => format!("Grantlog serves {} (listening on {})\n", settings.issuer, settings.listen),
    };
    // Whoever closed the terminal does not need it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn banner(app: &App) -> String {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let rule = "=".repeat(78);
    let (issuer, client_id, curl) = (&app.settings.issuer, demo::client_id(), demo::curl_line(app));
    let secret = demo::client_secret(app);
    format!(
        "{rule}\n{bold}  DEMO: anybody signs in with any name. Never use it for anything real.{plain}\n{rule}\n\n  \
         Open            {bold}{issuer}/{plain}\n  Client id       {client_id}\n  Client secret   {}\n\n  \
         Or paste this:\n\n  {curl}\n\n",
        secret.expose(),
    )
}
