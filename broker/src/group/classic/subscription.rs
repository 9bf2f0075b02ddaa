//! The topics in a consumer's subscription, as far as the coordinator needs to know them.
//!
//! A `consumer` member's metadata begins as version 0 of Kafka's `ConsumerProtocolSubscription`,
//! whatever its version: version i16, then an array (i32 count) of strings (i16 length). The bytes
//! come from a client, so nothing in them is trusted before it is checked.

use std::collections::BTreeSet;

/// Adds the topics of one member's subscription to `topics`; `None` if it can't be read.
pub(super) fn read_topics(metadata: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = i32::from_be_bytes(*count);
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, tail) = tail.split_at_checked(length)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        rest = tail;
    }
    (count >= 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[u8]) -> Option<Vec<String>> {
        let mut topics = BTreeSet::new();
        read_topics(metadata, &mut topics)?;
        Some(topics.into_iter().collect())
    }

    #[test]
    fn topics_are_read_and_what_follows_is_ignored() {
        let metadata = b"\0\x03\0\0\0\x02\0\x01b\0\x02aa\0\0\0\0more";
        assert_eq!(read(metadata), Some(vec!["aa".into(), "b".into()]));
    }

    #[test]
    fn a_subscription_that_lies_about_its_size_is_not_read() {
        assert_eq!(read(b"\0\0\x7f\xff\xff\xff\0\x01a"), None);
        assert_eq!(read(b"\0\0\0\0\0\x01\0\x09a"), None);
        assert_eq!(read(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(read(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(read(b""), None);
    }
}
