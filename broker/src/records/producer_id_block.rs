//! Prefix 4: the position of the allocation of producer ids. One record.
//!
//! Key: empty. Value, version 1: version u8 = 1 · next i64, the first id that has never been
//! reserved.

use carrick_protocol::ids::ProducerId;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

pub struct ProducerIdBlockKeyspace;

impl Keyspace for ProducerIdBlockKeyspace {
    const PREFIX: u8 = 4;
    const NAME: &'static str = "producer_id_block";
    type Key = ();
    type Value = ProducerId;

    fn encode_key(_key: &(), _out: &mut Vec<u8>) {}

    fn decode_key(bytes: &[u8]) -> Result<(), DecodeError> {
        Reader::new(bytes).finish()
    }

    fn encode_value(value: &ProducerId, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_i64(value.0);
    }

    fn decode_value(bytes: &[u8]) -> Result<ProducerId, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let next = reader.i64()?;
        reader.finish()?;
        if next < 0 {
            return Err(DecodeError::new(format!("producer id {next} is negative")));
        }
        Ok(ProducerId(next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(next in 0..=i64::MAX) {
            let mut bytes = Vec::new();
            ProducerIdBlockKeyspace::encode_value(&ProducerId(next), &mut bytes);
            let read = ProducerIdBlockKeyspace::decode_value(&bytes).unwrap();
            prop_assert_eq!(read, ProducerId(next));
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let _ = ProducerIdBlockKeyspace::decode_value(&bytes);
        }
    }
}
