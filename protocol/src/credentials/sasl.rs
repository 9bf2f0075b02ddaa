//! What SASL mechanisms share.

use ring::hmac;

/// A name in a message (RFC 5801, `saslname`): `=2C` is a comma, `=3D` an equals sign. `None` if another
/// `=` is in it.
pub(super) fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut unescaped = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        unescaped.push(c);
        unescaped.push_str(rest);
    }
    Some(unescaped)
}

/// Whether two secrets are the same, in constant time: `hmac::verify` compares so, and what is signed
/// shows nothing of the secrets.
pub fn are_equal(given: &[u8], expected: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"compare");
    let tag = hmac::sign(&key, expected);
    hmac::verify(&key, given, tag.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped_and_others_refused() {
        assert_eq!(unescaped("a=2Cb=3D").as_deref(), Some("a,b="));
        assert_eq!(unescaped("").as_deref(), Some(""));
        for wrong in ["a=", "a=2c", "=4"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_equal_only_if_every_byte_is() {
        assert!(are_equal(b"sesame", b"sesame") && are_equal(b"", b""));
        for other in [&b"sesamE"[..], b"sesam", b"sesame\0", b""] {
            assert!(!are_equal(other, b"sesame"));
        }
    }
}
