//! The mechanism OAUTHBEARER (RFC 7628, KIP-255): the client's first message, as Kafka's `OAuthBearerClientInitialResponse`
//! reads and writes it.
//!
//! The message has a bearer token. If the server refuses that, it answers with a JSON text, to which the client says
//! [`LAST`], and the login has failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::sasl::unescaped;

const SEPARATOR: char = '\u{1}';
/// What a client says to a refusal.
pub const LAST: &[u8] = b"\x01";
/// How a server refuses a token. It gives no reason.
pub const INVALID_TOKEN: &str = "{\"status\":\"invalid_token\"}";
const AUTH: &str = "auth";

/// The client's first message. It holds a secret: it has no `Debug`.
#[derive(PartialEq, Eq)]
pub struct FirstMessage<'a> {
    pub token: &'a str,
    /// The user that the client says it is, if it names one.
    pub name: Option<String>,
    /// SASL extensions (KIP-342).
    pub extensions: BTreeMap<&'a str, &'a str>,
}

impl<'a> FirstMessage<'a> {
    /// Reads `n,[a=NAME],%x01 *(KEY=VALUE %x01) %x01`.
    ///
    /// # Errors
    /// What is wrong; nothing of the message is in it.
    pub fn read(message: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(message).map_err(|_| "it is no text")?;
        let rest = text
            .strip_prefix("n,")
            .ok_or("it does not begin with 'n,': channel binding is not supported")?;
        let (name, rest) = rest.split_once(',').ok_or("its header has no end")?;
        let name = match name {
            "" => None,
            _ => Some(saslname(
                name.strip_prefix("a=").ok_or("its header is wrong")?,
            )?),
        };
        let rest = rest
            .strip_prefix(SEPARATOR)
            .ok_or("its header has no end")?;
        let pairs = rest.strip_suffix(SEPARATOR).ok_or("it has no end")?;
        let pairs = pairs.strip_suffix(SEPARATOR).ok_or("it has no end")?;
        let mut extensions = BTreeMap::new();
        for pair in pairs.split(SEPARATOR) {
            let (key, value) = pair.split_once('=').ok_or("it has a key without a value")?;
            check_extension(key, value)?;
            extensions.insert(key, value);
        }
        let auth = extensions.remove(AUTH).ok_or("it has no key 'auth'")?;
        let (scheme, token) = auth.split_once(' ').ok_or("its key 'auth' has no token")?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("its scheme is not Bearer");
        }
        let token = token.trim_start_matches(' ');
        if !is_token(token) {
            return Err("its token has characters that no token has");
        }
        Ok(Self {
            token,
            name,
            extensions,
        })
    }

    /// The message.
    ///
    /// # Errors
    /// What can't be written.
    pub fn write(&self) -> Result<String, &'static str> {
        if !is_token(self.token) {
            return Err("the token has characters that no token has");
        }
        let mut message = "n,".to_owned();
        if let Some(name) = &self.name {
            let name = name.replace('=', "=3D").replace(',', "=2C");
            saslname(&name)?;
            let _ = write!(message, "a={name}");
        }
        let _ = write!(message, ",{SEPARATOR}{AUTH}=Bearer {}", self.token);
        for (key, value) in &self.extensions {
            check_extension(key, value)?;
            if *key == AUTH {
                return Err("no extension can be named 'auth'");
            }
            let _ = write!(message, "{SEPARATOR}{key}={value}");
        }
        message.extend([SEPARATOR, SEPARATOR]);
        Ok(message)
    }
}

/// RFC 6750: `b64token`.
fn is_token(text: &str) -> bool {
    let base = text.trim_end_matches('=');
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~+/.".contains(&byte);
    !base.is_empty() && base.bytes().all(is_of_it)
}

/// Letters, and characters that can be printed, or blanks.
///
/// # Errors
/// Which of both it is not.
pub fn check_extension(key: &str, value: &str) -> Result<(), &'static str> {
    let is_shown = |byte| matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n');
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("it has a key of other characters than letters");
    }
    if value.is_empty() || !value.bytes().all(is_shown) {
        return Err("it has a value that is empty or of characters that can't be printed");
    }
    Ok(())
}

/// The name in the header, which must be ASCII.
fn saslname(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "its header has a wrong name";
    let is_name = !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x02..=0x7f));
    unescaped(text).filter(|_| is_name).ok_or(WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (String, Option<String>, String);

    fn read(message: &[u8]) -> Result<Read, &'static str> {
        let FirstMessage {
            token,
            name,
            extensions,
        } = FirstMessage::read(message)?;
        Ok((token.to_owned(), name, format!("{extensions:?}")))
    }

    #[test]
    fn a_first_message_has_a_token_and_may_have_a_name_and_extensions() {
        #[rustfmt::skip]
        let table = [
            ("n,,\u{1}auth=Bearer a.b.c\u{1}\u{1}", "a.b.c", None, "{}"),
            ("n,,\u{1}auth=bEARER   a-_~+/.==\u{1}\u{1}", "a-_~+/.==", None, "{}"),
            ("n,a=me,\u{1}auth=Bearer t\u{1}\u{1}", "t", Some("me"), "{}"),
            ("n,a=a=2Cb=3D,\u{1}auth=Bearer t\u{1}\u{1}", "t", Some("a,b="), "{}"),
            ("n,,\u{1}x=1 2\u{1}auth=Bearer t\u{1}pool=\t9\u{1}\u{1}", "t", None, r#"{"pool": "\t9", "x": "1 2"}"#),
            ("n,,\u{1}auth=Bearer s\u{1}auth=Bearer t\u{1}\u{1}", "t", None, "{}"),
        ];
        for (message, token, name, extensions) in table {
            let wanted = (
                token.to_owned(),
                name.map(str::to_owned),
                extensions.to_owned(),
            );
            assert_eq!(read(message.as_bytes()), Ok(wanted), "{message:?}");
        }
    }

    // Follows OAuthBearerClientInitialResponseTest.
    #[test]
    fn other_messages_are_refused() {
        for message in [
            "",
            "\u{1}",
            "n,,\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t\u{1}",
            "n,,\u{1}auth=Bearer t",
            "n,,auth=Bearer t\u{1}\u{1}",
            "y,,\u{1}auth=Bearer t\u{1}\u{1}",
            "p=tls-unique,,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,b=me,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=a=2c,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=a=,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=é,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,,\u{1}auth=Basic t\u{1}\u{1}",
            "n,,\u{1}auth=Bearer\u{1}\u{1}",
            "n,,\u{1}auth=Bearer \u{1}\u{1}",
            "n,,\u{1}auth=Bearer a b\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t=t\u{1}\u{1}",
            "n,,\u{1}Auth=Bearer t\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t\u{1}x1=1\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t\u{1}x=\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t\u{1}x\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t\u{1}x=é\u{1}\u{1}",
        ] {
            assert!(read(message.as_bytes()).is_err(), "{message:?}");
        }
        assert!(read(b"n,,\x01auth=Bearer \xff\x01\x01").is_err());
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let message = |token, name: Option<&str>, key, value| {
            let message = FirstMessage {
                token,
                name: name.map(str::to_owned),
                extensions: BTreeMap::from([(key, value)]),
            };
            message.write()
        };
        assert_eq!(
            message("t", Some("a,="), "x", "1").unwrap(),
            "n,a=a=2C=3D,\u{1}auth=Bearer t\u{1}x=1\u{1}\u{1}"
        );
        assert!(message("t t", None, "x", "1").is_err());
        assert!(message("t\u{1}", None, "x", "1").is_err());
        assert!(message("t", Some("\u{1}"), "x", "1").is_err());
        assert!(message("t", None, "auth", "Bearer u").is_err());
        assert!(message("t", None, "x", "1\u{1}auth=Bearer u").is_err());
        assert!(message("t", None, "x-y", "1").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_message_is_read_or_refused(
            bytes in proptest::collection::vec(0u8.., 0..80),
            text in "(n,|a=|=2C|,|\u{1}|auth=|Bearer |[a-z. ]{0,5}){0,12}",
        ) {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }

        #[test]
        fn what_is_written_is_read(
            token in "[A-Za-z0-9._~+/-]{1,40}={0,2}",
            name in proptest::option::of("[ -~]{1,20}"),
            key in "[b-z][A-Za-z]{0,9}",
            value in "[ -~\t\r\n]{1,20}",
        ) {
            let extensions = BTreeMap::from([(key.as_str(), value.as_str())]);
            let written = FirstMessage { token: &token, name: name.clone(), extensions: extensions.clone() };
            let message = written.write().unwrap();
            let read = FirstMessage::read(message.as_bytes()).unwrap();
            proptest::prop_assert!(read == written);
        }
    }
}
