//! Stores that keytool (of Java 21 or so) and openssl 3 have written, in `testdata`.

use rustls::crypto::ring::sign::any_supported_type;

use super::*;

/// One of `testdata`'s files, by name.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/credentials/testdata");
    std::fs::read(Path::new(folder).join(path)).map_err(|error| error.to_string())
}

fn given(set: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| {
        let value = set.iter().find(|(known, _)| *known == name);
        value.map(|(_, value)| (*value).to_owned())
    }
}

fn identities(set: &'static [(&str, &str)]) -> Result<Vec<Identity>, StoreError> {
    let store = KeyStore::of(given(set))?.unwrap();
    store.identities(read)
}

fn certificates(set: &'static [(&str, &str)]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    TrustStore::of(given(set))?.unwrap().certificates(read)
}

fn authority() -> CertificateDer<'static> {
    let text = read(Path::new("ca.pem")).unwrap();
    pem::certificates(&String::from_utf8(text).unwrap()).unwrap()[0].clone()
}

#[test]
fn keys_of_keytool_and_openssl_are_read_with_their_chains_whatever_type_is_set() {
    for set in [
        &[
            (KEY_LOCATION, "keytool.keystore.p12"),
            (KEY_PASSWORD, "sesame"),
            (KEY_TYPE, "JKS"),
        ][..],
        &[
            (KEY_LOCATION, "openssl.p12"),
            (KEY_PASSWORD, "sesame"),
            (KEY_TYPE, "PKCS12"),
            (PASSWORD_OF_KEY, "sesame"),
        ],
        &[
            (KEY_LOCATION, "openssl.legacy.p12"),
            (KEY_PASSWORD, "sesame"),
        ],
    ] {
        let found = identities(set).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].chain.len(), 2);
        assert_eq!(found[0].chain[1], authority());
        assert!(any_supported_type(&found[0].key).is_ok());
    }
}

#[test]
fn what_keytool_marked_as_trusted_is_trusted_and_the_certificate_of_a_key_and_nothing_else() {
    let imported = certificates(&[
        (TRUST_LOCATION, "keytool.truststore.p12"),
        (TRUST_PASSWORD, "sesame"),
    ]);
    assert_eq!(imported.unwrap(), [authority()]);
    let own = certificates(&[(TRUST_LOCATION, "openssl.p12"), (TRUST_PASSWORD, "sesame")]);
    let own = own.unwrap();
    assert!(own.len() == 1 && own[0] != authority());
    let unmarked = certificates(&[
        (TRUST_LOCATION, "openssl.nokeys.p12"),
        (TRUST_PASSWORD, "sesame"),
    ]);
    let unmarked = unmarked.unwrap_err();
    assert!(unmarked.reason.contains("-importcert"), "{unmarked:?}");
    let pem = certificates(&[(TRUST_LOCATION, "ca.pem")]);
    assert_eq!(pem.unwrap(), [authority()]);
}

#[test]
fn a_store_that_cannot_be_read_is_refused_with_the_setting_and_the_next_step() {
    for (set, setting, words) in [
        (
            &[(KEY_LOCATION, "openssl.p12"), (KEY_PASSWORD, "hunter2")][..],
            KEY_PASSWORD,
            "does not open openssl.p12",
        ),
        (
            &[(KEY_LOCATION, "openssl.p12")],
            KEY_PASSWORD,
            "is missing: a PKCS12 store needs it",
        ),
        (
            &[
                (KEY_LOCATION, "openssl.p12"),
                (KEY_PASSWORD, "sesame"),
                (PASSWORD_OF_KEY, "other"),
            ],
            PASSWORD_OF_KEY,
            "differs from ssl.keystore.password",
        ),
        (
            &[
                (KEY_LOCATION, "keytool.truststore.jks"),
                (KEY_PASSWORD, "sesame"),
            ],
            KEY_LOCATION,
            "keytool -importkeystore -srckeystore keytool.truststore.jks",
        ),
        (
            &[
                (KEY_LOCATION, "keytool.truststore.p12"),
                (KEY_PASSWORD, "sesame"),
            ],
            KEY_LOCATION,
            "holds no private key",
        ),
        (
            &[(KEY_LOCATION, "ca.pem"), (KEY_TYPE, "PEM")],
            KEY_LOCATION,
            "holds no private key in PEM",
        ),
        (
            &[
                (KEY_LOCATION, "ca.pem"),
                (KEY_TYPE, "PEM"),
                (KEY_PASSWORD, "sesame"),
            ],
            KEY_PASSWORD,
            "is not used with PEM",
        ),
        (
            &[(KEY_LOCATION, "ca.pem"), (KEY_TYPE, "BCFKS")],
            KEY_TYPE,
            "must be PEM, PKCS12 or JKS",
        ),
        (&[(CHAIN, "x")], KEY, "is missing"),
        (&[(KEY, "x"), (CHAIN, "x")], KEY_TYPE, "must be PEM"),
    ] {
        let error = identities(set).unwrap_err();
        assert_eq!(error.setting, setting, "{error:?}");
        assert!(error.reason.contains(words), "{error:?}");
        assert!(!error.reason.contains("sesame") && !error.reason.contains("hunter2"));
    }
    let jks = certificates(&[(TRUST_LOCATION, "keytool.truststore.jks")]).unwrap_err();
    assert!(jks.reason.contains("truststore.p12"), "{jks:?}");
    let none = certificates(&[(TRUST_LOCATION, "no.pem")]).unwrap_err();
    assert_eq!(none.setting, TRUST_LOCATION);
}

proptest::proptest! {
    /// A damaged store is read or refused.
    #[test]
    fn no_damage_to_a_store_is_more_than_an_error(
        at in 0..1_000_usize,
        byte in 0u8..,
        cut in 0..1_000_usize,
    ) {
        let mut bytes = read(Path::new("keytool.truststore.p12")).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(900)));
        let _ = pkcs12::trusted(&bytes, "sesame");
        let _ = pkcs12::identities(&bytes, "sesame");
    }
}
