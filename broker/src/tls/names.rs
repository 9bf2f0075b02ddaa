//! Distinguished names in text, exactly as Java writes them (`X500Principal.getName()`, RFC 2253):
//! principals, and with them ACLs, are made of this text.

use std::fmt::Write as _;

use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{AttributeTypeAndValue, X509Name};

/// The attributes that RFC 2253 has names for; others are written as numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The types that Java writes as text: it takes their bytes for UTF-8.
const TEXT: [Tag; 6] = [
    Tag::Utf8String,
    Tag::PrintableString,
    Tag::Ia5String,
    Tag::T61String,
    Tag::GeneralString,
    Tag::BmpString,
];

/// The name with its last part first.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts = name.iter_rdn().map(|part| {
        let attributes: Vec<String> = part.iter().map(attribute).collect();
        attributes.join("+")
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(of: &AttributeTypeAndValue<'_>) -> String {
    let oid = of.attr_type().to_id_string();
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid);
    let value = of.attr_value();
    match keyword {
        Some((_, keyword)) if TEXT.contains(&value.tag()) => {
            let text = String::from_utf8_lossy(value.data);
            format!("{keyword}={}", escaped(&text))
        }
        Some((_, keyword)) => format!("{keyword}=#{}", hex(value)),
        None => format!("{oid}=#{}", hex(value)),
    }
}

fn escaped(text: &str) -> String {
    const SPECIAL: &str = ",=+<>#;\"\\";
    let is_blank = |c: char| c == ' ' || c == '\r';
    let lead = text.len() - text.trim_start_matches(is_blank).len();
    let trail = text.trim_end_matches(is_blank).len();
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if at < lead || at >= trail || SPECIAL.contains(c) {
            escaped.push('\\');
        }
        match c {
            '\0' => escaped.push_str("\\00"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The value in DER, in hexadecimal digits.
fn hex(value: &Any<'_>) -> String {
    let mut der = vec![u8::try_from(value.tag().0).unwrap_or_default()];
    match value.data.len() {
        short @ ..128 => der.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
            der.push(0x80 | (bytes.len() - first) as u8);
            der.extend_from_slice(&bytes[first..]);
        }
    }
    der.extend_from_slice(value.data);
    let mut hex = String::with_capacity(2 * der.len());
    for byte in der {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::FromDer;

    fn decoded(hex: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    /// Names in DER, and what Java 17's `X500Principal.getName()` says.
    #[test]
    fn names_are_written_as_java_writes_them() {
        let one = |tag: u8, value: &[u8]| {
            let mut attribute = vec![6, 3, 0x55, 4, 3, tag, value.len() as u8];
            attribute.extend_from_slice(value);
            let n = attribute.len() as u8;
            let mut name = vec![0x30, n + 4, 0x31, n + 2, 0x30, n];
            name.extend_from_slice(&attribute);
            name
        };
        let two_in_one =
            decoded("3022310a3008060355040a0c01783114300806035504030c01613008060355040b0c0162");
        let mail = decoded(
            "3023311430120609\
             2a864886f70d010901160561406\
             22e63310b300906035504030c022078",
        );
        for (der, text) in [
            (
                one(12, b" x+y\"<>#;=\\ z "),
                "CN=\\ x\\+y\\\"\\<\\>\\#\\;\\=\\\\ z\\ ",
            ),
            (one(12, "Zoë".as_bytes()), "CN=Zoë"),
            (one(20, b"Zo\xeb"), "CN=Zo\u{fffd}"),
            (one(22, b"a@b"), "CN=a@b"),
            (one(27, b"gen"), "CN=gen"),
            (
                one(28, b"\0\0\0u\0\0\0n\0\0\0i"),
                "CN=#1c0c000000750000006e00000069",
            ),
            (one(12, b"a\0b\nc\r"), "CN=a\\00b\nc\\\r"),
            (one(18, b"12 3"), "CN=#120431322033"),
            (one(12, b""), "CN="),
            (one(12, b"   "), "CN=\\ \\ \\ "),
            (two_in_one, "CN=a+OU=b,O=x"),
            (mail, "CN=\\ x,1.2.840.113549.1.9.1=#16056140622e63"),
            (vec![0x30, 0], ""),
        ] {
            let (_, name) = X509Name::from_der(&der).unwrap();
            assert_eq!(distinguished_name(&name), text);
        }
    }
}
