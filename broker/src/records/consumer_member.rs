//! Member of a consumer group: what it has reported about itself, and how far it has moved to its
//! target. Key prefix 13.
//!
//! ```text
//! key     group id str · member id str                 (str: u32 length, UTF-8)
//! value   version u8 = 1 · member epoch i32 · previous epoch i32 · state u8 (0 stable,
//!         1 unrevoked, 2 unreleased) · instance id opt str · rack opt str ·
//!         rebalance timeout ms i32 · client id str · client host str · topics u32 × str ·
//!         regex str · assignor opt str · assigned epochs · revoking epochs · classic u8 (0, 1) ·
//!         if classic: session timeout ms i32 · protocols u32 × (name str · metadata bytes)
//! epochs  topics u32 × (topic id 16 bytes · partitions u32 × (partition i32 · epoch i32))
//! ```
//! All members of a group share the prefix that [`ConsumerMembers::group_prefix`] returns; so do
//! their targets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::ids::{GroupId, TopicId};
use carrick_storage::codec::{DecodeError, Reader, Writer};
use uuid::Uuid;

use super::Keyspace;
use super::member_ids::{InstanceId, MemberId};

/// A protocol that a member supports, with the member's metadata for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Such as `range` or `cooperative-sticky`.
    pub name: Arc<str>,
    /// The member's subscription, opaque but for `consumer` groups.
    pub metadata: Bytes,
}

/// Partitions by topic. No topic stands there without a partition.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// Partitions by topic, each with the epoch in which its member got it. No topic stands there
/// without a partition.
pub type Epochs = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// How far a member has moved towards the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has all that the target of its epoch gives it.
    #[default]
    Stable,
    /// It has been told to release partitions and has not confirmed that yet.
    Unrevoked,
    /// Partitions of its target still have another owner.
    Unreleased,
}

/// What a member of the classic protocol has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    /// It is dead when it has been silent for this long.
    pub session_timeout_ms: i32,
    /// Most wanted first; not empty.
    pub protocols: Vec<Protocol>,
}

/// A member, in memory and on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The epoch that it has reached; `STATIC_LEAVE_EPOCH` while it is away.
    pub member_epoch: i32,
    /// The epoch before: the answer that told the present one may have been lost.
    pub previous_epoch: i32,
    /// How far it has got.
    pub state: MemberState,
    /// The static instance, if it is one.
    pub instance_id: Option<InstanceId>,
    /// Its rack, if it names one.
    pub rack_id: Option<String>,
    /// How long it may take to release partitions.
    pub rebalance_timeout_ms: i32,
    /// Client id of the connection that it last used.
    pub client_id: Arc<str>,
    /// Address that it last used, in Kafka's form (`/10.0.0.1`).
    pub client_host: Arc<str>,
    /// The topics that it subscribes to by name.
    pub topics: BTreeSet<String>,
    /// The regular expression that it subscribes with; empty for none.
    pub regex: Arc<str>,
    /// The assignor that it wants, if it names one.
    pub assignor: Option<String>,
    /// The partitions that it has been told to read.
    pub assigned: Epochs,
    /// The partitions that it has been told to release and may still read.
    pub revoking: Epochs,
    /// Set for a member of the classic protocol.
    pub classic: Option<ClassicMember>,
    /// The epoch in which its rebalance timer was started. Not stored.
    pub rebalance_epoch: Option<i32>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            member_epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            client_id: "".into(),
            client_host: "".into(),
            topics: BTreeSet::new(),
            regex: "".into(),
            assignor: None,
            assigned: Epochs::new(),
            revoking: Epochs::new(),
            classic: None,
            rebalance_epoch: None,
        }
    }
}

/// Keyspace of members.
pub struct ConsumerMembers;

const VERSION: u8 = 1;

/// Which member of which group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMemberKey {
    pub group: GroupId,
    pub member: MemberId,
}

impl ConsumerMembers {
    /// What all keys of the group start with.
    pub fn group_prefix(group: &GroupId) -> Vec<u8> {
        let mut prefix = Vec::new();
        prefix.put_str(group.as_str());
        prefix
    }
}

impl Keyspace for ConsumerMembers {
    const PREFIX: u8 = 13;
    const NAME: &'static str = "consumer_member";
    type Key = ConsumerMemberKey;
    type Value = Member;

    fn encode_key(key: &ConsumerMemberKey, out: &mut Vec<u8>) {
        out.put_str(key.group.as_str());
        out.put_str(key.member.as_str());
    }

    fn decode_key(bytes: &[u8]) -> Result<ConsumerMemberKey, DecodeError> {
        let mut reader = Reader::new(bytes);
        let key = ConsumerMemberKey {
            group: GroupId::new(reader.str()?),
            member: reader.str()?.into(),
        };
        reader.finish()?;
        Ok(key)
    }

    fn encode_value(value: &Member, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_i32(value.member_epoch);
        out.put_i32(value.previous_epoch);
        out.put_u8(match value.state {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
        });
        out.put_opt_str(value.instance_id.as_ref().map(InstanceId::as_str));
        out.put_opt_str(value.rack_id.as_deref());
        out.put_i32(value.rebalance_timeout_ms);
        out.put_str(&value.client_id);
        out.put_str(&value.client_host);
        put_count(value.topics.len(), out);
        value.topics.iter().for_each(|topic| out.put_str(topic));
        out.put_str(&value.regex);
        out.put_opt_str(value.assignor.as_deref());
        put_epochs(&value.assigned, out);
        put_epochs(&value.revoking, out);
        out.put_bool(value.classic.is_some());
        if let Some(classic) = &value.classic {
            put_classic(classic, out);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<Member, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let member = Member {
            member_epoch: reader.i32()?,
            previous_epoch: reader.i32()?,
            state: match reader.u8()? {
                0 => MemberState::Stable,
                1 => MemberState::Unrevoked,
                2 => MemberState::Unreleased,
                other => return Err(DecodeError::new(format!("member state {other}"))),
            },
            instance_id: reader.opt_str()?.map(InstanceId::from),
            rack_id: reader.opt_str()?.map(str::to_owned),
            rebalance_timeout_ms: reader.i32()?,
            client_id: reader.str()?.into(),
            client_host: reader.str()?.into(),
            topics: {
                let count = reader.u32()?;
                let names = (0..count).map(|_| Ok(reader.str()?.to_owned()));
                names.collect::<Result<_, DecodeError>>()?
            },
            regex: reader.str()?.into(),
            assignor: reader.opt_str()?.map(str::to_owned),
            assigned: epochs(&mut reader)?,
            revoking: epochs(&mut reader)?,
            classic: match reader.bool()? {
                true => Some(classic(&mut reader)?),
                false => None,
            },
            rebalance_epoch: None,
        };
        reader.finish()?;
        Ok(member)
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

pub(super) fn put_topic_id(id: TopicId, out: &mut Vec<u8>) {
    out.extend_from_slice(id.0.as_bytes());
}

pub(super) fn topic_id(reader: &mut Reader<'_>) -> Result<TopicId, DecodeError> {
    let id = Uuid::from_slice(reader.take(16)?);
    id.map(TopicId)
        .map_err(|error| DecodeError::new(error.to_string()))
}

fn put_epochs(epochs: &Epochs, out: &mut Vec<u8>) {
    put_count(epochs.len(), out);
    for (topic, partitions) in epochs {
        put_topic_id(*topic, out);
        put_count(partitions.len(), out);
        for (partition, epoch) in partitions {
            out.put_i32(*partition);
            out.put_i32(*epoch);
        }
    }
}

fn epochs(reader: &mut Reader<'_>) -> Result<Epochs, DecodeError> {
    let mut epochs = Epochs::new();
    for _ in 0..reader.u32()? {
        let partitions = epochs.entry(topic_id(reader)?).or_default();
        for _ in 0..reader.u32()? {
            let partition = reader.i32()?;
            partitions.insert(partition, reader.i32()?);
        }
    }
    Ok(epochs)
}

fn put_classic(classic: &ClassicMember, out: &mut Vec<u8>) {
    out.put_i32(classic.session_timeout_ms);
    put_count(classic.protocols.len(), out);
    for protocol in &classic.protocols {
        out.put_str(&protocol.name);
        out.put_bytes(&protocol.metadata);
    }
}

fn classic(reader: &mut Reader<'_>) -> Result<ClassicMember, DecodeError> {
    let session_timeout_ms = reader.i32()?;
    let mut protocols = Vec::new();
    for _ in 0..reader.u32()? {
        protocols.push(Protocol {
            name: reader.str()?.into(),
            metadata: Bytes::copy_from_slice(reader.bytes()?),
        });
    }
    Ok(ClassicMember {
        session_timeout_ms,
        protocols,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epochs() -> impl Strategy<Value = Epochs> {
        let partitions = proptest::collection::btree_map(any::<i32>(), any::<i32>(), 1..4);
        let topic = any::<u128>().prop_map(|id| TopicId(Uuid::from_u128(id)));
        proptest::collection::btree_map(topic, partitions, 0..3)
    }

    fn classic() -> impl Strategy<Value = ClassicMember> {
        let protocol = (".*", any::<Vec<u8>>()).prop_map(|(name, metadata)| Protocol {
            name: name.into(),
            metadata: metadata.into(),
        });
        let protocols = proptest::collection::vec(protocol, 0..3);
        (any::<i32>(), protocols).prop_map(|(session_timeout_ms, protocols)| ClassicMember {
            session_timeout_ms,
            protocols,
        })
    }

    fn member() -> impl Strategy<Value = Member> {
        const STATES: [MemberState; 3] = [
            MemberState::Stable,
            MemberState::Unrevoked,
            MemberState::Unreleased,
        ];
        let name = || proptest::option::of(".*");
        let names = (name(), name(), ".*", ".*", ".*", name());
        let numbers = (
            any::<(i32, i32, i32)>(),
            proptest::sample::select(&STATES[..]),
        );
        let topics = proptest::collection::btree_set(".*", 0..3);
        let rest = (topics, epochs(), epochs(), proptest::option::of(classic()));
        (names, numbers, rest).prop_map(|(names, (numbers, state), rest)| Member {
            member_epoch: numbers.0,
            previous_epoch: numbers.1,
            state,
            instance_id: names.0.map(InstanceId::from),
            rack_id: names.1,
            rebalance_timeout_ms: numbers.2,
            client_id: names.2.into(),
            client_host: names.3.into(),
            topics: rest.0,
            regex: names.4.into(),
            assignor: names.5,
            assigned: rest.1,
            revoking: rest.2,
            classic: rest.3,
            rebalance_epoch: None,
        })
    }

    proptest! {
        #[test]
        fn a_member_reads_back_as_it_was_written(names: (String, String), member in member()) {
            let key = ConsumerMemberKey {
                group: GroupId::new(&names.0),
                member: names.1.into(),
            };
            let (mut key_bytes, mut value) = (Vec::new(), Vec::new());
            ConsumerMembers::encode_key(&key, &mut key_bytes);
            ConsumerMembers::encode_value(&member, &mut value);
            prop_assert!(key_bytes.starts_with(&ConsumerMembers::group_prefix(&key.group)));
            prop_assert_eq!(ConsumerMembers::decode_key(&key_bytes).unwrap(), key);
            prop_assert_eq!(ConsumerMembers::decode_value(&value).unwrap(), member);
        }

        #[test]
        fn damaged_members_are_errors(bytes: Vec<u8>) {
            let _ = ConsumerMembers::decode_key(&bytes);
            let _ = ConsumerMembers::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let mut bytes = b"\x01\0\0\0\x03\0\0\0\x02\x02\0\0\0\0\x10\0".to_vec();
        bytes.extend_from_slice(b"\0\0\0\x01c\0\0\0\x01h\0\0\0\x01\0\0\0\x01t\0\0\0\0\0");
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\0\0");
        let expected = Member {
            member_epoch: 3,
            previous_epoch: 2,
            state: MemberState::Unreleased,
            rebalance_timeout_ms: 4_096,
            client_id: "c".into(),
            client_host: "h".into(),
            topics: ["t".to_owned()].into(),
            ..Member::default()
        };
        assert_eq!(ConsumerMembers::decode_value(&bytes).unwrap(), expected);
    }
}
