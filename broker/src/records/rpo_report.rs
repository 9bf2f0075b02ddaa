//! Prefix 9: the report of a topic's last promotion or failover.
//!
//! Key: the mirror topic's name, UTF-8, to the end of the key.
//! Value, version 1: version u8 = 1 · the report's JSON as the API shows it, to the end of the value.

use carrick_link::report::RpoReport;
use carrick_protocol::ids::TopicName;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::mirror::MirrorKeyspace;

pub struct RpoReportKeyspace;

impl Keyspace for RpoReportKeyspace {
    const PREFIX: u8 = 9;
    const NAME: &'static str = "rpo_report";
    type Key = TopicName;
    type Value = RpoReport;

    fn encode_key(key: &TopicName, out: &mut Vec<u8>) {
        MirrorKeyspace::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<TopicName, DecodeError> {
        MirrorKeyspace::decode_key(bytes)
    }

    fn encode_value(value: &RpoReport, out: &mut Vec<u8>) {
        out.put_u8(1);
        // The report consists of strings, numbers and lists, so it can always be written as JSON.
        out.extend(serde_json::to_vec(value).unwrap_or_default());
    }

    fn decode_value(bytes: &[u8]) -> Result<RpoReport, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        serde_json::from_slice(reader.rest()).map_err(|e| DecodeError::new(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use carrick_link::record::LinkName;
    use carrick_link::report::PartitionRpo;
    use carrick_link::verb::CutKind;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn partition()(
            partition in any::<i32>(),
            mirror_end in any::<i64>(),
            offsets in any::<(Option<i64>, Option<i64>, Option<i64>)>(),
            times in any::<(Option<i64>, Option<i64>, Option<i64>)>(),
            exact in any::<bool>(),
            lost_to_retention in any::<i64>(),
            open_transactions in any::<u32>(),
        ) -> PartitionRpo {
            PartitionRpo {
                partition,
                mirror_end,
                last_mirrored_offset: offsets.0,
                last_mirrored_timestamp_ms: times.0,
                source_high_watermark: offsets.1,
                source_seen_at_ms: times.1,
                missing_records: offsets.2,
                missing_ms: times.2,
                exact,
                lost_to_retention,
                open_transactions,
            }
        }
    }

    fn report(partitions: Vec<PartitionRpo>) -> RpoReport {
        RpoReport {
            topic: "orders".to_owned(),
            link: LinkName::new("west").unwrap(),
            source_topic: "orders".to_owned(),
            kind: CutKind::Promote,
            made_at_ms: 1,
            dry_run: false,
            partitions,
            unmirrored: Vec::new(),
            source_problem: None,
            identity_problem: None,
            readers: None,
            writes: None,
            after_cut: None,
        }
    }

    proptest! {
        #[test]
        fn a_report_reads_back(partitions in prop::collection::vec(partition(), 0..5)) {
            let report = report(partitions);
            let mut bytes = Vec::new();
            RpoReportKeyspace::encode_value(&report, &mut bytes);
            prop_assert_eq!(RpoReportKeyspace::decode_value(&bytes).unwrap(), report);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = RpoReportKeyspace::decode_value(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let mut bytes = Vec::new();
        RpoReportKeyspace::encode_value(&report(Vec::new()), &mut bytes);
        let json = r#"{"topic":"orders","link":"west","source_topic":"orders","kind":"PROMOTE","made_at_ms":1,"dry_run":false,"partitions":[],"unmirrored":[],"source_problem":null,"identity_problem":null,"readers":null,"writes":null,"after_cut":null}"#;
        assert_eq!(bytes, [&[1], json.as_bytes()].concat());
    }
}
