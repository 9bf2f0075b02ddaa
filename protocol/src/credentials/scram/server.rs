//! The server's side of SCRAM, as Kafka's `ScramSaslServer` speaks it.
//!
//! Pure and synchronous: the client's first message → [`ClientFirst::parse`] → [`Server::first`] →
//! the client's last message → [`Server::last`]. Invariants: a message is read only within
//! [`MESSAGE_MAX_BYTES`](super::MESSAGE_MAX_BYTES); whether a proof is right is decided in constant
//! time; the reason of a refusal is for the log, and holds nothing that the client sent but names.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::credential::Credential;
use super::message::text;
use crate::credentials::sasl::unescaped;

/// The client's first message: `n,[a=authzid],n=name,r=nonce[,extensions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// The user that the client wants to act as; empty for itself.
    pub authorization_id: String,
    pub username: String,
    /// The name is a delegation token's (`tokenauth=true`, KIP-48).
    pub is_token: bool,
    nonce: String,
    /// Everything up to the name, and everything from it on.
    header: String,
    bare: String,
}

impl ClientFirst {
    /// Reads a client's first message.
    ///
    /// # Errors
    /// It is not SCRAM, or asks for a channel binding.
    pub fn parse(message: &[u8]) -> Result<Self, String> {
        let message = text(message)?;
        let rest = message
            .strip_prefix("n,")
            .ok_or("its first message asks for a channel binding, or is not SCRAM")?;
        let not_scram = || "its first message is not SCRAM".to_owned();
        let (authzid, bare) = rest.split_once(',').ok_or_else(not_scram)?;
        let authorization_id = match authzid {
            "" => String::new(),
            name => name
                .strip_prefix("a=")
                .and_then(user_name)
                .ok_or_else(not_scram)?,
        };
        let mut fields = bare.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let username = field("n=").and_then(user_name).ok_or_else(not_scram)?;
        let nonce = field("r=").filter(|nonce| is_nonce(nonce));
        let nonce = nonce.ok_or_else(not_scram)?.to_owned();
        let mut is_token = false;
        for extension in fields {
            let (name, value) = extension.split_once('=').ok_or_else(not_scram)?;
            is_token |= name == "tokenauth" && value.eq_ignore_ascii_case("true");
        }
        Ok(Self {
            authorization_id,
            username,
            is_token,
            nonce,
            header: format!("n,{authzid},"),
            bare: bare.to_owned(),
        })
    }
}

/// The name that `n=` carries; `None` if that is empty or not escaped.
fn user_name(text: &str) -> Option<String> {
    unescaped(text).filter(|name| !name.is_empty() && !name.contains('\0'))
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A conversation whose first messages are exchanged.
pub struct Server {
    credential: Arc<Credential>,
    /// Both nonces.
    nonce: String,
    /// What the client sends as its channel binding.
    binding: String,
    /// `client-first-bare,server-first`
    messages: String,
}

impl Server {
    /// Answers a client's first message. `nonce` must be fresh.
    pub fn first(client: &ClientFirst, credential: Arc<Credential>, nonce: &str) -> (String, Self) {
        let nonce = format!("{}{nonce}", client.nonce);
        let salt = STANDARD.encode(credential.salt());
        let first = format!("r={nonce},s={salt},i={}", credential.iterations());
        let server = Self {
            credential,
            nonce,
            binding: STANDARD.encode(&client.header),
            messages: format!("{},{first}", client.bare),
        };
        (first, server)
    }

    /// Answers the client's last message, if that proves that it knows the password.
    ///
    /// # Errors
    /// Why it does not.
    pub fn last(self, message: &[u8]) -> Result<String, String> {
        let message = text(message)?;
        let not_scram = || "its last message is not SCRAM".to_owned();
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or_else(not_scram)?;
        let proof = STANDARD.decode(proof).map_err(|_| not_scram())?;
        let mut fields = without_proof.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let binding = field("c=").ok_or_else(not_scram)?;
        let nonce = field("r=").ok_or_else(not_scram)?;
        if binding != self.binding {
            return Err("its channel binding differs from its first message".to_owned());
        }
        if nonce != self.nonce {
            return Err("its nonce is not that of this conversation".to_owned());
        }
        let messages = format!("{},{without_proof}", self.messages);
        if !self.credential.stored_key().is_proof(&messages, &proof) {
            return Err("it has not shown that it knows the password".to_owned());
        }
        let signature = self.credential.server_key().signature(&messages);
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Client, Hash};
    use super::*;
    use crate::credentials::{Mechanism, Secret};

    fn credential(mechanism: Mechanism, salt: &[u8], password: &str) -> Arc<Credential> {
        Arc::new(Credential::of_password(mechanism, (salt, 4096), password).unwrap())
    }

    /// RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = credential(Mechanism::ScramSha256, &salt, "pencil");
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.username, "user");
        let (answer, server) = Server::first(&first, credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            answer,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(
            server.last(last).unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    fn converse(mechanism: Mechanism, name: &str, password: &str) -> Result<(), String> {
        let (name, password) = (Secret::new(name), Secret::new(password));
        let hash = Hash::of(mechanism).unwrap();
        let client = Client::new(hash, &name, password, false, "abc".to_owned());
        let first = ClientFirst::parse(client.first().as_bytes())?;
        assert_eq!(first.username, name.expose());
        let (answer, server) = Server::first(&first, credential(mechanism, b"s", "open"), "xyz");
        let (last, proof) = client.last(answer.as_bytes())?;
        proof.verify(server.last(last.as_bytes())?.as_bytes())
    }

    #[test]
    fn both_sides_of_this_crate_understand_each_other() {
        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            for name in ["ann", "a=b,c", "=2C", "ä 😀"] {
                assert_eq!(converse(mechanism, name, "open"), Ok(()));
                let wrong = converse(mechanism, name, "opem").unwrap_err();
                assert!(wrong.contains("not shown"), "{wrong}");
            }
        }
    }

    #[test]
    fn first_messages_are_read_as_the_rfc_has_them() {
        let parse = |message: &str| ClientFirst::parse(message.as_bytes());
        let first = parse("n,a=a=3Db,n=c=2Cd,r=r1,tokenauth=true,x=y=z").unwrap();
        assert_eq!(first.authorization_id, "a=b");
        assert_eq!(first.username, "c,d");
        assert!(first.is_token);
        assert!(!parse("n,,n=c,r=r1,tokenauth=false").unwrap().is_token);
        for wrong in [
            "",
            "n",
            "n,,",
            "y,,n=a,r=b",
            "p=tls-unique,,n=a,r=b",
            "n,b=c,n=a,r=b",
            "n,a=,n=a,r=b",
            "n,,n=,r=b",
            "n,,n=a=b,r=b",
            "n,,n=a=2c,r=b",
            "n,,n=a\0b,r=b",
            "n,,n=a,r=",
            "n,,n=a,r=b c",
            "n,,m=x,n=a,r=b",
            "n,,r=b,n=a",
            "n,,n=a,r=b,x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse(&format!("n,,n=a,r={}", "b".repeat(9000))).is_err());
    }

    #[test]
    fn a_last_message_of_another_conversation_is_refused() {
        let open = credential(Mechanism::ScramSha256, b"s", "open");
        let first = ClientFirst::parse(b"n,a=ann,n=ann,r=abc").unwrap();
        let refused = |last: &str| {
            let (_, server) = Server::first(&first, Arc::clone(&open), "xyz");
            server.last(last.as_bytes()).unwrap_err()
        };
        let binding = STANDARD.encode("n,a=ann,");
        assert!(refused(&format!("c={binding},r=abcxyz,p=AAAA")).contains("password"));
        assert!(refused(&format!("c={binding},r=abcxyz,p=")).contains("password"));
        assert!(refused("c=biws,r=abcxyz,p=AAAA").contains("binding"));
        assert!(refused(&format!("c={binding},r=abc,p=AAAA")).contains("nonce"));
        for wrong in [
            "",
            "p=AAAA",
            "c=biws,r=abcxyz",
            ",p=AAAA",
            "c=biws,r=abcxyz,p=A",
        ] {
            assert!(refused(wrong).contains("not SCRAM"), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_message_is_answered_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            fields in "(n,|a=|n=|r=|,|=2C|=3D|[!-~]{0,3}|tokenauth=true){0,10}",
            last in "(c=biws|r=abcx|,|p=|[A-Za-z0-9=]{0,8}){0,8}",
        ) {
            let _ = ClientFirst::parse(&bytes);
            let _ = ClientFirst::parse(fields.as_bytes());
            let keys: (&[u8], &[u8]) = (&[1; 32], &[2; 32]);
            let stored = Credential::stored(Mechanism::ScramSha256, (b"s", 4096), keys).unwrap();
            let stored = Arc::new(stored);
            for last in [&bytes[..], last.as_bytes()] {
                let first = ClientFirst::parse(b"n,,n=u,r=abc").unwrap();
                let (_, server) = Server::first(&first, Arc::clone(&stored), "x");
                prop_assert!(server.last(last).is_err());
            }
        }
    }
}
