//! The client's side of SCRAM, as Kafka's `ScramSaslClient` speaks it.
//!
//! Pure and synchronous: [`Client::first`] → the server's first message → [`Client::last`] → the
//! server's last message → [`ServerProof::verify`]. Invariants: the server must prove that it knows
//! the password, too; it can't ask for less work than Kafka's minimum, nor for so much that it
//! would be an attack.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::keys::{Hash, ServerKey};
use super::message::{ServerFirst, escaped, text};
use crate::credentials::Secret;

/// A conversation that has begun.
pub struct Client {
    hash: Hash,
    password: Secret,
    nonce: String,
    first_bare: String,
}

/// What the server has to prove in its last message.
pub struct ServerProof {
    server_key: ServerKey,
    messages: String,
}

impl Client {
    /// Begins with `nonce`, which must be fresh. `is_token`: user and password are a delegation token's
    /// (KIP-48).
    pub fn new(
        hash: Hash,
        username: &Secret,
        password: Secret,
        is_token: bool,
        nonce: String,
    ) -> Self {
        let name = escaped(username.expose());
        let token = if is_token { ",tokenauth=true" } else { "" };
        Self {
            hash,
            password,
            first_bare: format!("n={name},r={nonce}{token}"),
            nonce,
        }
    }

    /// The client's first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's last message, in answer to the server's first. Works long: up to a second.
    pub fn last(&self, server_first: &[u8]) -> Result<(String, ServerProof), String> {
        let server_first = text(server_first)?;
        let challenge = ServerFirst::parse(server_first, &self.nonce)?;
        let password = self.password.expose().as_bytes();
        let salted = self
            .hash
            .salted(password, &challenge.salt, challenge.iterations);
        let without_proof = format!("c=biws,r={}", challenge.nonce);
        let messages = format!("{},{server_first},{without_proof}", self.first_bare);
        let proof = STANDARD.encode(salted.client_key().proof(&messages));
        let server_key = salted.server_key();
        let last = format!("{without_proof},p={proof}");
        Ok((
            last,
            ServerProof {
                server_key,
                messages,
            },
        ))
    }
}

impl ServerProof {
    /// Whether the server's last message shows that it knows the password.
    pub fn verify(&self, server_last: &[u8]) -> Result<(), String> {
        let message = text(server_last)?;
        if let Some(error) = message.strip_prefix("e=") {
            return Err(format!("it says {}", printable(error)));
        }
        let signature = message
            .strip_prefix("v=")
            .map(|rest| rest.split(',').next().unwrap_or(rest))
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or("its last message is not SCRAM")?;
        if self.server_key.is_signature(&self.messages, &signature) {
            Ok(())
        } else {
            Err("it has not shown that it knows the password: it may be an impostor".to_owned())
        }
    }
}

fn printable(text: &str) -> String {
    let shown = text.chars().take(200);
    shown.filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credentials::Mechanism;

    fn client(mechanism: Mechanism, username: &str, password: &str, nonce: &str) -> Client {
        let hash = Hash::of(mechanism).unwrap();
        let username = Secret::new(username);
        Client::new(
            hash,
            &username,
            Secret::new(password),
            false,
            nonce.to_owned(),
        )
    }

    /// The example of RFC 7677.
    fn example(password: &str) -> Client {
        let nonce = "rOprNGfwEbeRWgbNEkqO";
        client(Mechanism::ScramSha256, "user", password, nonce)
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
        let hash = Hash::of(Mechanism::ScramSha512).unwrap();
        let (name, password) = (Secret::new("a=b,c"), Secret::new("x"));
        let client = Client::new(hash, &name, password, true, "n".to_owned());
        assert_eq!(client.first(), "n,,n=a=3Db=2Cc,r=n,tokenauth=true");
    }

    #[test]
    fn work_is_bounded_and_the_nonce_must_be_ours() {
        let client = client(Mechanism::ScramSha512, "u", "p", "abc");
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
            let client = client(Mechanism::ScramSha256, "u", "p", "n");
            let _ = client.last(&first);
            let _ = client.last(fields.as_bytes());
            let (_, proof) = client.last(b"r=nx,s=AAAA,i=4096").unwrap();
            prop_assert!(proof.verify(last.as_bytes()).is_err());
            prop_assert!(proof.verify(&first).is_err());
        }
    }
}
