//! TLS: the certificate from its files, and again when they were replaced.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use super::server::ServerError;
use crate::config::TlsSettings;

/// How often the files are looked at; SIGHUP does it at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The certificate that new connections get. Clones share it.
#[derive(Clone)]
pub(super) struct Tls {
    files: TlsSettings,
    current: Arc<RwLock<TlsAcceptor>>,
}

impl Tls {
    pub(super) fn open(files: &TlsSettings) -> Result<Self, ServerError> {
        Ok(Self { files: files.clone(), current: Arc::new(RwLock::new(acceptor(files)?)) })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().clone()
    }

    /// Reads the files again. When they are not a certificate and its key, the old one stays.
    fn reload(&self) {
        match acceptor(&self.files) {
            Ok(new) => {
                *self.current.write() = new;
                tracing::info!(cert_file = %self.files.cert_file.display(), "the TLS certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the TLS certificate stays as it was"),
        }
    }

    /// Reads the files again whenever they have changed, and on SIGHUP, which is listened to when this returns. Runs for
    /// ever.
    pub(super) fn watch(self) -> impl Future<Output = ()> + Send + use<> {
        let hang_up = signal(SignalKind::hangup());
        let mut seen = self.changed_at();
        async move {
            let Ok(mut hang_up) = hang_up else { return };
            loop {
                let asked = tokio::select! {
                    _ = hang_up.recv() => true,
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                };
                let now = self.changed_at();
                if asked || now != seen {
                    self.reload();
                    seen = now;
                }
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let at = |file: &Path| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        [at(&self.files.cert_file), at(&self.files.key_file)]
    }
}

fn acceptor(files: &TlsSettings) -> Result<TlsAcceptor, ServerError> {
    let refused = |reason: String| ServerError::Tls {
        cert_file: files.cert_file.display().to_string(),
        key_file: files.key_file.display().to_string(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(format!("{}: {error}", files.cert_file.display())))?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| refused(format!("{}: {error}", files.key_file.display())))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| refused(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
