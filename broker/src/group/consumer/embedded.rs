//! The bytes that consumers of the classic protocol exchange through their group: subscriptions and
//! assignments (`ConsumerProtocolSubscription`, `ConsumerProtocolAssignment`, versions 0–3).
//!
//! ```text
//! subscription  version i16 · topics [str] · user data bytes · from 1: owned [str [i32]] ·
//!               from 2: generation i32 · from 3: rack str
//! assignment    version i16 · partitions [str [i32]] · user data bytes
//! ```
//! Arrays count in i32, strings in i16, bytes in i32; −1 is null. The bytes come from clients, so
//! nothing in them is trusted before it is checked. Further bytes are ignored: they belong to a
//! newer version.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::Partitions;
use crate::topic::TopicImage;

/// The newest version that is written.
const NEWEST_VERSION: i16 = 3;

/// Partitions by the name of their topic.
pub(super) type NamedPartitions = BTreeMap<String, Vec<i32>>;

/// What a member of the classic protocol wants and has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub topics: Vec<String>,
    pub owned: NamedPartitions,
    pub rack: Option<String>,
}

/// What a leader gave to a member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub partitions: NamedPartitions,
    /// The assignor keeps its own data there.
    pub has_user_data: bool,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*bytes))
    }

    fn i32(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).ok()?;
        let text = std::str::from_utf8(self.take(length)?);
        text.ok().map(str::to_owned)
    }

    fn null_or_string(&mut self) -> Option<Option<String>> {
        if self.0.starts_with(&(-1_i16).to_be_bytes()) {
            self.take(2)?;
            return Some(None);
        }
        self.string().map(Some)
    }

    /// Null is as good as nothing.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        match self.i32()? {
            -1 => Some(&[]),
            length => self.take(usize::try_from(length).ok()?),
        }
    }

    fn array<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.i32()?).ok()?;
        // Nothing is reserved for a count that may lie.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn partitions(&mut self) -> Option<NamedPartitions> {
        let topic = |input: &mut Self| Some((input.string()?, input.array(Self::i32)?));
        Some(self.array(topic)?.into_iter().collect())
    }
}

/// The version that the bytes begin with.
fn version(metadata: &[u8]) -> Option<i16> {
    Input(metadata).i16().filter(|version| *version >= 0)
}

impl Subscription {
    /// Reads a member's metadata; `None` if it can't be read.
    pub fn read(metadata: &[u8]) -> Option<Self> {
        let version = version(metadata)?;
        let mut input = Input(metadata.get(2..)?);
        let topics = input.array(Input::string)?;
        input.bytes()?;
        let mut subscription = Self {
            topics,
            ..Self::default()
        };
        if version >= 1 {
            subscription.owned = input.partitions()?;
        }
        if version >= 2 {
            input.i32()?;
        }
        if version >= 3 {
            subscription.rack = input.null_or_string()?;
        }
        Some(subscription)
    }
}

impl Assignment {
    /// Reads an assignment; `None` if it can't be read. No bytes at all are an empty one.
    pub fn read(assignment: &[u8]) -> Option<Self> {
        if assignment.is_empty() {
            return Some(Self::default());
        }
        version(assignment)?;
        let mut input = Input(assignment.get(2..)?);
        Some(Self {
            partitions: input.partitions()?,
            has_user_data: !input.bytes()?.is_empty(),
        })
    }
}

/// Partitions as an assignment of the version that the member's metadata has. Deleted topics are
/// left out.
pub(super) fn write(partitions: &Partitions, metadata: &[u8], topics: &TopicImage) -> Bytes {
    let named: Vec<_> = partitions
        .iter()
        .filter_map(|(id, partitions)| Some((topics.name(*id)?, partitions)))
        .collect();
    let mut out = BytesMut::new();
    out.put_i16(version(metadata).unwrap_or(0).min(NEWEST_VERSION));
    put_count(&mut out, named.len());
    for (name, partitions) in named {
        out.put_i16(i16::try_from(name.as_str().len()).unwrap_or(i16::MAX));
        out.put_slice(name.as_str().as_bytes());
        put_count(&mut out, partitions.len());
        partitions.iter().for_each(|at| out.put_i32(*at));
    }
    out.put_i32(-1);
    out.freeze()
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

/// Partitions by id. Topics and partitions that are not there are left out.
pub(super) fn by_id(named: &NamedPartitions, topics: &TopicImage) -> Partitions {
    let known = named.iter().filter_map(|(name, partitions)| {
        let (id, count) = topics.topic(name)?;
        let there = partitions
            .iter()
            .copied()
            .filter(|at| (0..count).contains(at));
        Some((id, there.collect()))
    });
    let mut known: Partitions = known.collect();
    known.retain(|_, partitions| !partitions.is_empty());
    known
}

#[cfg(test)]
pub(super) mod tests {
    use carrick_protocol::ids::{TopicId, TopicName};
    use proptest::prelude::*;

    use super::*;

    /// A subscription as a client of version 1 writes it.
    pub(in crate::group::consumer) fn subscription(topics: &[&str]) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(1);
        put_count(&mut out, topics.len());
        for topic in topics {
            out.put_i16(i16::try_from(topic.len()).unwrap());
            out.put_slice(topic.as_bytes());
        }
        out.put_i32(-1);
        out.put_i32(0);
        out.freeze()
    }

    #[test]
    fn a_subscription_of_every_version_is_read() {
        let read = |bytes: &[u8]| Subscription::read(bytes).unwrap();
        let topics = vec!["ab".to_owned()];
        assert_eq!(
            read(b"\0\0\0\0\0\x01\0\x02ab\xff\xff\xff\xff").topics,
            topics
        );
        let owned = b"\0\x03\0\0\0\x01\0\x02ab\0\0\0\x01x\0\0\0\x01\0\x02ab\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\x07\0\x01r";
        let read = read(owned);
        assert_eq!((read.topics, read.rack), (topics, Some("r".into())));
        assert_eq!(
            read.owned,
            NamedPartitions::from([("ab".into(), vec![0, 5])])
        );
    }

    #[test]
    fn an_assignment_that_is_written_is_read() {
        let id = TopicId::random();
        let topics = TopicImage::new(1, [(TopicName::new("t").unwrap(), id, 3)]);
        let partitions = Partitions::from([(id, [0, 2].into()), (TopicId::random(), [1].into())]);
        let bytes = write(&partitions, b"\0\x01", &topics);
        assert_eq!(&bytes[..2], b"\0\x01");
        let read = Assignment::read(&bytes).unwrap();
        assert!(!read.has_user_data);
        assert_eq!(
            by_id(&read.partitions, &topics),
            Partitions::from([(id, [0, 2].into())])
        );
        assert_eq!(Assignment::read(b""), Some(Assignment::default()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_trouble(bytes: Vec<u8>) {
            let _ = Subscription::read(&bytes);
            let _ = Assignment::read(&bytes);
        }
    }
}
