//! Certificates for servers and clients, made for one test and of no use after it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
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

/// Writes the key and certificate in `pem` to a PKCS#12 store beside it, by openssl.
///
/// # Errors
/// What openssl says.
pub fn to_pkcs12(pem: &Path, password: &str) -> Result<PathBuf> {
    let store = pem.with_extension("p12");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-name", "own", "-passout"]);
    openssl.arg(format!("pass:{password}"));
    openssl.arg("-in").arg(pem).arg("-out").arg(&store);
    run(openssl)?;
    Ok(store)
}

/// Writes the certificate in `pem` to a trust store of PKCS#12 beside it, by Java's keytool.
///
/// # Errors
/// What keytool says.
pub fn to_trust_store(pem: &Path, password: &str) -> Result<PathBuf> {
    let store = pem.with_extension("trust.p12");
    let mut keytool = Command::new("keytool");
    keytool.args(["-importcert", "-noprompt", "-alias", "authority"]);
    keytool.args(["-storetype", "PKCS12", "-storepass", password]);
    keytool.arg("-file").arg(pem).arg("-keystore").arg(&store);
    run(keytool)?;
    Ok(store)
}

fn run(mut command: Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {output:?}");
    }
    Ok(())
}

fn write(folder: &Path, file: &str, text: String) -> Result<PathBuf> {
    let path = folder.join(file);
    std::fs::write(&path, text)?;
    Ok(path)
}
