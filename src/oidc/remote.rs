//! Questions to servers of clients: key sets, request objects, sector identifiers, back-channel logout.
//!
//! Whoever registers a client chooses these URLs, so nothing is believed of them (RFC 7591 5, OpenID Connect Core 6.2):
//! https only, no redirects, no proxy, only addresses that [`Reach`] allows, checked where the connection is made, and time,
//! bytes and number bounded. Bodies are never logged. Not here: who may have which URL fetched, and what is remembered.

mod address;
mod slots;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics::{counter, histogram};
use reqwest::Certificate;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use tokio::sync::{OnceCell, Semaphore};
use url::{Host, Url};

pub use self::address::Reach;
use self::slots::Slots;
use crate::config::RemoteSettings;
use crate::http::metrics::{REMOTE_REQUESTS, REMOTE_SECONDS};

/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2000;
/// Questions to one host at the same time: one that is slow does not keep the others waiting.
const PER_HOST: usize = 4;
/// Names looked up at the same time; the system's resolver cannot be interrupted.
const LOOKUPS: usize = 16;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the URL is not an https URL")]
    Url,
    #[error("the address is not one that may be asked")]
    Address,
    #[error("there was no answer in time")]
    TimedOut,
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Failed(String),
}

impl FetchError {
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Url | Self::Address => "refused",
            Self::TimedOut => "timed_out",
            Self::Status(_) | Self::TooLarge(_) | Self::Failed(_) => "failed",
        }
    }
}

/// The client of this server. Cheap to share.
pub struct Remote {
    reach: Reach,
    timeout: Duration,
    /// Believed beside those of the system.
    authorities: Vec<CertificateDer<'static>>,
    slots: Slots,
    /// Made with the first question, because that reads the certificates of the system.
    http: OnceCell<reqwest::Client>,
    resolver: Arc<Resolver>,
}

impl Remote {
    #[must_use]
    pub fn new(settings: RemoteSettings, reach: Reach) -> Self {
        Self::resolving(settings, reach, |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    fn resolving(settings: RemoteSettings, reach: Reach, lookup: Lookup) -> Self {
        let resolver = Arc::new(Resolver { reach, lookup, lookups: Arc::new(Semaphore::new(LOOKUPS)) });
        let slots = Slots::new(settings.concurrent, PER_HOST);
        let RemoteSettings { timeout, authorities, .. } = settings;
        Self { reach, timeout, authorities, slots, http: OnceCell::new(), resolver }
    }

    /// Whether a document may be asked for at `url`, as far as the text says; nothing is looked up.
    ///
    /// # Errors
    /// [`FetchError::Url`], [`FetchError::Address`].
    pub fn check(&self, url: &str) -> Result<Url, FetchError> {
        let parsed = Url::parse(url).ok().filter(|_| url.len() <= URL_BYTES_MAX).ok_or(FetchError::Url)?;
        let plain = parsed.username().is_empty() && parsed.password().is_none();
        let literal = match parsed.host().filter(|_| plain).ok_or(FetchError::Url)? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let is_here = literal.map_or(parsed.host_str() == Some(address::LOCALHOST), |literal| literal.is_loopback());
        match parsed.scheme() {
            "https" => {}
            // Nobody listens on the way to this machine itself.
            "http" if is_here && self.reach != Reach::Public => {}
            _ => return Err(FetchError::Url),
        }
        // An address in the URL is connected to without a look-up, so it is checked here.
        if literal.is_some_and(|literal| !self.reach.allows(literal)) { Err(FetchError::Address) } else { Ok(parsed) }
    }

    /// The document at `url`: the body of a 200, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// See [`FetchError`]. Nothing is sent to an address that is not allowed.
    pub async fn fetch(&self, url: &str, bytes_max: usize) -> Result<Bytes, FetchError> {
        self.ask(url, async |http, url| {
            let mut answer = http.get(url).send().await.map_err(|error| failed(&error))?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(answer.status()));
            }
            let too_large = |bytes: usize| bytes > bytes_max;
            if answer.content_length().is_some_and(|bytes| too_large(usize::try_from(bytes).unwrap_or(usize::MAX))) {
                return Err(FetchError::TooLarge(bytes_max));
            }
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
                if too_large(body.len() + chunk.len()) {
                    return Err(FetchError::TooLarge(bytes_max));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body.freeze())
        })
        .await
    }

    /// Posts `body` (`application/x-www-form-urlencoded`) to `url`. The status of the answer, whatever it is; its body is
    /// not read.
    ///
    /// # Errors
    /// See [`FetchError`]; never [`FetchError::Status`] and [`FetchError::TooLarge`].
    pub async fn post_form(&self, url: &str, body: String) -> Result<StatusCode, FetchError> {
        self.ask(url, async |http, url| {
            let question = http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            Ok(question.send().await.map_err(|error| failed(&error))?.status())
        })
        .await
    }

    async fn ask<T>(
        &self,
        url: &str,
        question: impl AsyncFnOnce(&reqwest::Client, Url) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let started = Instant::now();
        let asked = async {
            let url = self.check(url)?;
            let host = url.host_str().unwrap_or_default().to_owned();
            let in_turn = async {
                let slot = self.slots.of(&host);
                let _turn = slot.turn().await;
                question(self.http().await?, url).await
            };
            let outcome = tokio::time::timeout(self.timeout, in_turn).await.unwrap_or(Err(FetchError::TimedOut));
            outcome.inspect_err(|error| tracing::info!(host, %error, "a client's server gave no answer"))
        };
        let outcome = asked.await;
        let label = outcome.as_ref().err().map_or("answered", FetchError::outcome);
        counter!(REMOTE_REQUESTS, "outcome" => label).increment(1);
        histogram!(REMOTE_SECONDS).record(started.elapsed().as_secs_f64());
        outcome
    }

    async fn http(&self) -> Result<&reqwest::Client, FetchError> {
        let made = self.http.get_or_try_init(|| async {
            let resolver = Arc::clone(&self.resolver);
            let own: Result<Vec<_>, _> = self.authorities.iter().map(|der| Certificate::from_der(der)).collect();
            let own = own.map_err(|error| failed(&error))?;
            let built = tokio::task::spawn_blocking(move || {
                // No proxy of the environment: it would connect where we did not look. No connection is kept: the next
                // question looks at the address anew.
                let builder = reqwest::Client::builder().no_proxy().redirect(Policy::none()).pool_max_idle_per_host(0);
                builder.user_agent("grantlog").dns_resolver(resolver).tls_certs_merge(own).build()
            });
            built.await.map_err(|_| FetchError::Failed("interrupted".to_owned()))?.map_err(|error| failed(&error))
        });
        made.await
    }
}

/// What went wrong, without the URL.
fn failed(error: &reqwest::Error) -> FetchError {
    let mut text = String::from("the question failed");
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<NotAllowed>() {
            return FetchError::Address;
        }
        text = error.to_string();
        source = error.source();
    }
    FetchError::Failed(text)
}

/// A name has no address that may be asked.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address that may be asked")]
struct NotAllowed;

type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Names to addresses. The connection is made to what comes out of here, so a name that means something else a moment
/// later changes nothing.
struct Resolver {
    reach: Reach,
    lookup: Lookup,
    lookups: Arc<Semaphore>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, lookup, lookups) = (self.reach, self.lookup, Arc::clone(&self.lookups));
        Box::pin(async move {
            let turn = lookups.acquire_owned().await?;
            let found = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let is_allowed = |address: &IpAddr| reach.allows_as(name.as_str(), *address);
                lookup(name.as_str()).map(|found| found.into_iter().filter(is_allowed).collect::<Vec<_>>())
            });
            let found = found.await??;
            if found.is_empty() {
                return Err(NotAllowed.into());
            }
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
