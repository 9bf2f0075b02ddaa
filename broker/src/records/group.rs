//! Group: its members and generation. Key prefix 5.
//!
//! ```text
//! key    group id, UTF-8, to the end
//! value  version u8 = 1 · protocol type opt str · generation i32 · protocol opt str ·
//!        leader opt str · state since (wall ms) opt i64 · members u32 × member
//! member member id str · instance id opt str · client id str · client host str ·
//!        session timeout ms i32 · rebalance timeout ms i32 · subscription bytes ·
//!        assignment bytes
//! ```
//! A group that only commits offsets has no such record.

use bytes::Bytes;
use carrick_protocol::ids::GroupId;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

/// What is stored about a group (Kafka's `GroupMetadataValue`): enough for its members to continue
/// in their generation under their ids after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRecord {
    /// `consumer`, `connect`, …
    pub protocol_type: Option<String>,
    pub generation: i32,
    /// The generation's protocol; `None` when empty.
    pub protocol_name: Option<String>,
    /// The leader's member id; `None` when empty.
    pub leader: Option<String>,
    /// Wall clock of the last change of state.
    pub state_since_ms: Option<i64>,
    /// Who is in it, with assignments; none when empty.
    pub members: Vec<MemberRecord>,
}

/// What is stored of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRecord {
    pub member_id: String,
    /// Its static instance, if any.
    pub instance_id: Option<String>,
    /// The client id it joined with.
    pub client_id: String,
    /// The address it joined from.
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// Its metadata for the generation's protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// Keyspace of groups.
pub struct Groups;

const VERSION: u8 = 1;

impl Keyspace for Groups {
    const PREFIX: u8 = 5;
    const NAME: &'static str = "group";
    type Key = GroupId;
    type Value = GroupRecord;

    fn encode_key(key: &GroupId, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_str().as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<GroupId, DecodeError> {
        let name = std::str::from_utf8(bytes);
        Ok(GroupId::new(
            name.map_err(|error| DecodeError::new(error.to_string()))?,
        ))
    }

    fn encode_value(value: &GroupRecord, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_opt_str(value.protocol_type.as_deref());
        out.put_i32(value.generation);
        out.put_opt_str(value.protocol_name.as_deref());
        out.put_opt_str(value.leader.as_deref());
        out.put_opt_i64(value.state_since_ms);
        out.put_u32(u32::try_from(value.members.len()).unwrap_or(u32::MAX));
        for member in &value.members {
            encode_member(member, out);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<GroupRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let mut record = GroupRecord {
            protocol_type: reader.opt_str()?.map(str::to_owned),
            generation: reader.i32()?,
            protocol_name: reader.opt_str()?.map(str::to_owned),
            leader: reader.opt_str()?.map(str::to_owned),
            state_since_ms: reader.opt_i64()?,
            members: Vec::new(),
        };
        for _ in 0..reader.u32()? {
            record.members.push(decode_member(&mut reader)?);
        }
        reader.finish()?;
        Ok(record)
    }
}

fn encode_member(member: &MemberRecord, out: &mut Vec<u8>) {
    out.put_str(&member.member_id);
    out.put_opt_str(member.instance_id.as_deref());
    out.put_str(&member.client_id);
    out.put_str(&member.client_host);
    out.put_i32(member.session_timeout_ms);
    out.put_i32(member.rebalance_timeout_ms);
    out.put_bytes(&member.subscription);
    out.put_bytes(&member.assignment);
}

fn decode_member(reader: &mut Reader<'_>) -> Result<MemberRecord, DecodeError> {
    Ok(MemberRecord {
        member_id: reader.str()?.to_owned(),
        instance_id: reader.opt_str()?.map(str::to_owned),
        client_id: reader.str()?.to_owned(),
        client_host: reader.str()?.to_owned(),
        session_timeout_ms: reader.i32()?,
        rebalance_timeout_ms: reader.i32()?,
        subscription: Bytes::copy_from_slice(reader.bytes()?),
        assignment: Bytes::copy_from_slice(reader.bytes()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member() -> impl Strategy<Value = MemberRecord> {
        let names = (".*", proptest::option::of(".*"), ".*", ".*");
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        (names, any::<(i32, i32)>(), bytes(), bytes()).prop_map(
            |(names, timeouts, subscription, assignment)| MemberRecord {
                member_id: names.0,
                instance_id: names.1,
                client_id: names.2,
                client_host: names.3,
                session_timeout_ms: timeouts.0,
                rebalance_timeout_ms: timeouts.1,
                subscription,
                assignment,
            },
        )
    }

    fn record() -> impl Strategy<Value = GroupRecord> {
        let name = || proptest::option::of(".*");
        let fields = (name(), any::<i32>(), name(), name(), any::<Option<i64>>());
        (fields, proptest::collection::vec(member(), 0..4)).prop_map(|(fields, members)| {
            GroupRecord {
                protocol_type: fields.0,
                generation: fields.1,
                protocol_name: fields.2,
                leader: fields.3,
                state_since_ms: fields.4,
                members,
            }
        })
    }

    proptest! {
        #[test]
        fn a_group_reads_back_as_it_was_written(name in ".*", record in record()) {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            Groups::encode_key(&GroupId::new(&name), &mut key);
            Groups::encode_value(&record, &mut value);
            prop_assert_eq!(Groups::decode_key(&key).unwrap(), GroupId::new(&name));
            prop_assert_eq!(Groups::decode_value(&value).unwrap(), record);
        }

        #[test]
        fn damaged_groups_are_errors(bytes: Vec<u8>) {
            let _ = Groups::decode_key(&bytes);
            let _ = Groups::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let bytes = b"\x01\x01\0\0\0\x08consumer\0\0\0\x07\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0";
        let record = Groups::decode_value(bytes).unwrap();
        let expected = GroupRecord {
            protocol_type: Some("consumer".into()),
            generation: 7,
            state_since_ms: Some(5),
            ..GroupRecord::default()
        };
        assert_eq!(record, expected);
    }
}
