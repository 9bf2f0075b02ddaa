//! Prefix 7: one record per link.
//!
//! Key: the link's name, UTF-8, to the end of the key.
//! Value, version 1: version u8 = 1 · name string · link id 16 bytes · source cluster id optional string ·
//! created i64 ms · failed u8 (0, 1), and if 1: error string (its name in the API) · detail string ·
//! since i64 ms · number of configs u32 · per config, by name: name string · value string.
//!
//! Values of configs may be secrets: a record is never logged, and [`LinkRecord`]s are shown only
//! through the link manager, which masks them.

use std::collections::BTreeMap;

use carrick_link::record::{LinkFailure, LinkName, LinkRecord};
use carrick_storage::codec::{DecodeError, Reader, Writer};
use uuid::Uuid;

use super::Keyspace;
use super::names::{name, parse};

pub struct LinkKeyspace;

impl Keyspace for LinkKeyspace {
    const PREFIX: u8 = 7;
    const NAME: &'static str = "link";
    type Key = LinkName;
    type Value = LinkRecord;

    fn encode_key(key: &LinkName, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_str().as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<LinkName, DecodeError> {
        let name = std::str::from_utf8(bytes).map_err(|e| DecodeError::new(e.to_string()))?;
        LinkName::new(name).map_err(|e| DecodeError::new(e.to_string()))
    }

    fn encode_value(value: &LinkRecord, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_str(value.name.as_str());
        out.extend_from_slice(value.id.as_bytes());
        out.put_opt_str(value.source_cluster_id.as_deref());
        out.put_i64(value.created_ms);
        out.put_bool(value.failure.is_some());
        if let Some(failure) = &value.failure {
            out.put_str(&name(&failure.error));
            out.put_str(&failure.detail);
            out.put_i64(failure.since_ms);
        }
        out.put_u32(u32::try_from(value.configs.len()).unwrap_or(u32::MAX));
        for (name, value) in &value.configs {
            out.put_str(name);
            out.put_str(value);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<LinkRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let name = LinkName::new(reader.str()?).map_err(|e| DecodeError::new(e.to_string()))?;
        let id = Uuid::from_slice(reader.take(16)?).map_err(|e| DecodeError::new(e.to_string()))?;
        let source_cluster_id = reader.opt_str()?.map(str::to_owned);
        let created_ms = reader.i64()?;
        let failure = if reader.bool()? {
            Some(failure(&mut reader)?)
        } else {
            None
        };
        let mut configs = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let name = reader.str()?.to_owned();
            configs.insert(name, reader.str()?.to_owned());
        }
        reader.finish()?;
        Ok(LinkRecord {
            name,
            id,
            source_cluster_id,
            configs,
            unreadable: BTreeMap::new(),
            created_ms,
            failure,
        })
    }
}

fn failure(reader: &mut Reader<'_>) -> Result<LinkFailure, DecodeError> {
    Ok(LinkFailure {
        error: parse(reader.str()?)?,
        detail: reader.str()?.to_owned(),
        since_ms: reader.i64()?,
    })
}

#[cfg(test)]
mod tests {
    use carrick_link::state::LinkErrorCode;
    use proptest::prelude::*;

    use super::*;

    fn record(
        configs: BTreeMap<String, String>,
        source_cluster_id: Option<String>,
        failure: Option<(String, i64)>,
    ) -> LinkRecord {
        LinkRecord {
            name: LinkName::new("west").unwrap(),
            id: Uuid::from_bytes([7; 16]),
            source_cluster_id,
            configs,
            unreadable: BTreeMap::new(),
            created_ms: 1,
            failure: failure.map(|(detail, since_ms)| LinkFailure {
                error: LinkErrorCode::TimeoutError,
                detail,
                since_ms,
            }),
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            configs in prop::collection::btree_map(".{1,20}", ".{0,20}", 0..8),
            source in prop::option::of(".{0,22}"),
            failure in prop::option::of((".{0,30}", any::<i64>())),
        ) {
            let record = record(configs, source, failure);
            let mut bytes = Vec::new();
            LinkKeyspace::encode_value(&record, &mut bytes);
            prop_assert_eq!(LinkKeyspace::decode_value(&bytes).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = LinkKeyspace::decode_value(&bytes);
            let _ = LinkKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let configs = BTreeMap::from([("a".to_owned(), "bc".to_owned())]);
        let mut bytes = Vec::new();
        let record = record(configs, None, Some(("d".to_owned(), 2)));
        LinkKeyspace::encode_value(&record, &mut bytes);
        let mut expected = vec![1, 0, 0, 0, 4];
        expected.extend(b"west");
        expected.extend([7; 16]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 13]);
        expected.extend(b"TIMEOUT_ERROR");
        expected.extend([0, 0, 0, 1, b'd', 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 2, b'b', b'c']);
        assert_eq!(bytes, expected);
    }
}
