//! PEM text to certificates and private keys, as Kafka's `DefaultSslEngineFactory` takes it: any text around the
//! sections, attributes at their beginning, and line breaks or blanks within them (a value in a properties file is
//! often one line, KIP-651).
//!
//! Invariant: no error says anything of the text between the markers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

/// Most sections of one text.
const SECTIONS_MAX: usize = 4096;

/// One `-----BEGIN LABEL-----` to its end.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    label: &'a str,
    der: Vec<u8>,
}

/// Every certificate, in order; none is an error.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = sections(text)?.into_iter();
    let certificates: Vec<_> = found
        .filter(|section| section.label == "CERTIFICATE")
        .map(|section| CertificateDer::from(section.der))
        .collect();
    if certificates.is_empty() {
        return Err(format!("holds no certificate in PEM{}", seen(text)));
    }
    Ok(certificates)
}

/// The first private key, decrypted if it is encrypted.
pub(super) fn private_key(
    text: &str,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, String> {
    let key = sections(text)?
        .into_iter()
        .find(|section| section.label.ends_with("PRIVATE KEY"));
    let Some(Section { label, der }) = key else {
        return Err(format!("holds no private key in PEM{}", seen(text)));
    };
    match label {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
        "ENCRYPTED PRIVATE KEY" => decrypted(&der, password),
        other => Err(format!("holds a key of an unknown kind, {other}")),
    }
}

fn decrypted(der: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let password = password.ok_or("holds an encrypted key: set ssl.key.password")?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(
        |_| "holds a key whose encryption is unknown here: encrypt it with `openssl pkcs8 -topk8`",
    )?;
    let key = encrypted.decrypt(password).map_err(|_| {
        "holds a key that ssl.key.password does not decrypt, or that is encrypted otherwise than \
         `openssl pkcs8 -topk8` does (PBES2)"
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn sections(text: &str) -> Result<Vec<Section<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let cut = || "has a PEM section without its end".to_owned();
        let (label, body) = begun.split_once("-----").ok_or_else(cut)?;
        let (body, after) = body.split_once("-----END ").ok_or_else(cut)?;
        let lines = body.lines().filter(|line| !line.contains(':'));
        let base64: String = lines
            .flat_map(|line| line.chars().filter(|c| !c.is_ascii_whitespace()))
            .collect();
        if body.contains("Proc-Type:") {
            return Err(
                "holds a key in an old encryption: convert it with `openssl pkcs8 -topk8`".into(),
            );
        }
        let der = STANDARD
            .decode(base64)
            .map_err(|_| "has a PEM section that is not base64".to_owned())?;
        found.push(Section { label, der });
        if found.len() > SECTIONS_MAX {
            return Err(format!("has more than {SECTIONS_MAX} PEM sections"));
        }
        rest = after;
    }
    Ok(found)
}

/// What it is instead, where that can be told.
fn seen(text: &str) -> &'static str {
    if text.trim().is_empty() {
        ": it is empty"
    } else if text.contains("-----BEGIN ") {
        ", only other sections"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "AQIDBAUGBwgJCgsMDQ4PEA==";

    #[test]
    fn sections_are_found_in_text_in_one_line_and_with_attributes() {
        for text in [
            format!("-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----\n"),
            format!("-----BEGIN CERTIFICATE----- {BODY} -----END CERTIFICATE-----"),
            format!(
                "Alias: x\n\n-----BEGIN CERTIFICATE-----\r\nAQIDBAUGBwgJ\r\nCgsMDQ4PEA==\r\n-----END CERTIFICATE-----"
            ),
            format!("-----BEGIN CERTIFICATE-----\nname: x\n{BODY}\n-----END CERTIFICATE-----"),
        ] {
            let found = certificates(&text).unwrap();
            assert_eq!(
                found,
                [CertificateDer::from((1..=16).collect::<Vec<u8>>())],
                "{text}"
            );
        }
    }

    #[test]
    fn keys_of_every_kind_are_told_apart() {
        let key = |label: &str| {
            private_key(
                &format!("-----BEGIN {label}-----{BODY}-----END {label}-----"),
                None,
            )
        };
        assert!(matches!(key("PRIVATE KEY"), Ok(PrivateKeyDer::Pkcs8(_))));
        assert!(matches!(
            key("RSA PRIVATE KEY"),
            Ok(PrivateKeyDer::Pkcs1(_))
        ));
        assert!(matches!(key("EC PRIVATE KEY"), Ok(PrivateKeyDer::Sec1(_))));
        assert!(
            key("ENCRYPTED PRIVATE KEY")
                .unwrap_err()
                .contains("ssl.key.password")
        );
    }

    #[test]
    fn what_is_no_pem_is_refused_without_quoting_it() {
        for text in [
            "",
            "sesame",
            "-----BEGIN sesame",
            "-----BEGIN PRIVATE KEY-----sesame",
            "-----BEGIN PRIVATE KEY-----ses!ame-----END PRIVATE KEY-----",
            "-----BEGIN DOG-----AQID-----END DOG-----",
        ] {
            for error in [
                certificates(text).err(),
                private_key(text, Some("sesame")).err(),
            ] {
                let error = error.unwrap();
                assert!(!error.contains("sesame"), "{text}: {error}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in "(-----BEGIN |-----END |-----|PRIVATE KEY|CERTIFICATE|ENCRYPTED |[A-Za-z0-9+/= :\n]{0,9}){0,14}",
            bytes in proptest::collection::vec(0u8.., 0..90),
        ) {
            let _ = certificates(&text);
            let _ = private_key(&text, Some("x"));
            let _ = decrypted(&bytes, Some("x"));
        }
    }
}
