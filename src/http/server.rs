//! Sockets: accepts connections within a limit, speaks HTTP/1.1 with or without TLS, and stops gracefully.
//!
//! The limits are those of [`HttpSettings`]: a connection that sends its headers too slowly is closed, headers that
//! are too large or too many are answered 431, further connections wait until others end, and those of one address that
//! are too many are closed at once.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use metrics::{Gauge, counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::reply::Response;

use super::head_timer::HeadTimer;
use super::hosts::Hosts;
use super::metrics::{HTTP_CONNECTIONS, HTTP_CONNECTIONS_REFUSED};
use super::mount::Mount;
use super::per_address::{Counted, PerAddress};
use super::request::{Connection, Surroundings, answer};
use super::routes::Routes;
use super::tls::Tls;
use crate::config::{HttpSettings, Settings};

/// Pause after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: u32 = 1024;

/// Open connections of the listener for operations.
const OPERATIONS_CONNECTIONS: usize = 64;

/// Header lines that hyper takes when it is not told.
const HYPER_HEADERS: usize = 100;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot use the TLS certificate {cert_file} with the key {key_file}: {reason}")]
    Tls { cert_file: String, key_file: String, reason: String },
}

/// An address that was taken. Nobody can connect there before [`Self::listen`].
pub struct Server {
    socket: TcpSocket,
    tls: Option<Tls>,
    limits: HttpSettings,
    hosts: Arc<Hosts>,
    mount: Arc<Mount>,
}

impl Server {
    /// Takes the address of the settings and reads the certificate.
    pub fn bind(settings: &Settings) -> Result<Self, ServerError> {
        let tls = settings.tls.as_ref().map(Tls::open).transpose()?;
        let socket = bind(settings.listen)?;
        let (hosts, mount) = (Arc::new(Hosts::of(&settings.issuer)), Arc::new(Mount::of(&settings.issuer)));
        Ok(Server { socket, tls, limits: settings.http.clone(), hosts, mount })
    }

    /// Takes the address for operations, if there is one. Few call there, and by plain http.
    pub fn bind_operations(settings: &Settings) -> Result<Option<Self>, ServerError> {
        let Some(address) = settings.operations.listen else { return Ok(None) };
        let connections = settings.http.connections.min(OPERATIONS_CONNECTIONS);
        let limits = HttpSettings { connections, ..settings.http.clone() };
        let (hosts, mount) = (Arc::new(Hosts::at(address)), Arc::default());
        Ok(Some(Server { socket: bind(address)?, tls: None, limits, hosts, mount }))
    }

    /// The address that was really taken; differs from the settings for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Lets connections in; they are answered as soon as it runs.
    pub fn listen(self) -> Result<Listening, ServerError> {
        let Self { socket, tls, limits, hosts, mount } = self;
        let address = socket.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let listener = socket.listen(BACKLOG).map_err(|source| ServerError::Listen { address, source })?;
        Ok(Listening { listener, tls, limits, hosts, mount })
    }
}

/// A socket that connections come in by.
pub struct Listening {
    listener: TcpListener,
    tls: Option<Tls>,
    limits: HttpSettings,
    hosts: Arc<Hosts>,
    mount: Arc<Mount>,
}

impl Listening {
    /// Serves until `stop` is ready, then lets requests in flight finish for at most `http.stop_timeout_seconds`.
    pub async fn run(self, routes: Routes, surroundings: Arc<Surroundings>, stop: impl Future<Output = ()>) {
        let (graceful, routes) = (GracefulShutdown::new(), Arc::new(routes));
        let connections = Connections {
            http: builder(&self.limits),
            tls: self.tls,
            handshake_timeout: self.limits.header_read_timeout,
            open: gauge!(HTTP_CONNECTIONS),
        };
        let free = Arc::new(Semaphore::new(self.limits.connections));
        let per_address = PerAddress::new(self.limits.connections_per_address, self.limits.trusted_proxies.clone());
        let watching = connections.tls.clone().map(|tls| tokio::spawn(tls.watch()));
        tokio::pin!(stop);
        loop {
            let (stream, peer, permit) = tokio::select! {
                accepted = accept(&self.listener, &free) => accepted,
                () = &mut stop => break,
            };
            let Some(counted) = per_address.count(peer.ip()) else {
                counter!(HTTP_CONNECTIONS_REFUSED).increment(1);
                tracing::debug!(address = %peer.ip(), "closed a connection: the address has too many");
                continue;
            };
            let (surroundings, routes) = (surroundings.clone(), Arc::clone(&routes));
            let (hosts, mount) = (Arc::clone(&self.hosts), Arc::clone(&self.mount));
            let connection = Arc::new(Connection { surroundings, routes, hosts, mount, peer: peer.ip() });
            let service = service_fn(move |request| answer(Arc::clone(&connection), request));
            connections.spawn(stream, service, graceful.watcher(), (permit, counted));
        }
        if let Some(watching) = watching {
            watching.abort();
        }
        // Closed before the wait, so that a load balancer notices.
        drop(self.listener);
        tracing::info!(in_flight = graceful.count(), "stopping");
        if tokio::time::timeout(self.limits.stop_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
}

/// Takes an address, as `TcpListener::bind` does, but for letting connections in.
fn bind(address: SocketAddr) -> Result<TcpSocket, ServerError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // One that was closed a moment ago would be in the way for a minute.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|source| ServerError::Listen { address, source })
}

/// Waits for a free place, then for a connection.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn builder(limits: &HttpSettings) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(limits.header_read_timeout)
        .max_header_size(limits.header_bytes)
        // Holds a whole head and what came with it; hyper's smallest is 8 KiB.
        .max_buf_size(limits.header_bytes.max(8192) + 8192)
        // Head and body of an answer are copied together and sent as one piece: most are small.
        .writev(false)
        .keep_alive(true);
    // Named, hyper clears room for so many before each request; its own number has it ready. Fewer are counted after.
    if limits.headers > HYPER_HEADERS {
        http.max_headers(limits.headers);
    }
    http
}

/// What every connection task needs.
struct Connections {
    http: http1::Builder,
    tls: Option<Tls>,
    handshake_timeout: Duration,
    open: Gauge,
}

impl Connections {
    fn spawn<S>(
        &self,
        stream: TcpStream,
        service: S,
        watcher: hyper_util::server::graceful::Watcher,
        place: (OwnedSemaphorePermit, Counted),
    ) where
        S: Service<Request<hyper::body::Incoming>, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        // Answers are small and written at once: waiting for more to send only costs time.
        let _ = stream.set_nodelay(true);
        let (mut http, tls, open) = (self.http.clone(), self.tls.clone(), self.open.clone());
        http.timer(HeadTimer::default());
        let handshake_timeout = self.handshake_timeout;
        tokio::spawn(async move {
            open.increment(1.0);
            match tls {
                None => serve_connection(&http, stream, service, watcher).await,
                Some(tls) => match tokio::time::timeout(handshake_timeout, tls.acceptor().accept(stream)).await {
                    Ok(Ok(stream)) => serve_connection(&http, stream, service, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
            open.decrement(1.0);
            drop(place);
        });
    }
}

async fn serve_connection<I, S>(
    http: &http1::Builder,
    stream: I,
    service: S,
    watcher: hyper_util::server::graceful::Watcher,
) where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<hyper::body::Incoming>, Response = Response, Error = Infallible>,
{
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        // A client that went away, or one that broke a limit; hyper has answered what can be answered.
        tracing::debug!(%error, "connection ended");
    }
}
