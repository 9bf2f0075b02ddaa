//! No request gets an answer out of proportion: what is requested many times is answered once, and an
//! answer has a bound that is checked while it is built.

use carrick_protocol::shapes::repeated_request;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

use super::*;
use crate::api::table::{APIS, Entry};
use crate::api::{Context, Reply};
use crate::testing::TestClient;

const PARTITIONS: i32 = 200;
const NOTE_BYTES: usize = 4_000;

const COPIES: usize = 500;

/// The largest size of an answer per item of a request, in addition to the item's own bytes.
const ITEM_BYTES: usize = 400;

/// Names of what there is, and one that is as long as a name can be on the wire.
fn words() -> &'static [&'static str] {
    static WORDS: std::sync::LazyLock<[&str; 5]> = std::sync::LazyLock::new(|| {
        let long: &'static str = "n".repeat(20_000).leak();
        ["t", "g", "x", "consumer", long]
    });
    &*WORDS
}

/// A broker with a topic of many partitions, a group with long metadata texts on its offsets, and a
/// transaction with all partitions.
async fn world(overrides: &[&str]) -> TestBroker {
    let it = TestBroker::start(overrides).await;
    it.create("t", PARTITIONS);
    let mut client = it.client().await;
    let note = StrBytes::from_string("m".repeat(NOTE_BYTES));
    let all = 0..PARTITIONS;
    for chunk in all.clone().collect::<Vec<_>>().chunks(20) {
        let partitions = chunk.iter().map(|number| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*number)
                .with_committed_metadata(Some(note.clone()))
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_name(wire("t"))
            .with_partitions(partitions.collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let answer = client.call(2, &request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    begin_transaction(&mut client).await;
    it
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

async fn begin_transaction(client: &mut TestClient) {
    let id = TransactionalId(StrBytes::from_static_str("x"));
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id.clone()))
        .with_transaction_timeout_ms(60_000);
    let producer = client.call(0, &request).await;
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(wire("t"))
        .with_partitions((0..PARTITIONS).collect());
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id)
        .with_v3_and_below_producer_id(producer.producer_id)
        .with_v3_and_below_producer_epoch(producer.producer_epoch)
        .with_v3_and_below_topics(vec![topic]);
    let answer = client.call(0, &request).await;
    let results = &answer.results_by_topic_v3_and_below[0].results_by_partition;
    assert_eq!(results[0].partition_error_code, 0);
}

fn context(it: &TestBroker) -> Context {
    it.context()
}

/// Bytes of a request with copies, and of its answer; `None` if it waits for others.
async fn asked(
    context: &Context,
    entry: &Entry,
    seed: u64,
    copies: &'static [usize],
) -> Option<(usize, usize)> {
    let (key, version) = (entry.key, entry.max);
    let mut frame = Vec::new();
    frame.extend((key as i16).to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 7, 0xff, 0xff]);
    if key.request_header_version(version) >= 2 {
        frame.push(0);
    }
    frame.extend(repeated_request(
        key as i16,
        version,
        seed,
        words(),
        copies,
    )?);
    let bytes = frame.len();
    let answer = match handle(&mut context.clone(), frame.into()).ok()? {
        Reply::Now(answer) => answer,
        Reply::Later(answer) => {
            let limit = Duration::from_millis(200);
            tokio::time::timeout(limit, answer).await.ok()?
        }
        Reply::Early { answer, .. } => answer?,
        Reply::None | Reply::Close(_) => return None,
    };
    let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    Some((bytes, answer.iter().map(Bytes::len).sum()))
}

/// APIs that remove what the others are asked about.
fn removes(entry: &Entry) -> bool {
    matches!(
        entry.key,
        ApiKey::DeleteTopics | ApiKey::DeleteGroups | ApiKey::OffsetDelete
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_the_same_many_times_gets_no_more_than_asking_once() {
    let it = world(&[]).await;
    let context = context(&it);
    let mut compared = 0;
    // Describing APIs come before altering ones: the list has them the other way round.
    for entry in APIS.iter().rev().filter(|entry| !removes(entry)) {
        for seed in 0..8 {
            for many in [&[COPIES][..], &[1, COPIES]] {
                let Some((_, once)) = asked(&context, entry, seed, &[1]).await else {
                    continue;
                };
                let Some((request, answer)) = asked(&context, entry, seed, many).await else {
                    continue;
                };
                let most = once + COPIES * ITEM_BYTES + 2 * request;
                assert!(
                    answer <= most,
                    "{} with copies {many:?}, seed {seed}: {request} bytes get {answer}, once {once}",
                    entry.name
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "only {compared} answers came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_id_asked_for_many_times_is_described_once() {
    let it = world(&[]).await;
    let id = TransactionalId(StrBytes::from_static_str("x"));
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id; 1_000]);
    let answer = it.client().await.call(0, &request).await;
    assert_eq!(answer.transaction_states.len(), 1);
    let topics = &answer.transaction_states[0].topics;
    assert_eq!(topics[0].partitions.len(), PARTITIONS as usize);
}

fn all_offsets() -> OffsetFetchRequest {
    let all = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(None);
    OffsetFetchRequest::default().with_groups(vec![all])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_needs_much_room_gets_it_and_is_whole() {
    let it = world(&[]).await;
    let mut client = it.client().await;
    // Twice what needs no room.
    let invented = (0..600).map(|number| {
        DescribeConfigsResource::default()
            .with_resource_type(32)
            .with_resource_name(StrBytes::from_string(format!("invented-{number}")))
    });
    let request = DescribeConfigsRequest::default()
        .with_resources(invented.collect())
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let answer = client.call(4, &request).await;
    assert!(answer.results.iter().all(|result| result.error_code == 0));
    assert!(
        answer
            .results
            .iter()
            .all(|result| !result.configs.is_empty())
    );
    let offsets = client.call(8, &all_offsets()).await;
    let partitions = &offsets.groups[0].topics[0].partitions;
    assert_eq!(partitions.len(), PARTITIONS as usize);
    assert!(partitions.iter().all(|partition| partition.error_code == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn items_without_room_in_an_answer_are_refused_by_name() {
    let it = world(&["socket.request.max.bytes=100000"]).await;
    let mut client = it.client().await;
    let offsets = client.call(8, &all_offsets()).await;
    let partitions = &offsets.groups[0].topics[0].partitions;
    assert_eq!(partitions.len(), PARTITIONS as usize);
    let answered = partitions.iter().filter(|p| p.error_code == 0).count();
    assert!(
        (20..25).contains(&answered),
        "{answered} notes of 4,000 bytes"
    );
    let refused = &partitions[answered..];
    let code = ErrorCode::INVALID_REQUEST.0;
    assert!(refused.iter().all(|partition| partition.error_code == code));
    // A smaller request is answered.
    let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
        .with_name(wire("t"))
        .with_partition_indexes(vec![199, 199, 3, 199]);
    let some = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![some.clone(), some]);
    let offsets = client.call(8, &request).await;
    assert_eq!(offsets.groups.len(), 1);
    let partitions = &offsets.groups[0].topics[0].partitions;
    let told: Vec<_> = partitions
        .iter()
        .map(|p| (p.partition_index, p.error_code))
        .collect();
    assert_eq!(told, [(199, 0), (3, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_asked_for_by_its_id_is_answered_once_whatever_names_stand_beside() {
    let it = TestBroker::start(&[]).await;
    let id = it.create("t", 2).id().0;
    let named = |number| {
        MetadataRequestTopic::default()
            .with_topic_id(id)
            .with_name(Some(wire(&format!("{number}"))))
    };
    let request = MetadataRequest::default().with_topics(Some((0..100).map(named).collect()));
    let answer = it.client().await.call(12, &request).await;
    assert_eq!(answer.topics.len(), 1);
}

/// Bytes of an answer that most small items of a request could be worth in all.
const CONSTANT_MAX_BYTES: usize = 6 << 20;

/// Asks, and gives the answer and its size.
async fn sized<R: kafka_protocol::protocol::Request>(
    client: &mut TestClient,
    version: i16,
    request: &R,
) -> (R::Response, usize)
where
    R::Response: kafka_protocol::protocol::Encodable,
{
    let answer = client.call(version, request).await;
    let bytes = kafka_protocol::protocol::Encodable::compute_size(&answer, version).unwrap();
    (answer, bytes)
}

fn resource(kind: i8, name: String) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(StrBytes::from_string(name))
        .with_configuration_keys(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_do_not_exist_share_a_room_and_leave_the_others_theirs() {
    let it = world(&[]).await;
    let names = (0..20_000).map(|number| format!("{number:05x}"));
    let mut resources: Vec<_> = names.map(|name| resource(32, name)).collect();
    // Everything that exists is answered, wherever it occurs.
    resources.push(resource(32, "g".to_owned()));
    resources.push(resource(2, "t".to_owned()));
    let request = DescribeConfigsRequest::default().with_resources(resources);
    let (answer, bytes) = sized(&mut it.client().await, 3, &request).await;
    let described: Vec<_> = answer
        .results
        .iter()
        .map(|result| result.error_code == 0)
        .collect();
    assert_eq!(described.len(), 20_002);
    assert_eq!(described[20_000..], [true, true]);
    let invented = described[..20_000].iter().filter(|is| **is).count();
    assert!((2_000..10_000).contains(&invented), "{invented} groups");
    let most = CONSTANT_MAX_BYTES + 20_000 * ITEM_BYTES;
    assert!(bytes <= most, "{bytes} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_one_resource_however_its_id_is_written() {
    let it = TestBroker::start(&[]).await;
    let id = it.broker().node_id.0;
    let ways = (0..100).map(|zeros| resource(4, format!("+{}{id}", "0".repeat(zeros))));
    let request = DescribeConfigsRequest::default().with_resources(ways.collect());
    let (answer, bytes) = sized(&mut it.client().await, 4, &request).await;
    let code = ErrorCode::INVALID_REQUEST.0;
    assert!(
        answer
            .results
            .iter()
            .all(|result| result.error_code == code)
    );
    assert!(bytes < 100 * ITEM_BYTES, "{bytes} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_only_validated_share_a_room_for_their_configs() {
    let it = TestBroker::start(&[]).await;
    let topics = (0..10_000).map(|number| {
        CreatableTopic::default()
            .with_name(wire(&format!("{number:05x}")))
            .with_num_partitions(1)
            .with_replication_factor(1)
    });
    let request = CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_validate_only(true);
    let (answer, bytes) = sized(&mut it.client().await, 7, &request).await;
    assert_eq!(answer.topics.len(), 10_000);
    assert!(answer.topics.iter().all(|topic| topic.error_code == 0));
    let (with, without): (Vec<_>, Vec<_>) = answer
        .topics
        .iter()
        .partition(|topic| topic.configs.is_some());
    assert!(with.len() > 1_000, "{} with configs", with.len());
    let code = ErrorCode::INVALID_REQUEST.0;
    assert!(
        without
            .iter()
            .all(|topic| topic.topic_config_error_code == code)
    );
    assert!(bytes <= CONSTANT_MAX_BYTES, "{bytes} bytes");
}
