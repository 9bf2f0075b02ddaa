//! Certificates for servers and clients, made for one test and of no use after it.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};

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
        self.write_for(folder, file, &[host])
    }

    /// As [`Authority::write_identity`], for several hosts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_for(&self, folder: &Path, file: &str, hosts: &[&str]) -> Result<PathBuf> {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        self.write_signed(folder, file, CertificateParams::new(hosts)?)
    }

    /// As [`Authority::write_identity`], whose own name is `name`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_named(&self, folder: &Path, file: &str, name: &str) -> Result<PathBuf> {
        self.write_signed(folder, file, named(name)?)
    }

    /// As [`Authority::write_named`], with a certificate that was valid long ago.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_expired(&self, folder: &Path, file: &str, name: &str) -> Result<PathBuf> {
        let mut params = named(name)?;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.write_signed(folder, file, params)
    }

    fn write_signed(
        &self,
        folder: &Path,
        file: &str,
        params: CertificateParams,
    ) -> Result<PathBuf> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(folder, file, key.serialize_pem() + &certificate.pem())
    }
}

/// A certificate for the host of that name, whose own name that is, too.
fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn write(folder: &Path, file: &str, text: String) -> Result<PathBuf> {
    let path = folder.join(file);
    std::fs::write(&path, text)?;
    Ok(path)
}
