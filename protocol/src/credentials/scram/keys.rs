//! The keys of SCRAM: one salted password, and what is derived from it.
//!
//! ```text
//! salted password = PBKDF2(password, salt, iterations)
//! client key      = HMAC(salted password, "Client Key")      known to the client only
//! stored key      = H(client key)                            kept by the server
//! server key      = HMAC(salted password, "Server Key")      kept by the server
//! client proof    = client key XOR HMAC(stored key, messages)
//! server proof    = HMAC(server key, messages)
//! ```

use std::num::NonZeroU32;

use ring::{digest, hmac, pbkdf2};

use crate::credentials::Mechanism;

/// The hash functions of a mechanism.
#[derive(Clone, Copy)]
pub struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Hash {
    /// Those of a mechanism; `None` if it isn't SCRAM.
    pub fn of(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::Plain | Mechanism::OAuthBearer => None,
            Mechanism::ScramSha256 => Some(Self {
                digest: &digest::SHA256,
                hmac: hmac::HMAC_SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            }),
            Mechanism::ScramSha512 => Some(Self {
                digest: &digest::SHA512,
                hmac: hmac::HMAC_SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            }),
        }
    }

    /// Salts a password. Takes as long as the iterations say: thousands of hashes, up to a second.
    pub fn salted(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> SaltedPassword {
        let mut salted = vec![0; self.digest.output_len()];
        pbkdf2::derive(self.pbkdf2, iterations, salt, password, &mut salted);
        SaltedPassword {
            hash: self,
            key: hmac::Key::new(self.hmac, &salted),
        }
    }

    /// SHA-1, for the vectors of RFC 5802.
    #[cfg(test)]
    pub(super) fn sha1() -> Self {
        Self {
            digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
        }
    }
}

/// A salted password. Anyone who knows it can play both sides.
pub struct SaltedPassword {
    hash: Hash,
    key: hmac::Key,
}

impl SaltedPassword {
    /// The client's secret.
    pub fn client_key(&self) -> ClientKey {
        ClientKey {
            hash: self.hash,
            key: hmac::sign(&self.key, b"Client Key"),
        }
    }

    /// What the server proves its knowledge with.
    pub fn server_key(&self) -> ServerKey {
        let key = hmac::sign(&self.key, b"Server Key");
        ServerKey(hmac::Key::new(self.hash.hmac, key.as_ref()))
    }
}

/// What the client proves that it knows, without sending it.
pub struct ClientKey {
    hash: Hash,
    key: hmac::Tag,
}

impl ClientKey {
    /// What a server keeps of the client key: enough to check proofs, not enough to make them.
    pub fn stored_key(&self) -> StoredKey {
        StoredKey {
            hash: self.hash,
            key: digest::digest(self.hash.digest, self.key.as_ref()),
        }
    }

    /// The client's proof over the messages of a conversation, `client-first-bare,server-first,
    /// client-final-without-proof`.
    pub fn proof(&self, messages: &str) -> Vec<u8> {
        let signature = self.stored_key().signature(messages);
        let pairs = self.key.as_ref().iter().zip(signature.as_ref());
        pairs.map(|(key, signature)| key ^ signature).collect()
    }
}

/// The hash of a client key.
pub struct StoredKey {
    hash: Hash,
    key: digest::Digest,
}

impl StoredKey {
    /// The client's signature over the messages: the client key is its proof XOR this.
    pub fn signature(&self, messages: &str) -> hmac::Tag {
        let key = hmac::Key::new(self.hash.hmac, self.key.as_ref());
        hmac::sign(&key, messages.as_bytes())
    }
}

/// What a server signs with.
pub struct ServerKey(hmac::Key);

impl ServerKey {
    /// Whether `signature` is the server's over these messages. In constant time.
    pub fn is_signature(&self, messages: &str, signature: &[u8]) -> bool {
        hmac::verify(&self.0, messages.as_bytes(), signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// A conversation from an RFC: hash, salt, the messages, the client's proof, the server's signature.
    struct Vector {
        hash: Hash,
        salt: &'static str,
        messages: &'static str,
        proof: &'static str,
        signature: &'static str,
    }

    fn vectors() -> [Vector; 2] {
        [
            // RFC 5802, section 5.
            Vector {
                hash: Hash::sha1(),
                salt: "QSXCR+Q6sek8bf92",
                messages: "n=user,r=fyko+d2lbbFgONRv9qkxdawL,\
                           r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,\
                           c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            },
            // RFC 7677, section 3.
            Vector {
                hash: Hash::of(Mechanism::ScramSha256).unwrap(),
                salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
                messages: "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                           r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                           c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            },
        ]
    }

    fn decoded(base64: &str) -> Vec<u8> {
        STANDARD.decode(base64).unwrap()
    }

    fn salted(vector: &Vector, password: &[u8]) -> SaltedPassword {
        let iterations = NonZeroU32::new(4096).unwrap();
        vector
            .hash
            .salted(password, &decoded(vector.salt), iterations)
    }

    #[test]
    fn the_vectors_of_the_rfcs_come_out() {
        for vector in vectors() {
            let salted = salted(&vector, b"pencil");
            let proof = salted.client_key().proof(vector.messages);
            assert_eq!(proof, decoded(vector.proof));
            let signature = decoded(vector.signature);
            assert!(
                salted
                    .server_key()
                    .is_signature(vector.messages, &signature)
            );
        }
    }

    #[test]
    fn a_server_gets_the_client_key_back_from_a_proof() {
        for vector in vectors() {
            let client_key = salted(&vector, b"pencil").client_key();
            let stored = client_key.stored_key();
            let signature = stored.signature(vector.messages);
            let proof = decoded(vector.proof);
            let pairs = proof.iter().zip(signature.as_ref());
            let found: Vec<u8> = pairs.map(|(proof, signature)| proof ^ signature).collect();
            assert_eq!(found, client_key.key.as_ref());
            let hashed = digest::digest(vector.hash.digest, &found);
            assert_eq!(hashed.as_ref(), stored.key.as_ref());
        }
    }

    #[test]
    fn another_password_makes_other_proofs() {
        for vector in vectors() {
            let salted = salted(&vector, b"pencils");
            let proof = salted.client_key().proof(vector.messages);
            assert_ne!(proof, decoded(vector.proof));
            let signature = decoded(vector.signature);
            assert!(
                !salted
                    .server_key()
                    .is_signature(vector.messages, &signature)
            );
        }
    }
}
