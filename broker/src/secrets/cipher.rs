//! Keys and what is done with them. No IO.
//!
//! A *master key* is made from what the operator gives and encrypts *data keys*; those encrypt
//! secrets. Both use AES-256-GCM with a random nonce. What a value belongs to is authenticated with
//! it, so that nothing can be moved to another place.

use std::num::NonZeroU32;
use std::sync::Arc;

use carrick_protocol::credentials::Secret;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};

use super::SecretError;
use crate::records::data_key::{DataKeyRecord, Derivation, SALT_BYTES};
use crate::records::sealed::{KEY_ID_BYTES, NONCE_BYTES};

pub(super) const KEY_BYTES: usize = 32;

/// Of a passphrase, with HMAC-SHA-512: a fraction of a second, once per start.
const ITERATIONS: u32 = if cfg!(test) { 1_000 } else { 210_000 };
/// A stored record does not decide how long a start takes.
const ITERATIONS_MAX: u32 = 10 * ITERATIONS;

const MASTER_INFO: &[u8] = b"carrick master key 1";

/// 32 bytes, hidden from `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RawKey(pub(super) [u8; KEY_BYTES]);

impl std::fmt::Debug for RawKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

impl RawKey {
    pub(super) fn random() -> Result<Self, SecretError> {
        let mut bytes = [0; KEY_BYTES];
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// From 64 hexadecimal digits.
    pub(super) fn of_hex(hex: &str) -> Option<Self> {
        if hex.len() != 2 * KEY_BYTES || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; KEY_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub(super) fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a master key is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// The bytes of a key file.
    File(RawKey),
    /// A passphrase, which people have chosen.
    Passphrase(Secret),
}

impl Material {
    /// How a new master key is made from it.
    pub(super) fn derivation(&self) -> Result<Derivation, SecretError> {
        let Self::Passphrase(_) = self else {
            return Ok(Derivation::File);
        };
        let mut salt = [0; SALT_BYTES];
        fill(&mut salt)?;
        Ok(Derivation::Passphrase {
            salt,
            iterations: ITERATIONS,
        })
    }

    /// The master key; `None` if it is not made from such a thing. Takes a fraction of a second for
    /// a passphrase.
    pub(super) fn master(&self, derivation: Derivation) -> Option<Master> {
        let raw = match (self, derivation) {
            (Self::File(key), Derivation::File) => key.0,
            (Self::Passphrase(text), Derivation::Passphrase { salt, iterations }) => {
                let iterations = NonZeroU32::new(iterations.min(ITERATIONS_MAX))?;
                let mut raw = [0; KEY_BYTES];
                let text = text.expose().as_bytes();
                pbkdf2::derive(
                    pbkdf2::PBKDF2_HMAC_SHA512,
                    iterations,
                    &salt,
                    text,
                    &mut raw,
                );
                raw
            }
            _ => return None,
        };
        Master::of(&raw, derivation)
    }

    /// What secrets of version 1 were encrypted with, if it is of that kind.
    pub(super) fn former(&self) -> Option<Former> {
        let Self::File(key) = self else { return None };
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, &key.0).ok()?;
        Some(Former {
            id: id_of(b"carrick-link-secrets-1 ", &key.0),
            cipher: Arc::new(LessSafeKey::new(cipher)),
        })
    }
}

/// Decrypts secrets of version 1.
pub(super) struct Former {
    pub(super) id: [u8; KEY_ID_BYTES],
    cipher: Arc<LessSafeKey>,
}

impl Former {
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, SecretError> {
        open(&self.cipher, nonce, aad, ciphertext)
    }
}

/// Encrypts data keys.
pub(super) struct Master {
    pub(super) id: [u8; KEY_ID_BYTES],
    derivation: Derivation,
    cipher: LessSafeKey,
}

impl Master {
    fn of(raw: &[u8; KEY_BYTES], derivation: Derivation) -> Option<Self> {
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(raw);
        let expanded = extracted.expand(&[MASTER_INFO], &AES_256_GCM).ok()?;
        Some(Self {
            id: id_of(MASTER_INFO, raw),
            derivation,
            cipher: LessSafeKey::new(UnboundKey::from(expanded)),
        })
    }

    pub(super) fn wrap(
        &self,
        generation: u32,
        key: &DataKey,
    ) -> Result<DataKeyRecord, SecretError> {
        let (nonce, ciphertext) = seal(&self.cipher, &aad_of(generation), &key.raw.0)?;
        Ok(DataKeyRecord {
            created_ms: key.created_ms,
            derivation: self.derivation,
            master_id: self.id,
            nonce,
            ciphertext,
        })
    }

    pub(super) fn unwrap(
        &self,
        generation: u32,
        record: &DataKeyRecord,
    ) -> Result<DataKey, SecretError> {
        let aad = aad_of(generation);
        let raw = open(&self.cipher, record.nonce, &aad, &record.ciphertext)?;
        let raw = raw.try_into().map_err(|_| SecretError::Damaged)?;
        DataKey::of(RawKey(raw), record.created_ms)
    }
}

fn aad_of(generation: u32) -> Vec<u8> {
    [b"carrick data key ".as_slice(), &generation.to_be_bytes()].concat()
}

/// Encrypts secrets.
pub(super) struct DataKey {
    raw: RawKey,
    pub(super) created_ms: i64,
    cipher: LessSafeKey,
}

impl DataKey {
    pub(super) fn of(raw: RawKey, created_ms: i64) -> Result<Self, SecretError> {
        let cipher = UnboundKey::new(&AES_256_GCM, &raw.0).map_err(|_| SecretError::Damaged)?;
        Ok(Self {
            raw,
            created_ms,
            cipher: LessSafeKey::new(cipher),
        })
    }

    pub(super) fn seal(
        &self,
        aad: &[u8],
        secret: &[u8],
    ) -> Result<([u8; NONCE_BYTES], Vec<u8>), SecretError> {
        seal(&self.cipher, aad, secret)
    }

    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, SecretError> {
        open(&self.cipher, nonce, aad, ciphertext)
    }
}

fn seal(
    key: &LessSafeKey,
    aad: &[u8],
    secret: &[u8],
) -> Result<([u8; NONCE_BYTES], Vec<u8>), SecretError> {
    let mut nonce = [0; NONCE_BYTES];
    fill(&mut nonce)?;
    let mut ciphertext = secret.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(aad),
        &mut ciphertext,
    )
    .map_err(|_| SecretError::Damaged)?;
    Ok((nonce, ciphertext))
}

fn open(
    key: &LessSafeKey,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, SecretError> {
    let mut bytes = ciphertext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = key
        .open_in_place(nonce, Aad::from(aad), &mut bytes)
        .map_err(|_| SecretError::Damaged)?;
    Ok(opened.to_vec())
}

fn id_of(domain: &[u8], raw: &[u8]) -> [u8; KEY_ID_BYTES] {
    let mut id = [0; KEY_ID_BYTES];
    let hash = digest(&SHA256, &[domain, raw].concat());
    id.copy_from_slice(&hash.as_ref()[..KEY_ID_BYTES]);
    id
}

fn fill(bytes: &mut [u8]) -> Result<(), SecretError> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| SecretError::NoRandom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(material: &Material) -> DataKeyRecord {
        let master = material.master(material.derivation().unwrap()).unwrap();
        let key = DataKey::of(RawKey([5; KEY_BYTES]), 7).unwrap();
        master.wrap(3, &key).unwrap()
    }

    #[test]
    fn a_data_key_opens_only_with_its_master_key_and_in_its_place() {
        let file = Material::File(RawKey([1; KEY_BYTES]));
        let passphrase = Material::Passphrase(Secret::new("open sesame"));
        for material in [&file, &passphrase] {
            let record = record(material);
            let master = material.master(record.derivation).unwrap();
            assert_eq!(master.id, record.master_id);
            assert_eq!(
                master.unwrap(3, &record).unwrap().raw,
                RawKey([5; KEY_BYTES])
            );
            assert!(master.unwrap(4, &record).is_err());
        }
        let wrong = Material::Passphrase(Secret::new("open barley"));
        let record = record(&passphrase);
        let wrong = wrong.master(record.derivation).unwrap();
        assert_ne!(wrong.id, record.master_id);
        assert!(wrong.unwrap(3, &record).is_err());
        assert!(file.master(record.derivation).is_none());
    }

    #[test]
    fn no_key_shows_in_debug() {
        let text = Material::File(RawKey([0xab; KEY_BYTES]));
        assert_eq!(format!("{text:?}"), "File([hidden])");
        let text = Material::Passphrase(Secret::new("open sesame"));
        assert!(!format!("{text:?}").contains("sesame"));
    }

    #[test]
    fn hexadecimal_digits_read_back() {
        let key = RawKey::random().unwrap();
        assert_eq!(RawKey::of_hex(&key.to_hex()).unwrap(), key);
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(RawKey::of_hex(wrong).is_none(), "{wrong}");
        }
    }
}
