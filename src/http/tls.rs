//! TLS: the certificate from its files, and again when they were replaced.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metrics::gauge;
use parking_lot::RwLock;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::metrics::TLS_NOT_AFTER;
use super::server::ServerError;
use crate::clock::Clock;
use crate::config::TlsSettings;

/// How often the files are looked at; SIGHUP does it at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long before it expires a certificate is warned of. Those of Let's Encrypt are made anew 30 days before.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// How often.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The certificate that new connections get. Clones share it.
#[derive(Clone)]
pub(super) struct Tls {
    files: TlsSettings,
    current: Arc<RwLock<Current>>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// In Unix seconds, where it could be read.
    not_after: Option<u64>,
}

impl Tls {
    pub(super) fn open(files: &TlsSettings) -> Result<Self, ServerError> {
        let (acceptor, not_after) = acceptor(files)?;
        let current = Arc::new(RwLock::new(Current { acceptor, not_after }));
        Ok(Self { files: files.clone(), current })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().acceptor.clone()
    }

    /// Reads the files again. When they are not a certificate and its key, the old one stays.
    fn reload(&self) {
        match acceptor(&self.files) {
            Ok((acceptor, not_after)) => {
                *self.current.write() = Current { acceptor, not_after };
                tracing::info!(cert_file = %self.files.cert_file.display(), "the TLS certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the TLS certificate stays as it was"),
        }
    }

    /// Tells when the certificate expires, and warns when that is soon.
    fn tell(&self) {
        let Some(not_after) = self.current.read().not_after else { return };
        gauge!(TLS_NOT_AFTER).set(not_after as f64);
        if let Some(warning) = warning(not_after, now()) {
            tracing::warn!(cert_file = %self.files.cert_file.display(), "{warning}");
        }
    }

    /// Reads the files again whenever they have changed, and on SIGHUP, which is listened to when this returns. Runs for
    /// ever.
    pub(super) fn watch(self) -> impl Future<Output = ()> + Send + use<> {
        let hang_up = signal(SignalKind::hangup());
        let mut seen = self.changed_at();
        async move {
            let Ok(mut hang_up) = hang_up else { return };
            self.tell();
            let mut told = Instant::now();
            loop {
                let asked = tokio::select! {
                    _ = hang_up.recv() => true,
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                };
                let now = self.changed_at();
                let changed = asked || now != seen;
                if changed {
                    self.reload();
                    seen = now;
                }
                if changed || told.elapsed() >= WARN_EVERY {
                    self.tell();
                    told = Instant::now();
                }
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let at = |file: &Path| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        [at(&self.files.cert_file), at(&self.files.key_file)]
    }
}

/// The certificate and its key as they are in the files, and when the first of the chain to expire does, in Unix seconds.
fn acceptor(files: &TlsSettings) -> Result<(TlsAcceptor, Option<u64>), ServerError> {
    let refused = |reason: String| ServerError::Tls {
        cert_file: files.cert_file.display().to_string(),
        key_file: files.key_file.display().to_string(),
        reason,
    };
    let chain = certificates(&files.cert_file).map_err(refused)?;
    let key = private_key(&files.key_file).map_err(refused)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let not_after = chain.iter().filter_map(|certificate| not_after(certificate, &provider)).min();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| refused(not_used(&error)))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), not_after))
}

fn not_used(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key is not the certificate's: the two files do not belong together".to_owned()
        }
        other => other.to_string(),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = pem(file)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match chain.map_err(|error| about(file, &error.to_string()))? {
        chain if chain.is_empty() => Err(about(file, "there is no certificate in it")),
        chain => Ok(chain),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = Zeroizing::new(pem(file)?);
    let has = |words: &[u8]| text.windows(words.len()).any(|part| part == words);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        let mend =
            "the key is encrypted, and the server asks nobody for its passphrase: openssl pkey -in FILE -out PLAIN.pem";
        return Err(about(file, mend));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => about(file, "there is no private key in it"),
        other => about(file, &other.to_string()),
    })
}

/// The content of a file that shall be PEM, and what is wrong with one that is not.
fn pem(file: &Path) -> Result<Vec<u8>, String> {
    let content = std::fs::read(file).map_err(|error| about(file, &error.to_string()))?;
    let wrong = match content.as_slice() {
        [] => "it is empty",
        [0xEF, 0xBB, 0xBF, ..] | [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => {
            "it begins with a byte order mark: save it as plain ASCII, as openssl writes it"
        }
        // A DER sequence.
        [0x30, 0x80..=0xFF, ..] => {
            "it is binary (DER, or PKCS #12), and PEM is wanted: openssl x509 -inform der (or pkey -inform der, or pkcs12 \
             -nodes) -in FILE -out FILE.pem"
        }
        _ => return Ok(content),
    };
    Err(about(file, wrong))
}

fn about(file: &Path, what: &str) -> String {
    format!("{}: {what}", file.display())
}

/// When a certificate expires. Whoever verifies one at the end of time is told.
fn not_after(certificate: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<u64> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::from(u32::MAX) << 16));
    let (roots, algorithms) = (RootCertStore::empty(), provider.signature_verification_algorithms.all);
    match verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], never, algorithms) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

/// What is to be said of a certificate that expires then.
fn warning(not_after: u64, now: u64) -> Option<String> {
    let days = |seconds: u64| seconds / (24 * 3600);
    match not_after.checked_sub(now) {
        None => Some(format!(
            "the TLS certificate expired {} days ago: browsers and clients refuse it",
            days(now - not_after)
        )),
        Some(left) if left < WARN_BEFORE.as_secs() => {
            Some(format!("the TLS certificate expires in {} days", days(left)))
        }
        Some(_) => None,
    }
}

fn now() -> u64 {
    u64::try_from(Clock::system().now().0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why these contents are no certificate and key.
    fn refused(certificate: &[u8], key: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TlsSettings { cert_file: folder.path().join("cert.pem"), key_file: folder.path().join("key.pem") };
        std::fs::write(&files.cert_file, certificate).expect("written");
        std::fs::write(&files.key_file, key).expect("written");
        acceptor(&files).err().expect("refused").to_string()
    }

    fn made() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_a_sentence() {
        let (one, other) = (made(), made());
        let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let with_mark = |text: &str| [b"\xEF\xBB\xBF".as_slice(), text.as_bytes()].concat();
        let utf16: Vec<u8> = [0xFEFF].into_iter().chain(cert.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for (certificate, key, words) in [
            (with_mark(&cert), key.clone().into_bytes(), "byte order mark"),
            (utf16, key.clone().into_bytes(), "byte order mark"),
            (one.cert.der().to_vec(), key.clone().into_bytes(), "is binary (DER"),
            (cert.clone().into_bytes(), one.signing_key.serialize_der(), "is binary (DER"),
            (cert.clone().into_bytes(), with_mark(&key), "byte order mark"),
            (cert.clone().into_bytes(), encrypted.into_bytes(), "is encrypted"),
            (cert.clone().into_bytes(), old.as_bytes().to_vec(), "is encrypted"),
            (key.clone().into_bytes(), key.clone().into_bytes(), "no certificate in it"),
            (cert.clone().into_bytes(), cert.clone().into_bytes(), "no private key in it"),
            (cert.clone().into_bytes(), other.signing_key.serialize_pem().into_bytes(), "do not belong together"),
            (Vec::new(), key.clone().into_bytes(), "is empty"),
        ] {
            let said = refused(&certificate, &key);
            assert!(said.contains(words), "{words}: {said}");
            assert!(!said.contains("PRIVATE KEY-----"), "{said}");
        }
    }

    #[test]
    fn it_is_known_when_a_certificate_expires() {
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        parameters.not_after = rcgen::date_time_ymd(2031, 7, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        assert_eq!(not_after(certificate.der(), &provider), Some(1_940_630_400));
    }

    #[test]
    fn one_that_expired_or_soon_will_is_warned_of() {
        const DAY: u64 = 24 * 3600;
        assert_eq!(warning(40 * DAY, 10 * DAY), None);
        assert_eq!(warning(20 * DAY, 10 * DAY).as_deref(), Some("the TLS certificate expires in 10 days"));
        assert!(warning(10 * DAY, 13 * DAY).is_some_and(|said| said.contains("expired 3 days ago")));
    }
}
