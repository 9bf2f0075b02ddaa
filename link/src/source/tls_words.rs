//! Errors of TLS in words, with the next step.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use crate::config::security::Tls;

/// Why TLS ended the connection; `None` if it was not TLS that did.
pub(super) fn words(error: &io::Error, tls: &Tls) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(error) => certificate(error, tls),
        Error::AlertReceived(alert) => alert_words(*alert, tls),
        Error::InvalidMessage(_) => {
            "it does not answer in TLS: is this a TLS listener? For one without, set security.protocol to \
             PLAINTEXT or SASL_PLAINTEXT"
                .to_owned()
        }
        Error::PeerIncompatible(reason) => {
            format!("no version of TLS or cipher suite in common ({reason:?}): see ssl.enabled.protocols and ssl.cipher.suites")
        }
        other => format!("TLS failed: {other}"),
    })
}

fn certificate(error: &CertificateError, tls: &Tls) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            let store = match tls.truststore {
                Some(_) => "the trust store",
                None => "this host's own (no ssl.truststore.… is set)",
            };
            format!(
                "its certificate is signed by an unknown authority, none of {store}: put the authority's certificate \
                 into ssl.truststore.location or ssl.truststore.certificates"
            )
        }
        CertificateError::Expired => {
            "its certificate has expired: it must be renewed there".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "its certificate expired on {}: it must be renewed there",
                day(*not_after)
            )
        }
        CertificateError::NotValidYet => {
            "its certificate is not valid yet: are both clocks right?".to_owned()
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "its certificate is not valid before {}: are both clocks right?",
                day(*not_before)
            )
        }
        CertificateError::NotValidForName => {
            wrong_host("another host than the one that is connected to", "")
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<String> = presented.iter().map(|name| printable(name)).collect();
            let names = match names.len() {
                0 => "no host at all (only subject alternative names count)".to_owned(),
                _ => names.join(", "),
            };
            wrong_host(
                &names,
                &format!(" and not for the host {}", expected.to_str()),
            )
        }
        other => format!("its certificate can't be trusted: {other}"),
    }
}

fn wrong_host(names: &str, not: &str) -> String {
    format!(
        "its certificate is for {names}{not}: use one of its names, or set \
         ssl.endpoint.identification.algorithm to nothing to trust it for any host"
    )
}

fn alert_words(alert: AlertDescription, tls: &Tls) -> String {
    use AlertDescription as A;
    let has_own = tls.keystore.is_some();
    match alert {
        A::CertificateRequired => {
            "it asks for a client certificate, and the link has none: set ssl.keystore.location or ssl.keystore.key"
                .to_owned()
        }
        A::BadCertificate | A::HandshakeFailure if !has_own => format!(
            "it ended the handshake ({alert:?}): it may ask for a client certificate (ssl.keystore.…), or have no \
             version of TLS or cipher suite in common"
        ),
        A::UnknownCA | A::DecryptError | A::BadCertificate | A::CertificateUnknown | A::CertificateExpired | A::CertificateRevoked
        | A::UnsupportedCertificate | A::AccessDenied
            if has_own =>
        {
            format!("it does not accept the link's own certificate, of ssl.keystore.… ({alert:?})")
        }
        A::ProtocolVersion | A::InsufficientSecurity | A::HandshakeFailure => format!(
            "no version of TLS or cipher suite in common ({alert:?}): see ssl.enabled.protocols and ssl.cipher.suites"
        ),
        other => format!("it ended the TLS connection ({other:?})"),
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or("a day unknown".to_owned(), |time| time.to_string())
}

/// A name from a peer's certificate (`DnsName("a")`, `IpAddress(::1)`), made safe for a log.
fn printable(name: &str) -> String {
    let bare = name.split_once('(').map_or(name, |(_, rest)| rest);
    let bare = bare.trim_end_matches(')').trim_matches('"');
    bare.chars().filter(|c| !c.is_control()).take(100).collect()
}
