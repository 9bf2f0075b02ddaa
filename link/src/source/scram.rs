//! The client's side of SCRAM (RFC 5802, RFC 7677), as Kafka's `ScramSaslClient` speaks it: no channel binding, and
//! passwords as their UTF-8 bytes (Kafka leaves SASLprep out).
//!
//! Pure and synchronous: [`Client::first`] → the server's first message → [`Client::last`] → the server's last message →
//! [`Proof::verify`]. Invariants: the server must show that it knows the password, too; it can't ask for less work
//! than Kafka's minimum, nor for so much that it would be an attack.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use crate::config::security::{Mechanism, Sasl};

/// Kafka's `ScramMechanism.minIterations`.
const ITERATIONS_MIN: u32 = 4096;
/// Kafka itself goes up to 16,384; at this many a client works for about a second.
const ITERATIONS_MAX: u32 = 1_000_000;
/// The longest message of a server, salt, and nonce that are looked at.
const MESSAGE_MAX_BYTES: usize = 8 * 1024;

/// Hash functions of a mechanism.
#[derive(Clone, Copy)]
struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

/// A conversation that has begun.
pub(super) struct Client {
    hash: Hash,
    password: String,
    nonce: String,
    first_bare: String,
}

/// What the server has to prove in its last message.
pub(super) struct Proof {
    server_key: hmac::Key,
    message: String,
}

impl Client {
    /// Begins with `nonce`, which must be fresh. `None` if the mechanism isn't SCRAM.
    pub(super) fn new(sasl: &Sasl, nonce: String) -> Option<Self> {
        let hash = match sasl.mechanism {
            Mechanism::Plain => return None,
            Mechanism::ScramSha256 => Hash {
                digest: &digest::SHA256,
                hmac: hmac::HMAC_SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            },
            Mechanism::ScramSha512 => Hash {
                digest: &digest::SHA512,
                hmac: hmac::HMAC_SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            },
        };
        let name = sasl
            .username
            .expose()
            .replace('=', "=3D")
            .replace(',', "=2C");
        let token = if sasl.is_token { ",tokenauth=true" } else { "" };
        Some(Self {
            hash,
            password: sasl.password.expose().to_owned(),
            first_bare: format!("n={name},r={nonce}{token}"),
            nonce,
        })
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's last message, in answer to the server's first. Works long: up to a second.
    pub(super) fn last(&self, server_first: &[u8]) -> Result<(String, Proof), String> {
        let server_first = text(server_first)?;
        let challenge = Challenge::parse(server_first, &self.nonce)?;
        let mut salted = vec![0; self.hash.digest.output_len()];
        let password = self.password.as_bytes();
        let Challenge {
            salt,
            iterations,
            nonce,
        } = challenge;
        pbkdf2::derive(self.hash.pbkdf2, iterations, &salt, password, &mut salted);
        let salted = hmac::Key::new(self.hash.hmac, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let stored_key = hmac::Key::new(self.hash.hmac, stored_key.as_ref());
        let client_signature = hmac::sign(&stored_key, message.as_bytes());
        let pairs = client_key.as_ref().iter().zip(client_signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(self.hash.hmac, server_key.as_ref());
        let proof = STANDARD.encode(proof);
        let last = format!("{without_proof},p={proof}");
        Ok((
            last,
            Proof {
                server_key,
                message,
            },
        ))
    }
}

impl Proof {
    /// Whether the server's last message shows that it knows the password.
    pub(super) fn verify(&self, server_last: &[u8]) -> Result<(), String> {
        let message = text(server_last)?;
        if let Some(error) = message.strip_prefix("e=") {
            return Err(format!("it says {}", printable(error)));
        }
        let signature = message
            .strip_prefix("v=")
            .map(|rest| rest.split(',').next().unwrap_or(rest))
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or("its last message is none of SCRAM")?;
        // In constant time.
        hmac::verify(&self.server_key, self.message.as_bytes(), &signature).map_err(|_| {
            "it has not shown that it knows the password: it may be another than it says".to_owned()
        })
    }
}

/// What a server's first message asks.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a str, client_nonce: &str) -> Result<Self, String> {
        let mut fields = message
            .split(',')
            .skip_while(|field| field.starts_with("m="));
        let mut field = |name: &str| {
            let field = fields.next().and_then(|field| field.strip_prefix(name));
            field.ok_or("its first message is none of SCRAM")
        };
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        if !nonce.starts_with(client_nonce) || nonce.len() == client_nonce.len() {
            return Err("its nonce does not go on from ours".into());
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| "its salt is not base64")?;
        let iterations = iterations
            .parse::<u32>()
            .ok()
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .and_then(NonZeroU32::new)
            .ok_or_else(|| {
                format!("it asks for a number of iterations that is not from {ITERATIONS_MIN} to {ITERATIONS_MAX}")
            })?;
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

fn text(message: &[u8]) -> Result<&str, String> {
    let fits = Some(message).filter(|message| message.len() <= MESSAGE_MAX_BYTES);
    fits.and_then(|message| std::str::from_utf8(message).ok())
        .ok_or_else(|| "its message is none of SCRAM".to_owned())
}

fn printable(text: &str) -> String {
    let shown = text.chars().take(200);
    shown.filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::security::Secret;

    fn sasl(mechanism: Mechanism, username: &str, password: &str) -> Sasl {
        Sasl {
            mechanism,
            username: Secret::new(username),
            password: Secret::new(password),
            is_token: false,
        }
    }

    /// The example of RFC 7677.
    fn example(password: &str) -> Client {
        let sasl = sasl(Mechanism::ScramSha256, "user", password);
        Client::new(&sasl, "rOprNGfwEbeRWgbNEkqO".to_owned()).unwrap()
    }

    const SERVER_FIRST: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_LAST: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let client = example("pencil");
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (last, proof) = client.last(SERVER_FIRST).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(last, expected);
        assert_eq!(proof.verify(SERVER_LAST), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let (_, proof) = example("other").last(SERVER_FIRST).unwrap();
        assert!(proof.verify(SERVER_LAST).unwrap_err().contains("not shown"));
        let (_, proof) = example("pencil").last(SERVER_FIRST).unwrap();
        for wrong in ["v=", "v=AAAA", "v=%", "", "x", "e=other-error"] {
            assert!(proof.verify(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_escaped_and_tokens_are_told() {
        let mut sasl = sasl(Mechanism::ScramSha512, "a=b,c", "x");
        sasl.is_token = true;
        let client = Client::new(&sasl, "n".to_owned()).unwrap();
        assert_eq!(client.first(), "n,,n=a=3Db=2Cc,r=n,tokenauth=true");
    }

    #[test]
    fn work_is_bounded_and_the_nonce_must_be_ours() {
        let client =
            Client::new(&sasl(Mechanism::ScramSha512, "u", "p"), "abc".to_owned()).unwrap();
        for (message, about) in [
            ("r=abcd,s=AAAA,i=4095", "iterations"),
            ("r=abcd,s=AAAA,i=1000001", "iterations"),
            ("r=abcd,s=AAAA,i=99999999999", "iterations"),
            ("r=abcd,s=AAAA,i=-1", "iterations"),
            ("r=abc,s=AAAA,i=4096", "nonce"),
            ("r=xabcd,s=AAAA,i=4096", "nonce"),
            ("r=abcd,s=A,i=4096", "salt"),
            ("s=AAAA,i=4096", "SCRAM"),
        ] {
            let error = client.last(message.as_bytes()).err().unwrap();
            assert!(error.contains(about), "{message}: {error}");
        }
        assert!(client.last(b"m=x,r=abcd,s=AAAA,i=4096,x=y").is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_message_is_answered_or_refused(
            first in prop::collection::vec(any::<u8>(), 0..60),
            fields in "(r=n[!-~]{0,5}|s=[A-Za-z0-9=]{0,8}|i=[0-9]{0,5}|,|m=x){0,8}",
            last in "(v=|e=)?[ -~]{0,60}",
        ) {
            let client = Client::new(&sasl(Mechanism::ScramSha256, "u", "p"), "n".to_owned()).unwrap();
            let _ = client.last(&first);
            let _ = client.last(fields.as_bytes());
            let proof = Proof {
                server_key: hmac::Key::new(hmac::HMAC_SHA256, b"k"),
                message: "m".to_owned(),
            };
            prop_assert!(proof.verify(last.as_bytes()).is_err());
            prop_assert!(proof.verify(&first).is_err());
        }
    }
}
