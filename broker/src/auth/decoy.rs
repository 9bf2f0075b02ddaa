//! Credentials for users that do not exist, so that a client can't find out who exists.

use std::sync::Arc;

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::{Credential, CredentialError, ITERATIONS_MIN};
use ring::hmac;

/// Characters of a salt: those of Kafka's random strings.
const SALT_CHARS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Characters of most salts that Kafka's tools make.
const SALT_BYTES: usize = 25;

/// Makes the same credential for the same name each time. No password matches it.
pub(super) struct Decoys {
    key: hmac::Key,
}

impl Decoys {
    /// Nobody can tell a decoy from a credential who does not know `secret`.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA512, secret),
        }
    }

    /// A credential such as Kafka's tools make for new users.
    ///
    /// # Errors
    /// The mechanism is not SCRAM.
    pub fn of(&self, user: &str, mechanism: Mechanism) -> Result<Arc<Credential>, CredentialError> {
        let derive = |purpose: &str| {
            let name = mechanism.name();
            hmac::sign(&self.key, format!("{purpose} {name} {user}").as_bytes())
        };
        let salt: Vec<u8> = derive("salt").as_ref()[..SALT_BYTES]
            .iter()
            .map(|byte| SALT_CHARS[usize::from(*byte) % SALT_CHARS.len()])
            .collect();
        let work = (&salt[..], i64::from(ITERATIONS_MIN));
        // Any key does: a client key with this hash is not known to anyone.
        let salted = derive("key");
        Credential::of_salted(mechanism, work, salted.as_ref()).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoy_stays_the_same_and_differs_from_others() {
        let decoys = Decoys::new(b"secret");
        let of = |user, mechanism| decoys.of(user, mechanism).unwrap();
        let ann = of("ann", Mechanism::ScramSha256);
        assert_eq!(ann, of("ann", Mechanism::ScramSha256));
        assert_eq!(ann.iterations().get(), 4096);
        assert_eq!(ann.salt().len(), SALT_BYTES);
        assert_ne!(ann.salt(), of("bob", Mechanism::ScramSha256).salt());
        assert_ne!(ann.salt(), of("ann", Mechanism::ScramSha512).salt());
        let elsewhere = Decoys::new(b"other");
        let other = elsewhere.of("ann", Mechanism::ScramSha256).unwrap();
        assert_ne!(ann.salt(), other.salt());
        assert!(decoys.of("ann", Mechanism::Plain).is_err());
    }
}
