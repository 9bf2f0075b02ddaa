//! The credentials of Basic authentication (RFC 7617).

use carrick_protocol::credentials::Secret;

/// Longer ones are malformed.
const MAX_BYTES: usize = 8 << 10;

/// User and password of the part after `Basic`.
pub fn decode(credentials: &str) -> Option<(String, Secret)> {
    let text = String::from_utf8(base64(credentials)?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Secret::new(password)))
}

/// The bytes of a text in base64, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() > MAX_BYTES || text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for part in text.chunks(4) {
        let mut bits = 0u32;
        for byte in part {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        bits <<= 6 * (4 - part.len());
        let [_, all @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(&all[..part.len() - 1]);
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The same the other way, for clients.
pub fn encode(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{user}:{password}");
    let mut encoded = String::with_capacity(text.len().div_ceil(3) * 4);
    for part in text.as_bytes().chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=part.len()].copy_from_slice(part);
        let bits = u32::from_be_bytes(bytes);
        for at in 0..4 {
            let digit = bits >> (18 - 6 * at) & 63;
            match at <= part.len() {
                true => encoded.push(char::from(DIGITS[digit as usize])),
                false => encoded.push('='),
            }
        }
    }
    encoded
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
        assert!(decode(&"A".repeat(1 << 20)).is_none());
    }
}
