//! TLS against a server of our own, with certificates made here.

use carrick_protocol::credentials::{Secret, pem};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::security::{TlsVersions, TrustStore};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names, and its key, in PEM.
fn issue(authority: &Authority, names: &[&str], last_year: Option<i32>) -> (String, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    if let Some(year) = last_year {
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key)
}

fn server(identity: &(String, KeyPair), clients: Option<&Authority>) -> ServerConfig {
    let chain = pem::certificates(&identity.0).unwrap();
    let key = PrivateKeyDer::try_from(identity.1.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    builder.with_single_cert(chain, key).unwrap()
}

fn client(trusted: &str) -> Tls {
    Tls {
        truststore: Some(TrustStore::Inline(Secret::new(trusted))),
        keystore: None,
        checks_host: true,
        versions: TlsVersions {
            v1_2: true,
            v1_3: true,
        },
        cipher_suites: Vec::new(),
    }
}

/// What the client reads from a server that sends "ok", or why it does not.
async fn greet(server: ServerConfig, tls: Tls, host: &str) -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(stream).await {
            let _ = stream.write_all(b"ok").await;
            let _ = stream.shutdown().await;
        }
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let transport = TlsTransport::new(tls.clone());
    let mut io = transport
        .secure(stream, "peer:1", host)
        .await
        .map_err(|error| {
            assert!(
                matches!(error, SourceError::Authentication { .. }),
                "{error:?}"
            );
            error.to_string()
        })?;
    let mut text = String::new();
    let read = io.reader.read_to_string(&mut text).await;
    serving.await.unwrap();
    read.map(|_| text)
        .map_err(|error| words(&error, &tls).unwrap_or_else(|| error.to_string()))
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_spoken_to_by_its_names_and_addresses() {
    let ca = authority("ca");
    let identity = issue(&ca, &["localhost", "127.0.0.1"], None);
    for host in ["localhost", "127.0.0.1"] {
        let greeted = greet(server(&identity, None), client(&ca.pem()), host).await;
        assert_eq!(greeted.as_deref(), Ok("ok"), "{host}");
    }
}

#[tokio::test]
async fn each_wrong_certificate_is_refused_in_its_own_words() {
    let (ca, other) = (authority("ca"), authority("other"));
    let good = issue(&ca, &["localhost"], None);
    let old = issue(&ca, &["localhost"], Some(2020));
    let young = issue(&ca, &["localhost"], Some(4000));
    for (identity, trusted, host, text) in [
        (&good, other.pem(), "localhost", "unknown authority"),
        (
            &good,
            ca.pem(),
            "elsewhere",
            "is for localhost and not for the host elsewhere",
        ),
        (
            &good,
            ca.pem(),
            "127.0.0.1",
            "and not for the host 127.0.0.1",
        ),
        (&old, ca.pem(), "localhost", "expired on 2020-12-31"),
        (&young, ca.pem(), "localhost", "not valid before 4000-01-01"),
    ] {
        let error = greet(server(identity, None), client(&trusted), host)
            .await
            .unwrap_err();
        assert!(error.contains(text), "{error}");
        assert!(error.contains("peer:1"), "{error}");
    }
}

#[tokio::test]
async fn any_host_will_do_when_the_check_is_switched_off_but_not_any_authority() {
    let (ca, other) = (authority("ca"), authority("other"));
    let identity = issue(&ca, &["localhost"], None);
    let unchecked = |trusted: String| Tls {
        checks_host: false,
        ..client(&trusted)
    };
    for host in ["elsewhere", "no host name at all"] {
        let greeted = greet(server(&identity, None), unchecked(ca.pem()), host).await;
        assert_eq!(greeted.as_deref(), Ok("ok"));
    }
    let error = greet(server(&identity, None), unchecked(other.pem()), "localhost").await;
    assert!(error.unwrap_err().contains("unknown authority"));
}

#[tokio::test]
async fn a_certificate_that_is_trusted_itself_needs_no_authority() {
    let key = KeyPair::generate().unwrap();
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let pem = params.self_signed(&key).unwrap().pem();
        let identity = (
            pem.clone(),
            KeyPair::from_pem(&key.serialize_pem()).unwrap(),
        );
        let greeted = greet(server(&identity, None), client(&pem), "localhost").await;
        assert_eq!(greeted.as_deref(), Ok("ok"));
    }
}

#[tokio::test]
async fn a_trusted_certificate_that_is_no_authoritys_signs_none_for_another_host() {
    let mut params = CertificateParams::new(vec!["elsewhere".to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let forged = issue(&other, &["localhost"], None);
    let error = greet(server(&forged, None), client(&other.pem()), "localhost").await;
    assert!(error.unwrap_err().contains("unknown authority"));
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_the_links_own() {
    let (ca, clients) = (authority("ca"), authority("clients"));
    let identity = issue(&ca, &["localhost"], None);
    let own = |authority: &Authority| {
        let (chain, key) = issue(authority, &["link"], None);
        KeyStore::Inline {
            key: Secret::new(key.serialize_pem()),
            chain: Secret::new(chain),
            key_password: None,
        }
    };
    let ask = |keystore: Option<KeyStore>| {
        let tls = Tls {
            keystore,
            ..client(&ca.pem())
        };
        greet(server(&identity, Some(&clients)), tls, "localhost")
    };
    assert_eq!(ask(Some(own(&clients))).await.as_deref(), Ok("ok"));
    let none = ask(None).await.unwrap_err();
    assert!(none.contains("asks for a client certificate"), "{none}");
    let stranger = ask(Some(own(&ca))).await.unwrap_err();
    assert!(
        stranger.contains("does not accept the link's own certificate"),
        "{stranger}"
    );
}

#[tokio::test]
async fn versions_and_suites_are_those_of_the_config() {
    let ca = authority("ca");
    let identity = issue(&ca, &["localhost"], None);
    let mut tls = client(&ca.pem());
    tls.versions = TlsVersions {
        v1_2: true,
        v1_3: false,
    };
    tls.cipher_suites = vec![
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned(),
        "TLS_OLD".to_owned(),
    ];
    assert_eq!(
        greet(server(&identity, None), tls.clone(), "localhost")
            .await
            .as_deref(),
        Ok("ok")
    );
    tls.versions = TlsVersions {
        v1_2: false,
        v1_3: true,
    };
    assert_eq!(check(&tls).unwrap_err().name, "ssl.cipher.suites");
    tls.cipher_suites = vec!["TLS_AES_256_GCM_SHA384".to_owned()];
    assert_eq!(
        greet(server(&identity, None), tls.clone(), "localhost")
            .await
            .as_deref(),
        Ok("ok")
    );
    tls.cipher_suites = vec!["TLS_OLD".to_owned()];
    assert_eq!(check(&tls).unwrap_err().name, "ssl.cipher.suites");
}

#[tokio::test]
async fn a_listener_without_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen).await;
    };
    let connecting = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let transport = TlsTransport::new(client(&authority("ca").pem()));
        transport
            .secure(stream, "peer:1", "localhost")
            .await
            .err()
            .unwrap()
    };
    let ((), error) = tokio::join!(serving, connecting);
    assert!(
        error.to_string().contains("does not answer in TLS"),
        "{error}"
    );
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_config() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    for (path, text) in [
        (
            dir.path().join("none.pem"),
            "none.pem on the broker's host can't be read",
        ),
        (file("ca.jks", &[0xfe, 0xed, 0xfe, 0xed, 0]), "a JKS store"),
        (file("ca.p12", &[0x30, 0x82, 1, 0]), "is not a PKCS12 store"),
        (file("ca.pem", b"hello"), "holds no certificate"),
    ] {
        let tls = Tls {
            truststore: Some(TrustStore::File {
                path,
                password: None,
            }),
            ..client("")
        };
        let error = check(&tls).unwrap_err();
        assert_eq!(error.name, "ssl.truststore.location");
        assert!(error.reason.contains(text), "{error}");
    }
    let ca = authority("ca");
    let (chain, _) = issue(&ca, &["link"], None);
    let (_, key) = issue(&ca, &["link"], None);
    let keystore = KeyStore::Inline {
        key: Secret::new(key.serialize_pem()),
        chain: Secret::new(chain),
        key_password: None,
    };
    let mismatched = Tls {
        keystore: Some(keystore),
        ..client(&ca.pem())
    };
    assert_eq!(check(&mismatched).unwrap_err().name, "ssl.keystore.key");
}
