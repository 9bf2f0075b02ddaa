//! Certificates for servers and clients, made for one test and of no use after it.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::Result;

/// Somebody who signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Its own certificate, written to `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path, file: &str) -> Result<PathBuf> {
        write(folder, file, self.issuer.pem())
    }

    /// Key and certificate of somebody with that name, for that host, in one file as Kafka's `ssl.keystore.location`
    /// takes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_identity(&self, folder: &Path, file: &str, host: &str) -> Result<PathBuf> {
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new([host.to_owned()])?.signed_by(&key, &self.issuer)?;
        write(folder, file, key.serialize_pem() + &certificate.pem())
    }
}

fn write(folder: &Path, file: &str, text: String) -> Result<PathBuf> {
    let path = folder.join(file);
    std::fs::write(&path, text)?;
    Ok(path)
}
