//! What the settings are once they are read: plain values, each in its type.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use grantlog_domain::Scope;
use grantlog_domain::signing_key::Algorithm;
use rustls::pki_types::CertificateDer;

use super::{DatabaseUrl, Issuer, TrustedProxies};
use crate::secrets::{PepperSource, Secret};

/// Everything that can be set, checked. Read-only after the start; cheap things are copied, the rest is borrowed.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// The base of every URL that this server gives out (RFC 8414 2 `issuer`), without a slash at the end.
    pub issuer: Issuer,
    pub database: DatabaseUrl,
    /// Where the keys are under which tokens and secrets are stored: `pepper_file`, or `GRANTLOG_PEPPER` itself.
    pub pepper: PepperSource,
    pub demo: bool,
    pub tls: Option<TlsSettings>,
    pub http: HttpSettings,
    pub oauth: OAuthSettings,
    pub keys: KeySettings,
    pub remote: RemoteSettings,
    pub logout: LogoutSettings,
    pub operations: OperationsSettings,
    pub clients: ClientSettings,
    pub registration: RegistrationSettings,
    /// What becomes of consents when an operator changes a client.
    pub operator_changes: OperatorChanges,
    /// How long a browser stays signed in.
    pub session_lifetime: Duration,
    /// What was allowed with `openid` and without `offline_access` ends with the session in which it was.
    pub session_end_grants: bool,
    pub sign_in: SignInSettings,
    /// How much of the caller's address an event keeps.
    pub source_address: SourceAddress,
    pub store: StoreSettings,
    pub log: LogSettings,
    /// Names in the environment that Kubernetes makes for a Service called grantlog, and that are no settings.
    pub passed_over: Vec<String>,
    /// The issuer was made from `listen`, and follows the port that was really taken.
    pub(super) issuer_follows_listen: bool,
}

/// PEM files; both or none.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Limits of the HTTP side. The defaults and limits of each are in `table`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub trusted_proxies: TrustedProxies,
    /// Open connections.
    pub connections: usize,
    /// Of them, those of one address that is no trusted proxy.
    pub connections_per_address: usize,
    /// Request line and headers together.
    pub header_bytes: usize,
    /// Header lines.
    pub headers: usize,
    pub header_read_timeout: Duration,
    pub body_bytes: usize,
    /// Parameters in a query or form.
    pub parameters: usize,
    pub request_timeout: Duration,
    pub stop_timeout: Duration,
}

/// Whether who knows nothing of a client that nobody vouched for is asked before they are sent there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorRedirects {
    Ask,
    Follow,
}

/// Who reads how the server is. With neither, programs on this machine do.
#[derive(Clone, Debug)]
pub struct OperationsSettings {
    /// Then it is told there only.
    pub listen: Option<SocketAddr>,
    /// Then whoever asks shows it, there too.
    pub token: Option<Secret<String>>,
}

/// What the protocol endpoints may give out, and for how long.
#[derive(Clone, Debug)]
pub struct OAuthSettings {
    pub require_pkce: RequirePkce,
    pub code_lifetime: Duration,
    pub access_token_lifetime: Duration,
    pub id_token_lifetime: Duration,
    /// From the beginning of the grant to its end, whatever is refreshed in between.
    pub grant_lifetime: Duration,
    /// Zero: a refresh token is shown once, a second time ends the grant.
    pub refresh_grace: Duration,
    /// RFC 9068 3; `None`: the issuer.
    pub access_token_audience: Option<String>,
    pub access_token_alg: Algorithm,
    /// RFC 6750 2.2: the access token may come in a form body.
    pub bearer_in_body: bool,
    /// OpenID Connect Core 3.1.3.7: clients may register for ID tokens without a signature.
    pub unsigned_id_tokens: bool,
    /// All scopes that may be registered; `None`: any that an operator gives to a client.
    pub scopes: Option<Scope>,
    /// Scopes that are not for every user.
    pub user_scopes: Vec<UserScope>,
}

/// A scope, and the names of the users who may have it.
#[derive(Clone, Debug)]
pub struct UserScope {
    pub scope: String,
    pub names: Vec<String>,
}

/// Whether users are asked again when an operator changes what they saw of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorChanges {
    Ask,
    Keep,
}

/// Which clients must use PKCE (RFC 7636). Who sent a code_challenge must always send the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequirePkce {
    Public,
    All,
}

/// The life of signing keys (OpenID Connect Core 10.1.1).
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// Age at which an active key gets a successor; zero: never by itself.
    pub rotation: Duration,
    /// How long a new key is published before it signs.
    pub publish: Duration,
    /// How long a key that signs no more is still published.
    pub retired: Duration,
}

/// How servers of clients are asked.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// Also addresses of this machine and of private networks.
    pub allow_private: bool,
    /// Certificates of authorities that are believed beside those of the system.
    pub authorities: Vec<CertificateDer<'static>>,
    /// For one question, from the name to the end of the answer.
    pub timeout: Duration,
    /// Questions at the same time.
    pub concurrent: usize,
}

/// How clients are told that a session has ended (Back-Channel Logout).
#[derive(Clone, Copy, Debug)]
pub struct LogoutSettings {
    /// Most attempts to tell one client.
    pub attempts: u32,
    /// Pause after the first failure; later ones are longer.
    pub retry: Duration,
    /// From the end of the session to the last attempt.
    pub window: Duration,
}

/// Clients that users make on the pages.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Whether they may.
    pub made_by_users: bool,
    /// The widest scope of such a client.
    pub user_scope: Scope,
    /// Most clients of one user.
    pub per_user: u32,
    /// Most that one user makes or changes in an hour.
    pub per_user_hour: u32,
}

/// Clients that register themselves (RFC 7591).
#[derive(Clone, Debug)]
pub struct RegistrationSettings {
    pub mode: RegistrationMode,
    pub initial_access_tokens: Vec<InitialAccessToken>,
    /// The widest scope that they may have.
    pub scope: Scope,
    /// The scope of those that name none.
    pub default_scope: Scope,
    /// Registrations and changes in an hour, of one address.
    pub per_address: u32,
    /// The same of all addresses.
    pub per_hour: u32,
    pub error_redirects: ErrorRedirects,
    /// Days after which one that registered itself and never got a grant is deleted; 0: never.
    pub unused_days: u32,
    /// Most that registered themselves, at the same time.
    pub clients_max: usize,
}

/// Who may register clients over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    Off,
    /// Who shows an initial access token (RFC 7591 1.2).
    Token,
    Open,
}

/// One who may register clients.
#[derive(Clone, Debug)]
pub struct InitialAccessToken {
    pub name: String,
    pub token: Secret<String>,
}

/// How failed sign-ins are slowed down.
#[derive(Clone, Debug)]
pub struct SignInSettings {
    /// Failures before the account is locked.
    pub attempts_per_account: u32,
    /// Failures before the address is locked.
    pub attempts_per_address: u32,
    /// Failures before a client that asks for passwords is locked.
    pub attempts_per_client: u32,
    /// Length of a lock, and of the time in which failures are counted.
    pub lock: Duration,
    /// Argon2id computations at the same time.
    pub concurrent_password_checks: usize,
}

/// How much of the caller's address an event keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAddress {
    Whole,
    /// The network: IPv4 /24, IPv6 /48.
    Truncated,
    None,
}

/// Bounds of the event log and its readers.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Appends that may wait; a full queue answers 503.
    pub append_queue: usize,
    /// Appends joined into one transaction.
    pub append_batch: usize,
    /// Connections that append (PostgreSQL; SQLite has one writer).
    pub append_lanes: usize,
    /// Connections for everything else.
    pub connections: u32,
    pub connect_timeout: Duration,
    /// New decisions after a lost race.
    pub conflict_retries: u32,
    /// Days of one partition of the grants' events (PostgreSQL).
    pub partition_days: u32,
    /// How old the live models may be before the database is asked instead.
    pub max_staleness: Duration,
}

/// What the log looks like.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub json: bool,
    /// A level, or directives such as `info,grantlog::http=debug`.
    pub level: String,
}

impl SourceAddress {
    /// What an event keeps of `address`.
    pub fn keep(self, address: IpAddr) -> Option<String> {
        match (self, address) {
            (SourceAddress::None, _) => None,
            (SourceAddress::Whole, address) => Some(address.to_string()),
            (SourceAddress::Truncated, IpAddr::V4(v4)) => {
                let [a, b, c, _] = v4.octets();
                Some(format!("{a}.{b}.{c}.0/24"))
            }
            (SourceAddress::Truncated, IpAddr::V6(v6)) => {
                let [a, b, c, ..] = v6.segments();
                Some(format!("{a:x}:{b:x}:{c:x}::/48"))
            }
        }
    }
}
