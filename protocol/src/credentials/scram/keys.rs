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

use crate::credentials::{Mechanism, are_equal};

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

    /// A password that somebody else has salted.
    pub fn already_salted(self, salted: &[u8]) -> SaltedPassword {
        SaltedPassword {
            hash: self,
            key: hmac::Key::new(self.hmac, salted),
        }
    }

    /// Bytes of every key.
    pub fn key_bytes(self) -> usize {
        self.digest.output_len()
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.digest, bytes).as_ref().to_vec()
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
        ServerKey {
            hash: self.hash,
            key: key.as_ref().to_vec(),
        }
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
            key: self.hash.digest(self.key.as_ref()),
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
#[derive(Clone)]
pub struct StoredKey {
    hash: Hash,
    key: Vec<u8>,
}

impl StoredKey {
    /// A key as it was stored.
    pub fn new(hash: Hash, key: &[u8]) -> Self {
        let key = key.to_vec();
        Self { hash, key }
    }

    /// The key, to store it.
    pub fn bytes(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// The client's signature over the messages: the client key is its proof XOR this.
    pub fn signature(&self, messages: &str) -> hmac::Tag {
        let key = hmac::Key::new(self.hash.hmac, &self.key);
        hmac::sign(&key, messages.as_bytes())
    }

    /// Whether `proof` shows that who made it knows the client key. In constant time.
    pub fn is_proof(&self, messages: &str, proof: &[u8]) -> bool {
        let signature = self.signature(messages);
        if proof.len() != signature.as_ref().len() {
            return false;
        }
        let pairs = proof.iter().zip(signature.as_ref());
        let client_key: Vec<u8> = pairs.map(|(proof, signature)| proof ^ signature).collect();
        are_equal(&self.hash.digest(&client_key), &self.key)
    }

    /// Whether it is the key of this password. In constant time, but for the work that the password
    /// takes.
    pub fn is_of(&self, salted: &SaltedPassword) -> bool {
        let stored = salted.client_key().stored_key();
        are_equal(&stored.key, &self.key)
    }
}

/// What a server signs with.
#[derive(Clone)]
pub struct ServerKey {
    hash: Hash,
    key: Vec<u8>,
}

impl ServerKey {
    /// A key as it was stored.
    pub fn new(hash: Hash, key: &[u8]) -> Self {
        let key = key.to_vec();
        Self { hash, key }
    }

    /// The key, to store it.
    pub fn bytes(&self) -> &[u8] {
        &self.key
    }

    /// The server's signature over the messages.
    pub fn signature(&self, messages: &str) -> Vec<u8> {
        let key = hmac::Key::new(self.hash.hmac, &self.key);
        hmac::sign(&key, messages.as_bytes()).as_ref().to_vec()
    }

    /// Whether `signature` is the server's over these messages. In constant time.
    pub fn is_signature(&self, messages: &str, signature: &[u8]) -> bool {
        let key = hmac::Key::new(self.hash.hmac, &self.key);
        hmac::verify(&key, messages.as_bytes(), signature).is_ok()
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
    fn a_server_tells_a_proof_from_any_other_bytes() {
        for vector in vectors() {
            let client_key = salted(&vector, b"pencil").client_key();
            let stored = StoredKey::new(vector.hash, client_key.stored_key().bytes());
            let mut proof = decoded(vector.proof);
            assert!(stored.is_proof(vector.messages, &proof));
            assert!(!stored.is_proof("n=other", &proof));
            assert!(!stored.is_proof(vector.messages, &proof[1..]));
            assert!(!stored.is_proof(vector.messages, &[]));
            proof[3] ^= 1;
            assert!(!stored.is_proof(vector.messages, &proof));
        }
    }

    #[test]
    fn a_server_signs_with_the_key_that_it_has_stored() {
        for vector in vectors() {
            let key = salted(&vector, b"pencil").server_key();
            let stored = ServerKey::new(vector.hash, key.bytes());
            assert_eq!(stored.signature(vector.messages), decoded(vector.signature));
        }
    }

    /// RFC 6070 (SHA-1), and RFC 7914, section 11 (SHA-256).
    #[test]
    fn the_published_vectors_of_pbkdf2_come_out() {
        let sha1 = pbkdf2::PBKDF2_HMAC_SHA1;
        let sha256 = pbkdf2::PBKDF2_HMAC_SHA256;
        let vectors: [(pbkdf2::Algorithm, &str, &str, u32, &str); 7] = [
            (
                sha1,
                "password",
                "salt",
                1,
                "0c60c80f961f0e71f3a9b524af6012062fe037a6",
            ),
            (
                sha1,
                "password",
                "salt",
                2,
                "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957",
            ),
            (
                sha1,
                "password",
                "salt",
                4096,
                "4b007901b765489abead49d926f721d065a429c1",
            ),
            (
                sha1,
                "passwordPASSWORDpassword",
                "saltSALTsaltSALTsaltSALTsaltSALTsalt",
                4096,
                "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
            ),
            (
                sha1,
                "pass\0word",
                "sa\0lt",
                4096,
                "56fa6aa75548099dcc37d7f03425e0c3",
            ),
            (
                sha256,
                "passwd",
                "salt",
                1,
                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
                 49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
            ),
            (
                sha256,
                "Password",
                "NaCl",
                80000,
                "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56\
                 a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
            ),
        ];
        for (algorithm, password, salt, iterations, expected) in vectors {
            let mut derived = vec![0; expected.len() / 2];
            let iterations = NonZeroU32::new(iterations).unwrap();
            let (password, salt) = (password.as_bytes(), salt.as_bytes());
            pbkdf2::derive(algorithm, iterations, salt, password, &mut derived);
            let hex: String = derived.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
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
