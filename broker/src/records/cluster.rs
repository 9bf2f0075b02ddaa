//! Prefix 1: the identity of this cluster. One record, written at the first start and never again.
//!
//! Key: empty.
//! Value, version 1: version u8 = 1 · cluster id string (22 characters of base64url, as Kafka's).

use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

pub struct ClusterKeyspace;

/// Who this cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// The cluster id.
    pub cluster_id: String,
}

impl Keyspace for ClusterKeyspace {
    const PREFIX: u8 = 1;
    const NAME: &'static str = "cluster";
    type Key = ();
    type Value = ClusterRecord;

    fn encode_key(_key: &(), _out: &mut Vec<u8>) {}

    fn decode_key(bytes: &[u8]) -> Result<(), DecodeError> {
        Reader::new(bytes).finish()
    }

    fn encode_value(value: &ClusterRecord, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_str(&value.cluster_id);
    }

    fn decode_value(bytes: &[u8]) -> Result<ClusterRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let cluster_id = reader.str()?.to_owned();
        reader.finish()?;
        Ok(ClusterRecord { cluster_id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(cluster_id in ".{0,40}") {
            let record = ClusterRecord { cluster_id };
            let mut bytes = Vec::new();
            ClusterKeyspace::encode_value(&record, &mut bytes);
            prop_assert_eq!(ClusterKeyspace::decode_value(&bytes).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = ClusterKeyspace::decode_value(&bytes);
        }
    }
}
