//! For tests of listeners with TLS: their files, and clients.

use std::path::PathBuf;
use std::sync::Arc;

use carrick_protocol::credentials::pem;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

use super::{ClientAuth, ServerTls};
use crate::config::ConfigError;
use crate::testing::values;

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Key and certificate in one text, of somebody with that name.
pub fn identity(authority: &Authority, name: &str, last_year: Option<i32>) -> String {
    let key = KeyPair::generate().unwrap();
    let signed = params(name, last_year).signed_by(&key, authority).unwrap();
    key.serialize_pem() + &signed.pem()
}

pub fn params(name: &str, last_year: Option<i32>) -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Carrick");
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(year) = last_year {
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
    }
    params
}

/// A listener's files.
pub struct Files {
    dir: TempDir,
    pub servers: Authority,
    pub clients: Authority,
}

impl Files {
    pub fn new() -> Self {
        let it = Self {
            dir: tempfile::tempdir().unwrap(),
            servers: authority("servers"),
            clients: authority("clients"),
        };
        it.write("server.pem", &identity(&it.servers, "server", None));
        it.write("clients.pem", &it.clients.pem());
        it
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Properties that name the files.
    pub fn properties(&self) -> Vec<String> {
        [
            ("ssl.keystore.location", "server.pem"),
            ("ssl.truststore.location", "clients.pem"),
        ]
        .map(|(name, file)| format!("{name}={}", self.path(file).display()))
        .to_vec()
    }

    /// The listener with these files and further properties.
    pub fn listener(&self, properties: &[&str]) -> Result<Arc<ServerTls>, ConfigError> {
        let mut all = self.properties();
        all.extend(properties.iter().map(|property| (*property).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let values = values(&all);
        let values = values.listener("SSL");
        let client_auth = ClientAuth::of(&values, values.text("ssl.client.auth"))?;
        ServerTls::of("SSL", &values, client_auth)
    }

    pub fn client(&self, shows: Option<&str>) -> Arc<ClientConfig> {
        client(self.servers.der(), shows, &[&TLS13, &TLS12])
    }
}

pub fn client(
    trusts: &CertificateDer<'static>,
    shows: Option<&str>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match shows {
        None => builder.with_no_client_auth(),
        Some(text) => {
            let key: PrivateKeyDer<'static> = pem::private_key(text, None).unwrap();
            let key = ring::sign::any_supported_type(&key).unwrap();
            let own = CertifiedKey::new(pem::certificates(text).unwrap(), key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
        }
    })
}
