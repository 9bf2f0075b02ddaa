//! Signed tokens as an identity provider gives them, and the key file that a broker checks them with.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::json;

use crate::Result;

/// The tokens' issuer.
pub const ISSUER: &str = "https://issuer.test";
/// The tokens' audience.
pub const AUDIENCE: &str = "brokers";

/// An identity provider with one key (ES256).
#[derive(Debug)]
pub struct Issuer {
    key: KeyPair,
}

impl Issuer {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        Ok(Self { key })
    }

    /// Its public key as a JSON Web Key Set, written to `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_keys(&self, folder: &Path, file: &str) -> Result<PathBuf> {
        let point = self.key.der_bytes();
        // 4, then x and y of 32 bytes each.
        ensure!(point.len() == 65, "not a point of P-256: {}", point.len());
        let digits = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (digits(&point[1..33]), digits(&point[33..]));
        let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1", "x": x, "y": y});
        let path = folder.join(file);
        std::fs::write(&path, json!({"keys": [key]}).to_string())?;
        Ok(path)
    }

    /// A token of `subject` that is valid for `valid_s` seconds from now on; of the past if that is negative.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, subject: &str, valid_s: i64) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let now = i64::try_from(now)?;
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now - 3600, "exp": now + valid_s,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        jsonwebtoken::encode(&header, &claims, &key).context("the token cannot be signed")
    }
}
