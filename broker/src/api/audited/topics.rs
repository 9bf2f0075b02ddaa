//! Topics and their partitions.

use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    WriteTxnMarkersRequest,
};

use super::{Audited, Lines, first_error};
use crate::api::ResponseOf;
use crate::api::create_partitions::CreatePartitions;
use crate::api::create_topics::CreateTopics;
use crate::api::delete_records::DeleteRecords;
use crate::api::delete_topics::DeleteTopics;
use crate::api::write_txn_markers::WriteTxnMarkers;

const TOPIC: &str = "topic";

impl Audited for CreateTopics {
    fn audit(asked: &CreateTopicsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        lines.dry_run(asked.validate_only);
        for topic in &answer.topics {
            lines.add(
                (TOPIC, topic.name.as_str()),
                topic.error_code,
                String::new(),
            );
        }
    }
}

impl Audited for DeleteTopics {
    fn audit(_: &DeleteTopicsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        for topic in &answer.responses {
            let id = TopicId(topic.topic_id).to_string();
            let name = topic
                .name
                .as_ref()
                .map_or(id.as_str(), |name| name.as_str());
            lines.add((TOPIC, name), topic.error_code, String::new());
        }
    }
}

impl Audited for CreatePartitions {
    fn audit(asked: &CreatePartitionsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        lines.dry_run(asked.validate_only);
        for topic in &answer.results {
            let wanted = asked.topics.iter().find(|it| it.name == topic.name);
            let detail = wanted.map(|it| format!("to {} partitions", it.count));
            lines.add(
                (TOPIC, topic.name.as_str()),
                topic.error_code,
                detail.unwrap_or_default(),
            );
        }
    }
}

impl Audited for DeleteRecords {
    fn audit(asked: &DeleteRecordsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        for topic in &answer.topics {
            let wanted = asked.topics.iter().find(|it| it.name == topic.name);
            let partitions = wanted
                .map(|it| it.partitions.as_slice())
                .unwrap_or_default();
            for done in &topic.partitions {
                let number = done.partition_index;
                let wanted = partitions.iter().find(|it| it.partition_index == number);
                let offset = wanted.map_or(-1, |it| it.offset);
                let detail = format!("partition {number} before offset {offset}");
                lines.add((TOPIC, topic.name.as_str()), done.error_code, detail);
            }
        }
    }
}

impl Audited for WriteTxnMarkers {
    fn audit(_: &WriteTxnMarkersRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        for marker in &answer.markers {
            let detail = format!("producer id {}", marker.producer_id.0);
            for topic in &marker.topics {
                let codes = topic.partitions.iter().map(|it| it.error_code);
                let name = topic.name.as_str();
                lines.add((TOPIC, name), first_error(codes), detail.clone());
            }
        }
    }
}
