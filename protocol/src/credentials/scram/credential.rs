//! What a server keeps of a user's password.

use std::fmt;
use std::num::NonZeroU32;

use super::keys::{Hash, SaltedPassword, ServerKey, StoredKey};
use super::message::{ITERATIONS_MAX, ITERATIONS_MIN};
use crate::credentials::Mechanism;

/// Longest salt that is kept; Kafka's have 26 bytes.
pub const SALT_MAX_BYTES: usize = 1024;

/// A password, salted and hashed (`ScramCredential`): enough to check proofs, not to make them.
#[derive(Clone)]
pub struct Credential {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    stored_key: StoredKey,
    server_key: ServerKey,
}

/// Why bytes are no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("{0} is not a SCRAM mechanism")]
    Mechanism(&'static str),
    #[error("the number of iterations must be {ITERATIONS_MIN} to {ITERATIONS_MAX}, but is {0}")]
    Iterations(i64),
    #[error("the salt must have 1 to {SALT_MAX_BYTES} bytes, but has {0}")]
    Salt(usize),
    #[error("the {name} must have {wanted} bytes, but has {bytes}")]
    Key {
        name: &'static str,
        wanted: usize,
        bytes: usize,
    },
}

impl Credential {
    /// A credential as it was stored.
    ///
    /// # Errors
    /// What cannot be one of this mechanism.
    pub fn stored(
        mechanism: Mechanism,
        (salt, iterations): (&[u8], i64),
        (stored_key, server_key): (&[u8], &[u8]),
    ) -> Result<Self, CredentialError> {
        let hash = hash_of(mechanism)?;
        let iterations = checked_work(salt, iterations)?;
        let wanted = hash.key_bytes();
        for (name, key) in [("stored key", stored_key), ("server key", server_key)] {
            let bytes = key.len();
            if bytes != wanted {
                return Err(CredentialError::Key {
                    name,
                    wanted,
                    bytes,
                });
            }
        }
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: StoredKey::new(hash, stored_key),
            server_key: ServerKey::new(hash, server_key),
        })
    }

    /// The credential of a password that its owner has salted already.
    ///
    /// # Errors
    /// As [`Self::stored`].
    pub fn of_salted(
        mechanism: Mechanism,
        (salt, iterations): (&[u8], i64),
        salted: &[u8],
    ) -> Result<Self, CredentialError> {
        let salted = hash_of(mechanism)?.already_salted(salted);
        let iterations = checked_work(salt, iterations)?;
        Ok(Self::derived(salt, iterations, &salted))
    }

    /// The credential of a password. Works as long as the iterations say.
    ///
    /// # Errors
    /// As [`Self::stored`].
    pub fn of_password(
        mechanism: Mechanism,
        (salt, iterations): (&[u8], i64),
        password: &str,
    ) -> Result<Self, CredentialError> {
        let hash = hash_of(mechanism)?;
        let iterations = checked_work(salt, iterations)?;
        let salted = hash.salted(password.as_bytes(), salt, iterations);
        Ok(Self::derived(salt, iterations, &salted))
    }

    fn derived(salt: &[u8], iterations: NonZeroU32, salted: &SaltedPassword) -> Self {
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: salted.client_key().stored_key(),
            server_key: salted.server_key(),
        }
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    pub fn stored_key(&self) -> &StoredKey {
        &self.stored_key
    }

    pub fn server_key(&self) -> &ServerKey {
        &self.server_key
    }

    /// Whether it is this password's. Works as long as the iterations say.
    pub fn is_of(&self, password: &str) -> bool {
        let hash = self.stored_key.hash();
        let salted = hash.salted(password.as_bytes(), &self.salt, self.iterations);
        self.stored_key.is_of(&salted)
    }
}

fn hash_of(mechanism: Mechanism) -> Result<Hash, CredentialError> {
    Hash::of(mechanism).ok_or(CredentialError::Mechanism(mechanism.name()))
}

fn checked_work(salt: &[u8], iterations: i64) -> Result<NonZeroU32, CredentialError> {
    if !(1..=SALT_MAX_BYTES).contains(&salt.len()) {
        return Err(CredentialError::Salt(salt.len()));
    }
    u32::try_from(iterations)
        .ok()
        .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
        .and_then(NonZeroU32::new)
        .ok_or(CredentialError::Iterations(iterations))
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.salt == other.salt
            && self.iterations == other.iterations
            && self.stored_key.bytes() == other.stored_key.bytes()
            && self.server_key.bytes() == other.server_key.bytes()
    }
}

impl Eq for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_256: Mechanism = Mechanism::ScramSha256;

    #[test]
    fn a_credential_knows_its_password_however_it_was_made() {
        let salt: &[u8] = b"0123456789abc";
        for mechanism in [SHA_256, Mechanism::ScramSha512] {
            let made = Credential::of_password(mechanism, (salt, 4096), "pencil").unwrap();
            assert!(made.is_of("pencil"));
            assert!(!made.is_of("Pencil"));
            let keys = (made.stored_key().bytes(), made.server_key().bytes());
            let stored = Credential::stored(mechanism, (made.salt(), 4096), keys).unwrap();
            assert_eq!(stored, made);
            assert_eq!(format!("{stored:?}"), "[hidden]");
        }
    }

    #[test]
    fn what_cannot_be_a_credential_is_refused() {
        let key: &[u8] = &[7; 32];
        let stored = |mechanism, salt: &[u8], iterations, keys| {
            let made = Credential::stored(mechanism, (salt, iterations), keys);
            made.unwrap_err().to_string()
        };
        for (reason, refused) in [
            ("PLAIN", stored(Mechanism::Plain, b"s", 4096, (key, key))),
            ("but is 4095", stored(SHA_256, b"s", 4095, (key, key))),
            ("but is -1", stored(SHA_256, b"s", -1, (key, key))),
            ("salt", stored(SHA_256, b"", 4096, (key, key))),
            ("salt", stored(SHA_256, &[0; 1025], 4096, (key, key))),
            ("stored key", stored(SHA_256, b"s", 4096, (&key[1..], key))),
            ("server key", stored(SHA_256, b"s", 4096, (key, &[]))),
            ("64", stored(Mechanism::ScramSha512, b"s", 4096, (key, key))),
        ] {
            assert!(refused.contains(reason), "{reason}: {refused}");
        }
        let most = i64::from(ITERATIONS_MAX);
        assert!(Credential::stored(SHA_256, (b"s", most), (key, key)).is_ok());
        assert!(Credential::stored(SHA_256, (b"s", most + 1), (key, key)).is_err());
    }
}
