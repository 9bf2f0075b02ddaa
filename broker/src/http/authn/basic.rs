//! The credentials of Basic authentication (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use carrick_protocol::credentials::Secret;

/// User and password of the part after `Basic`.
pub fn decode(credentials: &str) -> Option<(String, Secret)> {
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Secret::new(password)))
}

/// The same the other way, for clients.
pub fn encode(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        // RFC 7617, section 2 and 2.1.
        assert_eq!(
            encode("Aladdin", "open sesame"),
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(encode("test", "123£"), "dGVzdDoxMjPCow==");
        for (user, password) in [
            ("", ""),
            ("a", ""),
            ("a", "b"),
            ("é", "x:y"),
            ("abc", "defg"),
        ] {
            let (found, secret) = decode(&encode(user, password)).unwrap();
            assert_eq!((found.as_str(), secret.expose()), (user, password));
        }
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for wrong in ["", "a", "====", "QWxhZGRpbg==", "Qs&f", "/w=="] {
            assert!(decode(wrong).is_none(), "{wrong}");
        }
    }
}
