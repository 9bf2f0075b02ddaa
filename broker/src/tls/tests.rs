//! Handshakes with clients that rustls plays, over a pipe.

use std::path::Path;
use std::time::Duration;

use carrick_protocol::credentials::pem;
use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::testing::{Files, authority, client, identity, params};
use super::*;
use crate::clock;

/// Who the client is to the listener, or why it does not get in.
async fn enter(tls: &ServerTls, client: &Arc<ClientConfig>) -> Result<String, String> {
    shake(tls, client).await.map(|(who, _)| who)
}

async fn shake(
    tls: &ServerTls,
    client: &Arc<ClientConfig>,
) -> Result<(String, ClientConnection), String> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let serving = async {
        let accepted = TlsAcceptor::from(tls.config()).accept(ours).await;
        let mut stream = accepted.map_err(|error| error.to_string())?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let who = tls.principal(chain).map_err(|error| error.to_string());
        stream.write_all(b"ok").await.unwrap();
        stream.shutdown().await.unwrap();
        who.map(|who| who.to_string())
    };
    let connecting = async {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::clone(client));
        let mut stream = connector.connect(name, theirs).await.ok()?;
        // In TLS 1.3, tickets come after the handshake, and refusals, too.
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        Some(stream.into_inner().1)
    };
    let (who, connection) = tokio::join!(serving, connecting);
    let who = who?;
    Ok((who, connection.ok_or("the client gave up")?))
}

#[tokio::test]
async fn a_client_is_the_user_that_the_rules_make_of_its_certificate() {
    let files = Files::new();
    let alice = identity(&files.clients, "Alice", None);
    let (nobody, alice) = (files.client(None), files.client(Some(&alice)));
    let tls = files.listener(&["ssl.client.auth=requested"]).unwrap();
    assert_eq!(enter(&tls, &nobody).await.as_deref(), Ok("User:ANONYMOUS"));
    let whole = enter(&tls, &alice).await;
    assert_eq!(whole.as_deref(), Ok("User:CN=Alice,O=Carrick"));
    let rules = "ssl.principal.mapping.rules=RULE:^CN=(\\w+),.*$/$1/L";
    let tls = files
        .listener(&["ssl.client.auth=required", rules])
        .unwrap();
    assert_eq!(enter(&tls, &alice).await.as_deref(), Ok("User:alice"));
    let other = "ssl.principal.mapping.rules=RULE:^OU=(.*)$/$1/";
    let tls = files
        .listener(&["ssl.client.auth=required", other])
        .unwrap();
    let error = enter(&tls, &alice).await.unwrap_err();
    assert!(
        error.contains("no rule of ssl.principal.mapping.rules"),
        "{error}"
    );
    let tls = files.listener(&[]).unwrap();
    assert_eq!(enter(&tls, &alice).await.as_deref(), Ok("User:ANONYMOUS"));
}

#[tokio::test]
async fn only_valid_certificates_of_trusted_authorities_get_in_where_one_is_asked_for() {
    let files = Files::new();
    let stranger = identity(&authority("strangers"), "Eve", None);
    let old = identity(&files.clients, "Old", Some(2020));
    let young = identity(&files.clients, "Young", Some(4000));
    for auth in ["requested", "required"] {
        let tls = files
            .listener(&[&format!("ssl.client.auth={auth}")])
            .unwrap();
        for (shown, words) in [
            (&stranger, "UnknownIssuer"),
            (&old, "expired"),
            (&young, "not valid yet"),
        ] {
            let error = enter(&tls, &files.client(Some(shown))).await.unwrap_err();
            assert!(error.contains(words), "{auth}: {error}");
        }
    }
    let tls = files.listener(&["ssl.client.auth=required"]).unwrap();
    let error = enter(&tls, &files.client(None)).await.unwrap_err();
    assert!(error.contains("no certificates"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_in_the_trust_store_itself_needs_no_authority() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = params("Self", None);
        params.is_ca = is_ca;
        let own = params.self_signed(&key).unwrap().pem();
        files.write("clients.pem", &own);
        let tls = files.listener(&["ssl.client.auth=required"]).unwrap();
        let client = files.client(Some(&(key.serialize_pem() + &own)));
        let who = enter(&tls, &client).await;
        assert_eq!(who.as_deref(), Ok("User:CN=Self,O=Carrick"));
    }
}

/// keytool makes certificates that do not say whether they are an authority's: they are none.
#[tokio::test]
async fn a_client_whose_own_certificate_is_trusted_cannot_sign_one_for_somebody_else() {
    let files = Files::new();
    let signed_by = |is_ca: IsCa| {
        let mut own = params("Alice", None);
        own.is_ca = is_ca;
        let alice = CertifiedIssuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
        (identity(&alice, "Admin", None), alice)
    };
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let (admin, alice) = signed_by(is_ca);
        for others in ["", &files.clients.pem()] {
            files.write("clients.pem", &(alice.pem() + others));
            let tls = files.listener(&["ssl.client.auth=required"]).unwrap();
            let alone = files.client(Some(&admin));
            let chain = files.client(Some(&(admin.clone() + &alice.pem())));
            for client in [alone, chain] {
                let error = enter(&tls, &client).await.unwrap_err();
                let is_refused = ["UnknownIssuer", "EndEntityUsedAsCa"];
                assert!(is_refused.iter().any(|it| error.contains(it)), "{error}");
            }
            let own = alice.key().serialize_pem() + &alice.pem();
            let who = enter(&tls, &files.client(Some(&own))).await;
            assert_eq!(who.as_deref(), Ok("User:CN=Alice,O=Carrick"));
        }
    }
    let (admin, authority) = signed_by(IsCa::Ca(BasicConstraints::Unconstrained));
    files.write("clients.pem", &authority.pem());
    let tls = files.listener(&["ssl.client.auth=required"]).unwrap();
    let who = enter(&tls, &files.client(Some(&admin))).await;
    assert_eq!(who.as_deref(), Ok("User:CN=Admin,O=Carrick"));
}

#[tokio::test]
async fn a_trusted_certificate_that_is_no_authority_ends_like_any_other() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let old = params("Old", Some(2020)).self_signed(&key).unwrap().pem();
    files.write("clients.pem", &old);
    let tls = files.listener(&["ssl.client.auth=required"]).unwrap();
    let client = files.client(Some(&(key.serialize_pem() + &old)));
    let error = enter(&tls, &client).await.unwrap_err();
    assert!(error.contains("Expired"), "{error}");
}

/// `openssl x509 -req` makes them, unless it is given extensions.
#[tokio::test]
async fn a_clients_certificate_of_x509_version_1_gets_in_if_its_authority_is_trusted() {
    let files = Files::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tls/testdata");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let shown = text("version1.client.pem");
    let both = ["ssl.client.auth=required"];
    let stranger = files.listener(&both).unwrap();
    files.write("clients.pem", &text("version1.authority.pem"));
    let tls = files.listener(&both).unwrap();
    files.write("clients.pem", &shown);
    let itself = files.listener(&both).unwrap();
    for version in [&TLS13, &TLS12] {
        let client = client(files.servers.der(), Some(&shown), &[version]);
        for trusts in [&tls, &itself] {
            let who = enter(trusts, &client).await;
            assert_eq!(who.as_deref(), Ok("User:CN=old,O=Carrick"));
        }
        let error = enter(&stranger, &client).await.unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{error}");
        // Somebody else's key does not do.
        let mut forged = KeyPair::generate().unwrap().serialize_pem();
        forged.push_str(&shown[shown.find("-----BEGIN CERT").unwrap()..]);
        let thief = self::client(files.servers.der(), Some(&forged), &[version]);
        let error = enter(&tls, &thief).await.unwrap_err();
        assert!(error.contains("BadSignature"), "{error}");
    }
    let der = pem::certificates(&shown).unwrap().remove(0);
    let old = version1::read(&der).unwrap();
    let end_s = old.validity().not_after.timestamp() as u64;
    let after = UnixTime::since_unix_epoch(Duration::from_secs(end_s + 1));
    let algorithms = ring::default_provider().signature_verification_algorithms;
    assert!(version1::verify(&old, std::slice::from_ref(&der), &algorithms, after).is_err());
}

#[tokio::test]
async fn changed_files_are_used_from_the_next_connection_on_and_bad_ones_never() {
    let files = Files::new();
    let rules = ["ssl.client.auth=required"];
    let tls = files.listener(&rules).unwrap();
    let alice = files.client(Some(&identity(&files.clients, "Alice", None)));
    assert!(enter(&tls, &alice).await.is_ok());
    let before = tls.config();
    tls.look();
    assert!(Arc::ptr_eq(&before, &tls.config()), "nothing has changed");
    files.write("server.pem", "half of a file");
    tls.look();
    assert!(enter(&tls, &alice).await.is_ok());
    let (listener, detail) = tls.problem(clock::now_ms() / 1_000).unwrap();
    assert_eq!(listener, "SSL");
    assert!(detail.contains("ssl.keystore.location"), "{detail}");
    let others = authority("others");
    files.write("server.pem", &identity(&others, "renewed", None));
    tls.look();
    assert_eq!(tls.problem(clock::now_ms() / 1_000), None);
    let error = enter(&tls, &alice).await.unwrap_err();
    assert!(!error.is_empty(), "the client does not trust the new one");
    let knows = client(
        others.der(),
        Some(&identity(&files.clients, "Alice", None)),
        &[&TLS13],
    );
    assert!(enter(&tls, &knows).await.is_ok());
    files.write("clients.pem", &others.pem());
    tls.look();
    let error = enter(&tls, &knows).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn sessions_are_resumed_until_the_files_change() {
    let files = Files::new();
    let tls = files.listener(&["ssl.client.auth=required"]).unwrap();
    let alice = identity(&files.clients, "Alice", None);
    for version in [&TLS13, &TLS12] {
        let client = client(files.servers.der(), Some(&alice), &[version]);
        let kinds = async || {
            let (who, connection) = shake(&tls, &client).await.unwrap();
            assert_eq!(who, "User:CN=Alice,O=Carrick");
            connection.handshake_kind()
        };
        assert_eq!(kinds().await, Some(HandshakeKind::Full));
        assert_eq!(kinds().await, Some(HandshakeKind::Resumed));
        files.write("server.pem", &identity(&files.servers, "renewed", None));
        tls.look();
        assert_eq!(kinds().await, Some(HandshakeKind::Full));
    }
}

#[test]
fn a_resumed_session_ends_with_its_certificate() {
    let files = Files::new();
    let tls = files.listener(&[]).unwrap();
    let old = pem::certificates(&identity(&files.clients, "Old", Some(2020))).unwrap();
    assert_eq!(tls.principal(&old), Err(CertificateError::Expired));
    let bytes = CertificateDer::from(vec![1, 2, 3]);
    assert_eq!(tls.principal(&[bytes]), Err(CertificateError::Unreadable));
}

#[test]
fn what_is_missing_or_unfit_keeps_the_broker_from_starting_and_is_named() {
    let files = Files::new();
    for (property, words) in [
        (
            "ssl.keystore.location=",
            "'ssl.keystore.location': is missing",
        ),
        ("ssl.keystore.location=/no/such", "can't be read"),
        (
            "ssl.truststore.location=/no/such",
            "'ssl.truststore.location'",
        ),
        (
            "listener.name.ssl.ssl.truststore.location=",
            "needs the authorities",
        ),
        (
            "ssl.principal.mapping.rules=default",
            "'ssl.principal.mapping.rules'",
        ),
        ("ssl.cipher.suites=TLS_OLD", "no supported cipher suite"),
        ("ssl.enabled.protocols=TLSv1.1", "older versions are broken"),
        ("ssl.enabled.protocols=TLSv9", "'TLSv9' must be"),
    ] {
        let error = files.listener(&["ssl.client.auth=required", property]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{property}: {error}");
    }
    let key = identity(&files.servers, "a", None);
    let chain = identity(&files.servers, "b", None);
    let mixed = [
        &key[..key.find("-----BEGIN CERT").unwrap()],
        &chain[chain.find("-----BEGIN CERT").unwrap()..],
    ];
    files.write("server.pem", &mixed.concat());
    let error = files.listener(&[]).unwrap_err().to_string();
    assert!(error.contains("not its certificate's"), "{error}");
}

#[tokio::test]
async fn versions_and_suites_are_those_of_the_properties() {
    let files = Files::new();
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let suites = format!("ssl.cipher.suites=TLS_OLD,{suite}");
    let tls = files
        .listener(&["ssl.enabled.protocols=TLSv1.2", &suites])
        .unwrap();
    let old = client(files.servers.der(), None, &[&TLS12]);
    let (_, connection) = shake(&tls, &old).await.unwrap();
    let negotiated = connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(format!("{negotiated:?}"), suite);
    let new = client(files.servers.der(), None, &[&TLS13]);
    assert!(enter(&tls, &new).await.is_err());
    let error = files.listener(&["ssl.enabled.protocols=TLSv1.3", &suites]);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("'ssl.cipher.suites'")
    );
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of_once_a_day() {
    const DAY_S: i64 = 24 * 3600;
    let files = Files::new();
    files.write(
        "server.pem",
        &identity(&files.servers, "server", Some(4000)),
    );
    let tls = files.listener(&[]).unwrap();
    let end = *tls.current.load().valid_s.end();
    assert!(!tls.warn_of_end(end - 31 * DAY_S));
    assert!(tls.warn_of_end(end - 29 * DAY_S));
    assert!(!tls.warn_of_end(end - 29 * DAY_S + 5));
    assert!(tls.warn_of_end(end - 28 * DAY_S));
    assert!(!tls.warn_of_end(end + 1), "it is a problem now");
}

#[test]
fn a_certificate_that_is_not_valid_now_is_a_problem() {
    let files = Files::new();
    let server = identity(&files.servers, "server", Some(2020));
    files.write("server.pem", &server);
    let tls = files.listener(&[]).unwrap();
    let valid_s = tls.current.load().valid_s.clone();
    for now_s in [*valid_s.start(), *valid_s.end()] {
        assert_eq!(tls.problem(now_s), None);
    }
    let detail = |now_s| tls.problem(now_s).unwrap().1;
    assert!(detail(*valid_s.start() - 1).contains("not valid yet"));
    assert!(detail(*valid_s.end() + 1).starts_with("its certificate has expired"));
    files.write("server.pem", "half of a file");
    tls.look();
    let both = detail(*valid_s.end() + 1);
    assert!(both.contains("ssl.keystore.location") && both.contains("expired"));
}
