//! The text of SCRAM's messages. Limits for everything that the other side sends: the length of a
//! message, and the work that it asks for.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Kafka's `ScramMechanism.minIterations`.
pub const ITERATIONS_MIN: u32 = 4096;
/// Kafka itself goes up to 16,384; at this many a client works for about a second.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// The longest message that is read; it bounds the salt and the nonce, too.
pub const MESSAGE_MAX_BYTES: usize = 8 * 1024;

/// A name as `n=` carries it.
pub fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// A message as text.
///
/// # Errors
/// It is longer than [`MESSAGE_MAX_BYTES`], or not UTF-8.
pub fn text(message: &[u8]) -> Result<&str, String> {
    let fits = Some(message).filter(|message| message.len() <= MESSAGE_MAX_BYTES);
    fits.and_then(|message| std::str::from_utf8(message).ok())
        .ok_or_else(|| "its message is not SCRAM".to_owned())
}

/// The server's first message: `r=nonce,s=salt,i=iterations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFirst<'a> {
    /// The client's nonce, continued by the server's.
    pub nonce: &'a str,
    /// The salt of the password.
    pub salt: Vec<u8>,
    /// [`ITERATIONS_MIN`] to [`ITERATIONS_MAX`].
    pub iterations: NonZeroU32,
}

impl<'a> ServerFirst<'a> {
    /// Reads the answer to a client's first message that carried `client_nonce`.
    ///
    /// # Errors
    /// In words that can be shown: it is not SCRAM, another nonce, too much or too little work.
    pub fn parse(message: &'a str, client_nonce: &str) -> Result<Self, String> {
        let mut fields = message
            .split(',')
            .skip_while(|field| field.starts_with("m="));
        let mut field = |name: &str| {
            let field = fields.next().and_then(|field| field.strip_prefix(name));
            field.ok_or("its first message is not SCRAM")
        };
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        if !nonce.starts_with(client_nonce) || nonce.len() == client_nonce.len() {
            return Err("its nonce does not continue ours".into());
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
                format!(
                    "it asks for a number of iterations that is not from {ITERATIONS_MIN} to {ITERATIONS_MAX}"
                )
            })?;
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}
