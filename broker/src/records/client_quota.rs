//! Prefix 16: the client quotas of one entity. Absent when it has none.
//!
//! Key: kind u8 (1 user, 2 client id, 3 user and client id, 4 address) · one or two parts, each:
//! u8 0 for the default, or 1 · name string.
//! Value, version 1: version u8 = 1 · count u32 · (key string, value as the u64 of its IEEE bits),
//! sorted by key.

use std::collections::BTreeMap;

use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

/// One part: every entity without a quota of its own, or one by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Default,
    /// By name.
    Named(String),
}

/// What a quota applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// All clients of a user together, or (default) of each user.
    User(Part),
    /// All connections with a client id together, whatever the user.
    Client(Part),
    /// A client id of a user.
    UserClient(Part, Part),
    /// An address.
    Ip(Part),
}

pub struct ClientQuotaKeyspace;

impl Keyspace for ClientQuotaKeyspace {
    const PREFIX: u8 = 16;
    const NAME: &'static str = "client_quota";
    type Key = Entity;
    type Value = BTreeMap<String, f64>;

    fn encode_key(key: &Entity, out: &mut Vec<u8>) {
        let (kind, parts) = match key {
            Entity::User(user) => (1, vec![user]),
            Entity::Client(client) => (2, vec![client]),
            Entity::UserClient(user, client) => (3, vec![user, client]),
            Entity::Ip(ip) => (4, vec![ip]),
        };
        out.put_u8(kind);
        for part in parts {
            match part {
                Part::Default => out.put_u8(0),
                Part::Named(name) => {
                    out.put_u8(1);
                    out.put_str(name);
                }
            }
        }
    }

    fn decode_key(bytes: &[u8]) -> Result<Entity, DecodeError> {
        let mut reader = Reader::new(bytes);
        let entity = match reader.u8()? {
            1 => Entity::User(part(&mut reader)?),
            2 => Entity::Client(part(&mut reader)?),
            3 => Entity::UserClient(part(&mut reader)?, part(&mut reader)?),
            4 => Entity::Ip(part(&mut reader)?),
            other => return Err(DecodeError::new(format!("entity of kind {other}"))),
        };
        reader.finish()?;
        Ok(entity)
    }

    fn encode_value(value: &BTreeMap<String, f64>, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        for (key, value) in value {
            out.put_str(key);
            out.put_u64(value.to_bits());
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<BTreeMap<String, f64>, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let count = reader.u32()?;
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = reader.str()?.to_owned();
            values.insert(key, f64::from_bits(reader.u64()?));
        }
        reader.finish()?;
        Ok(values)
    }
}

fn part(reader: &mut Reader<'_>) -> Result<Part, DecodeError> {
    match reader.u8()? {
        0 => Ok(Part::Default),
        1 => Ok(Part::Named(reader.str()?.to_owned())),
        other => Err(DecodeError::new(format!("entity part of kind {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_part() -> impl Strategy<Value = Part> {
        prop_oneof![Just(Part::Default), ".{0,20}".prop_map(Part::Named)]
    }

    fn any_entity() -> impl Strategy<Value = Entity> {
        prop_oneof![
            any_part().prop_map(Entity::User),
            any_part().prop_map(Entity::Client),
            (any_part(), any_part()).prop_map(|(user, client)| Entity::UserClient(user, client)),
            any_part().prop_map(Entity::Ip),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            entity in any_entity(),
            values in prop::collection::btree_map(".{0,20}", -1e18..1e18_f64, 0..5),
        ) {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            ClientQuotaKeyspace::encode_key(&entity, &mut key);
            ClientQuotaKeyspace::encode_value(&values, &mut value);
            prop_assert_eq!(ClientQuotaKeyspace::decode_key(&key).unwrap(), entity);
            prop_assert_eq!(ClientQuotaKeyspace::decode_value(&value).unwrap(), values);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = ClientQuotaKeyspace::decode_key(&bytes);
            let _ = ClientQuotaKeyspace::decode_value(&bytes);
        }
    }
}
