//! A provider's public keys: a JWKS document (RFC 7517).
//!
//! Invariants: what a document makes us keep is bounded; a key is used for signatures alone, and only with algorithms of
//! its own family. So a public key is never taken for the secret of an HMAC.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The largest document.
pub const DOCUMENT_MAX_BYTES: usize = 1 << 20;
/// Most keys of one document; more are refused.
const KEYS_MAX: usize = 256;
/// The longest key id, as in Kafka.
pub const KEY_ID_MAX_CHARS: usize = 1000;

/// What kind of key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// How a token is signed: an algorithm with two keys, a secret one and a public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    name: &'static str,
    family: Family,
    algorithm: Algorithm,
}

const fn signature(name: &'static str, family: Family, algorithm: Algorithm) -> Signature {
    Signature {
        name,
        family,
        algorithm,
    }
}

/// Every algorithm that is accepted. Neither `none` nor an HMAC is one of them.
static SIGNATURES: [Signature; 9] = [
    signature("RS256", Family::Rsa, Algorithm::RS256),
    signature("RS384", Family::Rsa, Algorithm::RS384),
    signature("RS512", Family::Rsa, Algorithm::RS512),
    signature("PS256", Family::Rsa, Algorithm::PS256),
    signature("PS384", Family::Rsa, Algorithm::PS384),
    signature("PS512", Family::Rsa, Algorithm::PS512),
    signature("ES256", Family::P256, Algorithm::ES256),
    signature("ES384", Family::P384, Algorithm::ES384),
    signature("EdDSA", Family::Ed25519, Algorithm::EdDSA),
];

impl Signature {
    /// The one with this name (`alg`), if it is accepted.
    pub fn named(name: &str) -> Option<Self> {
        SIGNATURES.iter().find(|known| known.name == name).copied()
    }
}

/// The keys of one document that can be used.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    family: Family,
    /// The only algorithm that it is for, if its provider says so.
    only_for: Option<String>,
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.family, self.id)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// A key as the document has it. Parts of secret keys are not read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Reads a document. Keys that can't be used are left out, as in Kafka.
    ///
    /// # Errors
    /// What is wrong with the document as a whole.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        if document.len() > DOCUMENT_MAX_BYTES {
            return Err(format!("has more than {DOCUMENT_MAX_BYTES} bytes"));
        }
        let document: Document = serde_json::from_slice(document)
            .map_err(|_| "is no JWKS document: JSON with a list named 'keys'".to_owned())?;
        if document.keys.len() > KEYS_MAX {
            return Err(format!("has more than {KEYS_MAX} keys"));
        }
        let keys = document.keys.into_iter();
        let keys = keys.filter_map(|key| serde_json::from_value(key).ok().and_then(usable));
        Ok(Self(keys.collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks a signature over `message`; `None` if there is no key for it. Takes CPU time, up to about a millisecond.
    pub fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: Signature,
        message: &str,
        signature: &str,
    ) -> Option<bool> {
        let fits = |key: &&Key| {
            key_id.is_none_or(|id| key.id.as_deref() == Some(id))
                && key.family == algorithm.family
                && key
                    .only_for
                    .as_deref()
                    .is_none_or(|name| name == algorithm.name)
        };
        let key = self.0.iter().find(fits)?;
        let algorithm = algorithm.algorithm;
        let verified =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm);
        Some(verified.unwrap_or(false))
    }
}

fn usable(jwk: Jwk) -> Option<Key> {
    let is_for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    let is_short = jwk
        .kid
        .as_ref()
        .is_none_or(|id| id.chars().count() <= KEY_ID_MAX_CHARS);
    if !is_for_signatures || !is_short {
        return None;
    }
    let (family, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => (Family::Rsa, rsa(&jwk)?),
        ("EC", Some("P-256")) => (Family::P256, curve(&jwk, 32)?),
        ("EC", Some("P-384")) => (Family::P384, curve(&jwk, 48)?),
        ("OKP", Some("Ed25519")) => (Family::Ed25519, edwards(&jwk)?),
        _ => return None,
    };
    Some(Key {
        id: jwk.kid,
        family,
        only_for: jwk.alg,
        key,
    })
}

/// From 2048 to 8192 bits, which `ring` takes.
fn rsa(jwk: &Jwk) -> Option<DecodingKey> {
    let modulus = decoded(jwk.n.as_deref())?;
    let exponent = decoded(jwk.e.as_deref())?;
    // Some providers write the sign of a positive number, too.
    let without_sign = |number: Vec<u8>| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    };
    let (modulus, exponent) = (without_sign(modulus), without_sign(exponent));
    let is_fit = (256..=1024).contains(&modulus.len()) && (1..=4).contains(&exponent.len());
    is_fit.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn curve(jwk: &Jwk, bytes: usize) -> Option<DecodingKey> {
    let (x, y) = (jwk.x.as_deref()?, jwk.y.as_deref()?);
    let is_fit = decoded(Some(x))?.len() == bytes && decoded(Some(y))?.len() == bytes;
    DecodingKey::from_ec_components(x, y)
        .ok()
        .filter(|_| is_fit)
}

fn edwards(jwk: &Jwk) -> Option<DecodingKey> {
    let x = jwk.x.as_deref()?;
    let is_fit = decoded(Some(x))?.len() == 32;
    DecodingKey::from_ed_components(x).ok().filter(|_| is_fit)
}

fn decoded(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(keys: Value) -> Keys {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn keys_that_cannot_verify_a_token_are_left_out() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let n = URL_SAFE_NO_PAD.encode([7; 256]);
        let small = URL_SAFE_NO_PAD.encode([7; 128]);
        let signed = URL_SAFE_NO_PAD.encode([&[0][..], &[7; 256]].concat());
        for (count, key) in [
            (1, json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"})),
            (
                1,
                json!({"kty": "RSA", "n": signed, "e": "AQAB", "use": "sig"}),
            ),
            (
                1,
                json!({"kty": "RSA", "n": n, "e": "AQAB", "key_ops": ["verify"]}),
            ),
            (1, json!({"kty": "EC", "crv": "P-256", "x": x, "y": x})),
            (1, json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
            (0, json!({"kty": "RSA", "n": small, "e": "AQAB"})),
            (0, json!({"kty": "RSA", "n": n, "e": "AQAB", "use": "enc"})),
            (
                0,
                json!({"kty": "RSA", "n": n, "e": "AQAB", "key_ops": ["sign"]}),
            ),
            (0, json!({"kty": "RSA", "n": "not base64!", "e": "AQAB"})),
            (0, json!({"kty": "RSA", "e": "AQAB"})),
            (
                0,
                json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": "k".repeat(1001)}),
            ),
            (0, json!({"kty": "EC", "crv": "P-384", "x": x, "y": x})),
            (0, json!({"kty": "EC", "crv": "P-521", "x": x, "y": x})),
            (0, json!({"kty": "oct", "k": x})),
            (0, json!({"kty": 5})),
            (0, json!("key")),
        ] {
            assert_eq!(parsed(json!([key])).len(), count, "{key}");
        }
        assert!(parsed(json!([])).is_empty());
    }

    #[test]
    fn a_document_has_bounds() {
        let many = vec![json!({"kty": "oct"}); KEYS_MAX + 1];
        let document = json!({ "keys": many }).to_string();
        assert!(
            Keys::parse(document.as_bytes())
                .unwrap_err()
                .contains("256 keys")
        );
        let long = format!(
            "{{\"keys\":[],\"x\":\"{}\"}}",
            "x".repeat(DOCUMENT_MAX_BYTES)
        );
        assert!(Keys::parse(long.as_bytes()).unwrap_err().contains("bytes"));
        for wrong in ["", "{}", "[]", "{\"keys\":7}", "\u{feff}"] {
            assert!(Keys::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_and_no_signature_at_all_are_no_algorithms() {
        for name in [
            "none", "None", "HS256", "HS512", "ES512", "rs256", "", "RSA-OAEP",
        ] {
            assert_eq!(Signature::named(name), None, "{name}");
        }
        assert!(Signature::named("RS256").is_some());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = Keys::parse(&bytes);
        }

        #[test]
        fn any_key_is_read_or_left_out(
            kty in "RSA|EC|OKP|oct", crv in "P-256|P-384|Ed25519|x", text in "[A-Za-z0-9_=-]{0,90}",
        ) {
            let key = json!({"kty": kty, "crv": crv, "n": text, "e": text, "x": text, "y": text});
            let keys = parsed(json!([key]));
            for algorithm in SIGNATURES {
                proptest::prop_assert_ne!(keys.verify(None, algorithm, "a.b", &text), Some(true));
            }
        }
    }
}
