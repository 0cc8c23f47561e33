//! How servers of clients are asked, and whose certificates they may show.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::layers::{ConfigError, Values};
use super::{RemoteSettings, count, flag, path, seconds};

const CA_FILE: &str = "remote.ca_file";

pub(super) fn read(values: &Values) -> Result<RemoteSettings, ConfigError> {
    let authorities = path(values, CA_FILE).map(|file| authorities(&file)).transpose();
    Ok(RemoteSettings {
        allow_private: flag(values, "remote.allow_private"),
        authorities: authorities.map_err(|reason| values.refuse(CA_FILE, reason))?.unwrap_or_default(),
        timeout: seconds(values, "remote.timeout_seconds"),
        concurrent: count(values, "remote.concurrent"),
    })
}

/// The certificates of a PEM file; at least one, and each one that can be an anchor of trust (RFC 5280 6.1.1).
fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| format!("{} has no certificates: {error}", file.display()))?;
    if certificates.is_empty() {
        return Err(format!("{} has no certificates", file.display()));
    }
    for certificate in &certificates {
        let added = RootCertStore::empty().add(certificate.clone());
        added.map_err(|error| format!("{} has one that cannot be used: {error}", file.display()))?;
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn authorities_of(text: &str) -> Result<usize, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, text).expect("written");
        let settings = Settings::with(&[(CA_FILE, &file.display().to_string())]);
        settings.map(|settings| settings.remote.authorities.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_certificate_of_the_file_is_believed() {
        assert!(Settings::with(&[]).unwrap().remote.authorities.is_empty());
        let one = rcgen::generate_simple_self_signed(["inside.example".to_owned()]).expect("a certificate").cert.pem();
        assert_eq!(authorities_of(&format!("{one}{one}")), Ok(2));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "no certificate", wrong] {
            let refused = authorities_of(text).unwrap_err();
            assert!(refused.contains(CA_FILE), "{refused}");
        }
        assert!(Settings::with(&[(CA_FILE, "/nowhere/ca.pem")]).is_err());
    }
}
