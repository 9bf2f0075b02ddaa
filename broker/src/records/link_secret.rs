//! Prefix 18: one record per secret config of a link, encrypted.
//!
//! Key: the link's name, UTF-8 · a zero byte · the config's name, UTF-8, to the end of the key. (No
//! link's name holds a zero byte.)
//! Value: [`Sealed`].

use carrick_link::record::LinkName;
use carrick_storage::codec::DecodeError;

use super::Keyspace;
use super::sealed::Sealed;

pub struct LinkSecretKeyspace;

/// The beginning of the keys of a link's secrets.
pub fn of_link(link: &LinkName) -> Vec<u8> {
    [link.as_str().as_bytes(), &[0]].concat()
}

impl Keyspace for LinkSecretKeyspace {
    const PREFIX: u8 = 18;
    const NAME: &'static str = "link_secret";
    type Key = (LinkName, String);
    type Value = Sealed;

    fn encode_key((link, config): &Self::Key, out: &mut Vec<u8>) {
        out.extend(of_link(link));
        out.extend_from_slice(config.as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<Self::Key, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|e| DecodeError::new(e.to_string()))?;
        let (link, config) = text
            .split_once('\0')
            .ok_or_else(|| DecodeError::new("no zero byte behind the link's name"))?;
        let link = LinkName::new(link).map_err(|e| DecodeError::new(e.to_string()))?;
        Ok((link, config.to_owned()))
    }

    fn encode_value(value: &Sealed, out: &mut Vec<u8>) {
        value.encode(out);
    }

    fn decode_value(bytes: &[u8]) -> Result<Sealed, DecodeError> {
        Sealed::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_reads_back(link in "[a-z]{1,9}", config in "[a-z.]{1,30}") {
            let key = (LinkName::new(&link).unwrap(), config);
            let mut bytes = Vec::new();
            LinkSecretKeyspace::encode_key(&key, &mut bytes);
            prop_assert!(bytes.starts_with(&of_link(&key.0)));
            prop_assert_eq!(LinkSecretKeyspace::decode_key(&bytes).unwrap(), key);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = LinkSecretKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn a_key_is_laid_out_as_documented() {
        let mut bytes = Vec::new();
        let key = (LinkName::new("west").unwrap(), "a.b".to_owned());
        LinkSecretKeyspace::encode_key(&key, &mut bytes);
        assert_eq!(bytes, b"west\0a.b");
    }
}
