//! PEM text to certificates and private keys, as Kafka's `DefaultSslEngineFactory` reads it: any
//! text around the sections, attributes at their beginning, and line breaks or blanks within them
//! (a value in a properties file is often one line, KIP-651).
//!
//! Invariant: no error contains any of the text between the markers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Encode, Tag};
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use rustls::RootCertStore;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use sec1::EcPrivateKey;

/// Most sections of one text.
const SECTIONS_MAX: usize = 4096;

/// One `-----BEGIN LABEL-----` to its end.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    label: &'a str,
    der: Vec<u8>,
}

/// Every certificate, in order; none is an error.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
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
pub fn private_key(text: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
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
        |_| "holds a key with an unsupported encryption: encrypt it with `openssl pkcs8 -topk8`",
    )?;
    let key = encrypted.decrypt(password).map_err(|_| {
        "holds a key that ssl.key.password does not decrypt, or whose encryption is not the one \
         that `openssl pkcs8 -topk8` uses (PBES2)"
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// `key`, with the public half that the certificate has, if it is an elliptic curve's without one: Java's keytool
/// writes it so, and `ring` takes it with both halves only.
pub fn with_public_half(
    key: PrivateKeyDer<'static>,
    certificate: &CertificateDer<'_>,
) -> PrivateKeyDer<'static> {
    let PrivateKeyDer::Pkcs8(whole) = &key else {
        return key;
    };
    match completed(whole.secret_pkcs8_der(), certificate) {
        Some(der) => PrivatePkcs8KeyDer::from(der).into(),
        None => key,
    }
}

fn completed(key: &[u8], certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    let info = PrivateKeyInfoRef::try_from(key).ok()?;
    let half = EcPrivateKey::try_from(info.private_key.as_bytes()).ok()?;
    if info.algorithm.oid != EC_PUBLIC_KEY || half.public_key.is_some() {
        return None;
    }
    // As a root, a certificate of X.509 version 1 is read, too.
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let public = &roots.roots.first()?.subject_public_key_info;
    let public = AnyRef::new(Tag::Sequence, public).ok()?.to_der().ok()?;
    let public = SubjectPublicKeyInfoRef::try_from(public.as_slice()).ok()?;
    let both = EcPrivateKey {
        public_key: public.subject_public_key.as_bytes(),
        ..half
    };
    let both = both.to_der().ok()?;
    let private_key = OctetStringRef::new(&both).ok()?;
    PrivateKeyInfoRef::new(info.algorithm, private_key)
        .to_der()
        .ok()
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

/// What it is instead, if that can be recognized.
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
            "Alias: x\n\n-----BEGIN CERTIFICATE-----\r\nAQIDBAUGBwgJ\r\nCgsMDQ4PEA==\r\n-----END CERTIFICATE-----"
                .to_owned(),
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

    /// One key of a curve: as it is, encrypted by `openssl pkcs8 -topk8` with its defaults, and with scrypt.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxzl8QUAjMMfXfm5i
CmQM3CzhSoM3mW1KeGwr2WeLc3OhRANCAAQ/09N+e7TXb7FHYoFoLBrMFw5eBKi6
beblhFLYMX98/3irFhXcoPp3TsXblaCVYhujqEr84fm1DUQrmxpSkZwM
-----END PRIVATE KEY-----";
    const ENCRYPTED: [&str; 2] = [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj0+ybSIKU5QwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEED2F4GlivIYL041YTpx6IEEgZDr
gM0z2akUoSMAHG8jXen/6cp+tTFHWVMsGCfEVFXf6b9v3bira3UXpStoQwdgOp3Q
DYjXw+wEMYRcjL/0bwuhnsO+h4W2CyOeTkaB+zPPKYF8sHOIjnNb5/Bnfw6QEe4t
mHt+hpTMV1mpzgMQVvlbepFJkuWmdHuS+oAHyd6d0CcdHKKPMAQNJxefOP7L6uU=
-----END ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAi8ANM1UdBQwAICBAAC
AQgCAQEwHQYJYIZIAWUDBAECBBDRltV9KwvREhNeCNtdCfqcBIGQNTydfAHMPZcO
ryq/RJqZxkkyWKeoYW8O5RX58EtRaa3s4GAK/vYKD8bgj9DObCHWNPS3UYpPAJ32
w5prw7TEiciaf2jXpAEUX83u//y1sKVtGkuiqn5s6tT6Ud9nSGM/w05X8J1USXrN
N4PYRm+6kt6HgTAJKTsrkQmviSttC4/iRcVBaRC8qTFNoHvkl8i8
-----END ENCRYPTED PRIVATE KEY-----",
    ];

    #[test]
    fn an_encrypted_key_is_read_with_its_password() {
        let plain = private_key(KEY, None).unwrap();
        for encrypted in ENCRYPTED {
            assert_eq!(private_key(encrypted, Some("sesame")).unwrap(), plain);
            let wrong = private_key(encrypted, Some("hunter2")).unwrap_err();
            assert!(
                wrong.contains("ssl.key.password does not decrypt"),
                "{wrong}"
            );
        }
    }

    /// What keytool and `openssl pkcs12` make of a new key of a curve.
    const JAVA: &str = "-----BEGIN PRIVATE KEY-----
MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCBcOEjNoJlgNsRdRWuk
g3WE0BsPgZQvc2OSyLsyVKO6ww==
-----END PRIVATE KEY-----
Bag Attributes
    friendlyName: a
subject=CN = x
issuer=CN = x
-----BEGIN CERTIFICATE-----
MIIBLzCB1qADAgECAgkA945PU1ElVmswCgYIKoZIzj0EAwIwDDEKMAgGA1UEAxMB
eDAeFw0yNjExMjMxMjU4MTZaFw0yNjEyMDIxMjU4MTZaMAwxCjAIBgNVBAMTAXgw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ7cetcIaccCu9nhwqN0hecOszf+am9
sCn5vgZ/fU1xGynBytyWya6WHnkkJO5ZSx8mOV1exZXL/JrUmGgdW6sToyEwHzAd
BgNVHQ4EFgQU1Ydcsub3pEYtMuDWB62cJdRhfjIwCgYIKoZIzj0EAwIDSAAwRQIh
AO0aPLNiGs5XpuAjg/0xaLUfVP572FMXtcK1yVV7QZeaAiB5IdRLAvuVhoP7wEwR
gLzln2ndVcv9ep1jPa3nExNJbw==
-----END CERTIFICATE-----";

    #[test]
    fn a_key_of_javas_keytool_gets_its_public_half_of_the_certificate() {
        let (key, chain) = (
            private_key(JAVA, None).unwrap(),
            certificates(JAVA).unwrap(),
        );
        let sign = rustls::crypto::ring::sign::any_supported_type;
        assert!(sign(&key).is_err(), "this is no longer needed");
        assert!(sign(&with_public_half(key, &chain[0])).is_ok());
        let whole = private_key(KEY, None).unwrap();
        assert_eq!(with_public_half(whole.clone_key(), &chain[0]), whole);
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
