//! Requests that are sent without waiting for answers take effect one after the other: whatever a
//! client sends in one go, it gets the answers that a broker gives which does one thing at a time.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::testing::TestClient;

const TOPIC: i8 = 2;
const RETENTION: &str = "retention.ms";
const DEFAULT_RETENTION_MS: &str = "604800000";

/// One request, about one of two topics.
#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Delete(u8),
    /// To this many partitions.
    Grow(u8, i32),
    SetRetention(u8, i64),
    Retention(u8),
    Produce(u8, i16),
    Latest(u8),
    Earliest(u8),
    /// Deletes all records.
    Trim(u8),
    Commit(u8, i64),
    Committed(u8),
    Partitions(u8),
    Fetch(u8),
    InitProducer,
}

fn step() -> impl Strategy<Value = Step> {
    let topic = || 0..2_u8;
    prop_oneof![
        3 => topic().prop_map(Step::Create),
        1 => topic().prop_map(Step::Delete),
        2 => (topic(), 1..5_i32).prop_map(|(t, count)| Step::Grow(t, count)),
        3 => (topic(), 1..1_000_i64).prop_map(|(t, ms)| Step::SetRetention(t, ms * 100_000)),
        2 => topic().prop_map(Step::Retention),
        6 => (topic(), -1..=1_i16).prop_map(|(t, acks)| Step::Produce(t, acks)),
        4 => topic().prop_map(Step::Latest),
        2 => topic().prop_map(Step::Earliest),
        2 => topic().prop_map(Step::Trim),
        3 => (topic(), 0..1_000_i64).prop_map(|(t, offset)| Step::Commit(t, offset)),
        2 => topic().prop_map(Step::Committed),
        2 => topic().prop_map(Step::Partitions),
        2 => topic().prop_map(Step::Fetch),
        2 => Just(Step::InitProducer),
    ]
}

/// A topic of the model.
struct Kept {
    partitions: i32,
    retention_ms: String,
    start: i64,
    end: i64,
}

/// A broker that does one thing at a time.
#[derive(Default)]
struct Model {
    topics: BTreeMap<u8, Kept>,
    committed: BTreeMap<u8, i64>,
    producers: i64,
}

/// What an answer says: an error code and a value.
type Said = (ErrorCode, String);

fn said(code: i16, value: impl ToString) -> Said {
    (ErrorCode(code), value.to_string())
}

const UNKNOWN: i16 = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;

impl Model {
    /// What the answer to a step says; `None` where none is sent.
    fn take(&mut self, step: &Step) -> Option<Said> {
        Some(match step {
            Step::Create(t) if self.topics.contains_key(t) => {
                said(ErrorCode::TOPIC_ALREADY_EXISTS.0, "")
            }
            Step::Create(t) => {
                let kept = Kept {
                    partitions: 1,
                    retention_ms: DEFAULT_RETENTION_MS.to_owned(),
                    start: 0,
                    end: 0,
                };
                self.topics.insert(*t, kept);
                said(0, "")
            }
            Step::Committed(t) => said(0, self.committed.get(t).copied().unwrap_or(-1)),
            Step::InitProducer => {
                self.producers += 1;
                said(0, self.producers - 1)
            }
            Step::Delete(t) => match self.topics.remove(t) {
                Some(_) => {
                    self.committed.remove(t);
                    said(0, "")
                }
                None => said(UNKNOWN, ""),
            },
            Step::Commit(t, offset) if self.topics.contains_key(t) => {
                self.committed.insert(*t, *offset);
                said(0, "")
            }
            step => match self.topics.get_mut(&step.topic()) {
                None => said(UNKNOWN, ""),
                Some(kept) => return kept.take(step),
            },
        })
    }
}

impl Kept {
    fn take(&mut self, step: &Step) -> Option<Said> {
        Some(match step {
            Step::Grow(_, count) if *count <= self.partitions => {
                said(ErrorCode::INVALID_PARTITIONS.0, "")
            }
            Step::Grow(_, count) => {
                self.partitions = *count;
                said(0, "")
            }
            Step::SetRetention(_, ms) => {
                self.retention_ms = ms.to_string();
                said(0, "")
            }
            Step::Produce(_, acks) => {
                self.end += 1;
                return (*acks != 0).then(|| said(0, self.end - 1));
            }
            Step::Trim(_) => {
                self.start = self.end;
                said(0, self.start)
            }
            Step::Retention(_) => said(0, &self.retention_ms),
            Step::Fetch(_) if self.start > 0 => said(ErrorCode::OFFSET_OUT_OF_RANGE.0, ""),
            Step::Latest(_) | Step::Fetch(_) => said(0, self.end),
            Step::Earliest(_) => said(0, self.start),
            Step::Partitions(_) => said(0, self.partitions),
            other => panic!("{other:?} needs no topic"),
        })
    }
}

impl Step {
    fn topic(&self) -> u8 {
        match self {
            Step::Create(t)
            | Step::Delete(t)
            | Step::Grow(t, _)
            | Step::SetRetention(t, _)
            | Step::Retention(t)
            | Step::Produce(t, _)
            | Step::Latest(t)
            | Step::Earliest(t)
            | Step::Trim(t)
            | Step::Commit(t, _)
            | Step::Committed(t)
            | Step::Partitions(t)
            | Step::Fetch(t) => *t,
            Step::InitProducer => 0,
        }
    }
}

/// One client with its own names.
struct Story {
    client: TestClient,
    number: usize,
}

impl Story {
    fn name(&self, topic: u8) -> String {
        format!("t{}-{topic}", self.number)
    }

    fn group(&self) -> GroupId {
        GroupId(StrBytes::from_string(format!("g{}", self.number)))
    }

    async fn send(&mut self, step: &Step) {
        let text = |text: String| StrBytes::from_string(text);
        let name = self.name(step.topic());
        let (topic, group) = (wire(&name), self.group());
        let client = &mut self.client;
        match step {
            Step::Create(_) => client.send(2, &create(topic)).await,
            Step::Delete(_) => {
                let request = DeleteTopicsRequest::default().with_topic_names(vec![topic]);
                client.send(1, &request).await
            }
            Step::Grow(_, count) => {
                let grown = CreatePartitionsTopic::default().with_name(topic);
                let grown = grown.with_count(*count).with_assignments(None);
                let request = CreatePartitionsRequest::default().with_topics(vec![grown]);
                client.send(0, &request).await
            }
            Step::SetRetention(_, ms) => client.send(0, &set_retention(name, *ms)).await,
            Step::Retention(_) => {
                let key = Some(vec![StrBytes::from_static_str(RETENTION)]);
                let asked = DescribeConfigsResource::default()
                    .with_resource_type(TOPIC)
                    .with_resource_name(text(name))
                    .with_configuration_keys(key);
                let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
                client.send(1, &request).await
            }
            Step::Produce(_, acks) => {
                let request = produce(&name, 0, *acks, batch(&["x"]));
                client.send(9, &request).await
            }
            Step::Latest(_) => client.send(1, &list(topic, -1)).await,
            Step::Earliest(_) => client.send(1, &list(topic, -2)).await,
            Step::Trim(_) => client.send(0, &trim(topic)).await,
            Step::Commit(_, offset) => client.send(2, &commit(group, topic, *offset)).await,
            Step::Committed(_) => {
                let asked = OffsetFetchRequestTopic::default()
                    .with_name(topic)
                    .with_partition_indexes(vec![0]);
                let request = OffsetFetchRequest::default()
                    .with_group_id(group)
                    .with_topics(Some(vec![asked]));
                client.send(1, &request).await
            }
            Step::Partitions(_) => {
                let request = metadata(&name).with_allow_auto_topic_creation(false);
                client.send(4, &request).await
            }
            Step::Fetch(_) => client.send(4, &fetch(&name, 0, 0)).await,
            Step::InitProducer => {
                let id = text(format!("p{}", self.number)).into();
                let request = InitProducerIdRequest::default()
                    .with_transactional_id(Some(id))
                    .with_transaction_timeout_ms(60_000);
                client.send(0, &request).await
            }
        };
    }

    async fn receive(&mut self, step: &Step) -> Said {
        let client = &mut self.client;
        match step {
            Step::Create(_) => {
                let (_, answer) = client.receive::<CreateTopicsRequest>(2).await;
                said(answer.topics[0].error_code, "")
            }
            Step::Delete(_) => {
                let (_, answer) = client.receive::<DeleteTopicsRequest>(1).await;
                said(answer.responses[0].error_code, "")
            }
            Step::Grow(..) => {
                let (_, answer) = client.receive::<CreatePartitionsRequest>(0).await;
                said(answer.results[0].error_code, "")
            }
            Step::SetRetention(..) => {
                let (_, answer) = client.receive::<IncrementalAlterConfigsRequest>(0).await;
                said(answer.responses[0].error_code, "")
            }
            Step::Retention(_) => {
                let (_, answer) = client.receive::<DescribeConfigsRequest>(1).await;
                let result = &answer.results[0];
                let value = result.configs.first().and_then(|c| c.value.as_deref());
                said(result.error_code, value.unwrap_or_default())
            }
            Step::Produce(..) => {
                let (_, answer) = client.receive::<ProduceRequest>(9).await;
                let partition = &answer.responses[0].partition_responses[0];
                valued(partition.error_code, partition.base_offset)
            }
            Step::Latest(_) | Step::Earliest(_) => {
                let (_, answer) = client.receive::<ListOffsetsRequest>(1).await;
                let partition = &answer.topics[0].partitions[0];
                valued(partition.error_code, partition.offset)
            }
            Step::Trim(_) => {
                let (_, answer) = client.receive::<DeleteRecordsRequest>(0).await;
                let partition = &answer.topics[0].partitions[0];
                valued(partition.error_code, partition.low_watermark)
            }
            Step::Commit(..) => {
                let (_, answer) = client.receive::<OffsetCommitRequest>(2).await;
                said(answer.topics[0].partitions[0].error_code, "")
            }
            Step::Committed(_) => {
                let (_, answer) = client.receive::<OffsetFetchRequest>(1).await;
                let partition = &answer.topics[0].partitions[0];
                valued(partition.error_code, partition.committed_offset)
            }
            Step::Partitions(_) => {
                let (_, answer) = client.receive::<MetadataRequest>(4).await;
                let topic = &answer.topics[0];
                valued(topic.error_code, topic.partitions.len() as i64)
            }
            Step::Fetch(_) => {
                let (_, answer) = client.receive::<FetchRequest>(4).await;
                let partition = data(&answer);
                valued(partition.error_code, partition.high_watermark)
            }
            Step::InitProducer => {
                let (_, answer) = client.receive::<InitProducerIdRequest>(0).await;
                valued(answer.error_code, answer.producer_epoch.into())
            }
        }
    }

    /// Sends all steps, then reads all answers.
    async fn play(&mut self, steps: &[Step]) -> Vec<Said> {
        for step in steps {
            self.send(step).await;
        }
        let mut all = Vec::new();
        for step in steps {
            if !matches!(step, Step::Produce(_, 0)) {
                all.push(self.receive(step).await);
            }
        }
        all
    }
}

/// The value counts where there is no error.
fn valued(code: i16, value: i64) -> Said {
    match code {
        0 => said(code, value),
        _ => said(code, ""),
    }
}

fn create(topic: TopicName) -> CreateTopicsRequest {
    let new = CreatableTopic::default()
        .with_name(topic)
        .with_num_partitions(1)
        .with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![new])
}

fn set_retention(topic: String, ms: i64) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_static_str(RETENTION))
        .with_value(Some(StrBytes::from_string(ms.to_string())));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn list(topic: TopicName, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(topic)
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_topics(vec![topic])
}

fn trim(topic: TopicName) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition::default().with_offset(-1);
    let topic = DeleteRecordsTopic::default()
        .with_name(topic)
        .with_partitions(vec![partition]);
    DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn commit(group: GroupId, topic: TopicName, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic)
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group)
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

#[test]
fn a_pipeline_is_answered_as_if_each_request_had_waited_for_the_one_before() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let it = runtime.block_on(TestBroker::start(&[]));
    let number = std::cell::Cell::new(0);
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&prop::collection::vec(step(), 1..60), |mut steps| {
        number.set(number.get() + 1);
        let mut model = Model::default();
        let mut expected = Vec::new();
        for step in &mut steps {
            match step {
                // An error would close the connection.
                Step::Produce(topic, acks) if !model.topics.contains_key(topic) => *acks = 1,
                _ => {}
            }
            expected.extend(model.take(step));
        }
        let answers = runtime.block_on(async {
            let (client, number) = (it.client().await, number.get());
            let mut story = Story { client, number };
            let all = story.play(&steps);
            tokio::time::timeout(Duration::from_secs(120), all).await
        });
        prop_assert_eq!(answers.ok(), Some(expected));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
