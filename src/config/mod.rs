//! Settings: what can be set, where it may be set, and what it must look like.
//!
//! - `table`: the one list of settings with defaults and limits
//! - `settings`: what comes out
//! - `layers`: defaults, file, environment and flags laid over each other, and the errors
//! - `clients`, `issuer`, `database_url`, `proxies`, `registration`, `remote`, `operations`: settings that are more than a number or a word
//! - `example`: `grantlog.example.toml`, made from the table
//!
//! Not here: where the pepper file is read (`secrets`), and how a limit is kept (the module that it names).

mod clients;
mod database_url;
mod example;
mod issuer;
mod layers;
mod operations;
mod proxies;
mod registration;
mod remote;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grantlog_domain::signing_key::Algorithm;

pub use database_url::{DatabaseKind, DatabaseUrl};
pub use example::example;
pub use issuer::Issuer;
pub use layers::ConfigError;
pub use proxies::{Caller, ForwardedHeader, TrustedProxies};
pub use settings::{
    ClientSettings, ErrorRedirects, HttpSettings, InitialAccessToken, KeySettings, LogSettings, LogoutSettings,
    OAuthSettings, OperationsSettings, OperatorChanges, RegistrationMode, RegistrationSettings, RemoteSettings,
    RequirePkce, Settings, SignInSettings, SourceAddress, StoreSettings, TlsSettings,
};

use crate::secrets::{PepperSource, Secret};
use layers::{PEPPER_NAME, Value, Values};

/// The settings file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "grantlog.toml";
/// What a demo uses that is told nothing else: never the file of a real server.
const DEMO_DATABASE: &str = "sqlite:grantlog-demo.db";

impl Settings {
    /// Reads the settings of this process.
    ///
    /// `file` is the `--config` flag; without it `GRANTLOG_CONFIG`, then [`DEFAULT_FILE`] if it exists.
    /// `flags` are settings by key, as text.
    pub fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        let named = file.map(Path::to_owned).or_else(|| std::env::var_os("GRANTLOG_CONFIG").map(PathBuf::from));
        let found = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
        Self::from_layers(found.as_deref(), environment(), flags)
    }

    /// The same with the environment handed in.
    pub fn from_layers(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut values = Values::defaults();
        if let Some(path) = file {
            values.file(path)?;
        }
        let environment: Vec<_> = environment.collect();
        let pepper = environment.iter().find(|(name, text)| name == PEPPER_NAME && !text.is_empty());
        let pepper = pepper.map(|(_, text)| PepperSource::Text(Secret::new(text.clone())));
        values.environment(environment.into_iter())?;
        for (key, text) in flags {
            values.flag(key, text)?;
        }
        let settings = Self::from_values(&values)?;
        Ok(Settings { pepper: pepper.unwrap_or(settings.pepper), ..settings })
    }

    /// The defaults, and `flags` over them: no file, no environment. For tests and examples.
    pub fn with(flags: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let flags: Vec<_> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Self::from_layers(None, std::iter::empty(), &flags)
    }

    fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let listen: SocketAddr = parsed(values, "listen", "an address and a port, such as 127.0.0.1:5000")?;
        let tls = tls(values)?;
        let demo = flag(values, "demo");
        let named = match text(values, "database") {
            _ if demo && !values.is_given("database") => DEMO_DATABASE,
            named => named,
        };
        let database: DatabaseUrl = match named.parse() {
            Ok(url) => url,
            Err(reason) => return Err(values.refuse("database", reason)),
        };
        if demo && !listen.ip().is_loopback() {
            return Err(demo_refused(&format!("listen is {listen}")));
        }
        let issuer_text = text(values, "issuer");
        let issuer = match issuer_text {
            "" => Issuer::from_listen(listen, tls.is_some()),
            given => given.parse(),
        };
        let settings = Settings {
            listen,
            issuer: issuer.map_err(|reason| values.refuse("issuer", reason))?,
            issuer_follows_listen: issuer_text.is_empty(),
            pepper: PepperSource::File(path(values, "pepper_file").unwrap_or_else(|| database.pepper_file())),
            database,
            demo,
            tls,
            http: http(values)?,
            oauth: oauth(values)?,
            keys: keys(values),
            remote: remote::read(values)?,
            logout: LogoutSettings {
                attempts: number(values, "logout.attempts"),
                retry: seconds(values, "logout.retry_seconds"),
                window: seconds(values, "logout.window_seconds"),
            },
            operations: operations::read(values)?,
            clients: clients::read(values)?,
            registration: registration::read(values)?,
            session_lifetime: seconds(values, "session.lifetime_seconds"),
            operator_changes: match text(values, "consent.operator_changes") {
                "keep" => OperatorChanges::Keep,
                _ => OperatorChanges::Ask,
            },
            session_end_grants: flag(values, "session.end_grants"),
            sign_in: sign_in(values),
            source_address: match text(values, "events.source_address") {
                "whole" => SourceAddress::Whole,
                "none" => SourceAddress::None,
                _ => SourceAddress::Truncated,
            },
            store: store(values),
            passed_over: values.passed_over.clone(),
            log: LogSettings { json: text(values, "log.format") == "json", level: log_level(values)? },
        };
        if demo && !settings.issuer.is_loopback() {
            return Err(demo_refused(&format!("issuer is {}", settings.issuer)));
        }
        settings.check_lifetimes()?;
        Ok(settings)
    }

    /// The settings after the socket is bound: port 0 has become a real one, and an issuer made from it follows.
    pub fn bound_to(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        if self.issuer_follows_listen
            && let Ok(issuer) = Issuer::from_listen(address, self.tls.is_some())
        {
            self.issuer = issuer;
        }
        self
    }

    /// Refuses to serve in a way that lets others read along: plain http is for loopback only, and https needs
    /// either our own certificate or a named proxy that ends TLS.
    pub fn check_transport(&self) -> Result<(), ConfigError> {
        if self.issuer.is_loopback() || self.tls.is_some() || !self.http.trusted_proxies.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Refused(format!(
            "the issuer {} is not on this machine, and nothing ends TLS: set tls.cert_file and tls.key_file, or name \
             the proxy that ends TLS in http.trusted_proxies",
            self.issuer
        )))
    }

    fn check_lifetimes(&self) -> Result<(), ConfigError> {
        let oauth = &self.oauth;
        if oauth.access_token_lifetime <= oauth.grant_lifetime && oauth.code_lifetime <= oauth.grant_lifetime {
            return Ok(());
        }
        Err(ConfigError::Refused(
            "oauth.grant_lifetime_seconds must not be shorter than the lifetimes of codes and access tokens".into(),
        ))
    }
}

fn demo_refused(why: &str) -> ConfigError {
    ConfigError::Refused(format!(
        "the demo signs in anyone without a password, so it runs on a loopback address only; {why}"
    ))
}

/// The environment of this process; a value that is not Unicode is taken with the odd bytes replaced.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

fn text<'a>(values: &'a Values, key: &str) -> &'a str {
    match values.value(key) {
        Value::Text(text) => text.trim(),
        _ => "",
    }
}

fn path(values: &Values, key: &str) -> Option<PathBuf> {
    Some(text(values, key)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn flag(values: &Values, key: &str) -> bool {
    *values.value(key) == Value::Flag(true)
}

/// A number within the limits of the table, which are all far below what 32 bits hold.
fn number(values: &Values, key: &str) -> u32 {
    match values.value(key) {
        Value::Number(number) => u32::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}

fn count(values: &Values, key: &str) -> usize {
    number(values, key) as usize
}

fn seconds(values: &Values, key: &str) -> Duration {
    Duration::from_secs(number(values, key).into())
}

fn parsed<T: std::str::FromStr>(values: &Values, key: &str, shape: &str) -> Result<T, ConfigError> {
    text(values, key).parse().map_err(|_| values.refuse(key, format!("must be {shape}")))
}

fn tls(values: &Values) -> Result<Option<TlsSettings>, ConfigError> {
    match (path(values, "tls.cert_file"), path(values, "tls.key_file")) {
        (Some(cert_file), Some(key_file)) => Ok(Some(TlsSettings { cert_file, key_file })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(values.refuse("tls.cert_file", "tls.key_file must be set too")),
        (None, Some(_)) => Err(values.refuse("tls.key_file", "tls.cert_file must be set too")),
    }
}

fn http(values: &Values) -> Result<HttpSettings, ConfigError> {
    let Value::List(proxies) = values.value("http.trusted_proxies") else { unreachable!("a list by its kind") };
    let header = match text(values, "http.forwarded_header") {
        "forwarded" => ForwardedHeader::Forwarded,
        _ => ForwardedHeader::XForwardedFor,
    };
    Ok(HttpSettings {
        trusted_proxies: TrustedProxies::parse(proxies, header)
            .map_err(|reason| values.refuse("http.trusted_proxies", reason))?,
        connections: count(values, "http.connections"),
        connections_per_address: count(values, "http.connections_per_address"),
        header_bytes: count(values, "http.header_bytes"),
        headers: count(values, "http.headers"),
        header_read_timeout: seconds(values, "http.header_read_timeout_seconds"),
        body_bytes: count(values, "http.body_bytes"),
        parameters: count(values, "http.parameters"),
        request_timeout: seconds(values, "http.request_timeout_seconds"),
        stop_timeout: seconds(values, "http.stop_timeout_seconds"),
    })
}

fn oauth(values: &Values) -> Result<OAuthSettings, ConfigError> {
    Ok(OAuthSettings {
        require_pkce: match text(values, "oauth.require_pkce") {
            "all" => RequirePkce::All,
            _ => RequirePkce::Public,
        },
        code_lifetime: seconds(values, "oauth.code_lifetime_seconds"),
        access_token_lifetime: seconds(values, "oauth.access_token_lifetime_seconds"),
        grant_lifetime: seconds(values, "oauth.grant_lifetime_seconds"),
        id_token_lifetime: seconds(values, "oauth.id_token_lifetime_seconds"),
        refresh_grace: seconds(values, "oauth.refresh_grace_seconds"),
        access_token_audience: Some(text(values, "oauth.access_token_audience").to_owned())
            .filter(|name| !name.is_empty()),
        // One of the words of the table.
        access_token_alg: text(values, "oauth.access_token_signing_alg").parse().unwrap_or(Algorithm::RS256),
        bearer_in_body: flag(values, "oauth.bearer_in_body"),
        unsigned_id_tokens: flag(values, "oauth.unsigned_id_tokens"),
        scopes: clients::scopes(values)?,
        user_scopes: clients::user_scopes(values)?,
    })
}

fn keys(values: &Values) -> KeySettings {
    KeySettings {
        rotation: seconds(values, "keys.rotation_seconds"),
        publish: seconds(values, "keys.publish_seconds"),
        // What was signed a moment before lives for that long.
        retired: seconds(values, "keys.retired_seconds")
            .max(seconds(values, "oauth.id_token_lifetime_seconds"))
            .max(seconds(values, "oauth.access_token_lifetime_seconds")),
    }
}

fn sign_in(values: &Values) -> SignInSettings {
    SignInSettings {
        attempts_per_account: number(values, "sign_in.attempts_per_account"),
        attempts_per_address: number(values, "sign_in.attempts_per_address"),
        attempts_per_client: number(values, "sign_in.attempts_per_client"),
        lock: seconds(values, "sign_in.lock_seconds"),
        concurrent_password_checks: count(values, "sign_in.concurrent_password_checks"),
    }
}

fn store(values: &Values) -> StoreSettings {
    StoreSettings {
        append_queue: count(values, "store.append_queue"),
        append_batch: count(values, "store.append_batch"),
        append_lanes: count(values, "store.append_lanes"),
        connections: number(values, "store.connections"),
        connect_timeout: seconds(values, "store.connect_timeout_seconds"),
        conflict_retries: number(values, "store.conflict_retries"),
        partition_days: number(values, "store.partition_days"),
        max_staleness: Duration::from_millis(number(values, "store.max_staleness_ms").into()),
    }
}

fn log_level(values: &Values) -> Result<String, ConfigError> {
    let directives: Vec<&str> = text(values, "log.level").split(',').map(str::trim).collect();
    // A word alone that is no level names a part, and a log of that part alone is silent when it is mistyped.
    let is_level = |word: &str| !word.is_empty() && word.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let is_plain = |directive: &&str| !directive.contains(char::is_whitespace);
    let understood = |directive: &&str| directive.rsplit('=').next().is_some_and(is_level);
    let level = directives.join(",");
    let all = directives.iter().all(|directive| is_plain(directive) && understood(directive));
    if all && tracing_subscriber::EnvFilter::try_new(&level).is_ok() {
        return Ok(level);
    }
    Err(values.refuse("log.level", "must be a level (error, warn, info, debug, trace), also per part: part=level"))
}
