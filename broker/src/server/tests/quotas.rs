//! Clients over their quotas. Cases follow ClientQuotaManagerTest, ClientQuotasRequestTest and
//! ThrottledChannelExpirationTest.

use std::time::Instant;

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;

use super::*;
use crate::testing::TestClient;

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn part(entity_type: &str, name: Option<&str>) -> EntityData {
    EntityData::default()
        .with_entity_type(string(entity_type))
        .with_entity_name(name.map(string))
}

/// Sets a quota, or removes it; the error code.
async fn set(
    client: &mut TestClient,
    entity: Vec<EntityData>,
    key: &str,
    value: Option<f64>,
) -> (i16, String) {
    let op = OpData::default()
        .with_key(string(key))
        .with_value(value.unwrap_or_default())
        .with_remove(value.is_none());
    let entry = EntryData::default().with_entity(entity).with_ops(vec![op]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    let answer = client.call(1, &request).await.entries.remove(0);
    let message = answer.error_message.unwrap_or_default().to_string();
    (answer.error_code, message)
}

async fn all_quotas(client: &mut TestClient) -> Vec<describe_client_quotas_response::EntryData> {
    let request = DescribeClientQuotasRequest::default();
    client.call(1, &request).await.entries.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_over_its_quota_is_answered_at_once_and_read_later() {
    let it = TestBroker::start(&["quota.window.num=2"]).await;
    it.create("t", 1);
    let (mut admin, mut producer) = (it.client().await, it.client().await);
    let user = vec![part("user", None)];
    let none = (0, String::new());
    // One sample's worth at once is free; 1.5 times that costs half a second.
    assert_eq!(
        set(&mut admin, user, "producer_byte_rate", Some(10_000.0)).await,
        none
    );
    let large = "x".repeat(15_000);
    let started = Instant::now();
    let response = producer
        .call(9, &produce("t", 0, -1, batch(&[&large])))
        .await;
    let told = response.throttle_time_ms;
    assert!((450..=600).contains(&told), "{told} ms");
    // The same client id on another connection is not held, unless it goes over, too.
    let response = admin.call(12, &metadata("t")).await;
    assert_eq!(response.throttle_time_ms, 0);
    producer.call(12, &metadata("t")).await;
    let read_again = started.elapsed();
    assert!(read_again >= Duration::from_millis(450), "{read_again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_have_logged_in_have_quotas_of_their_own_which_come_before_those_of_client_ids()
{
    let it = logins::broker(&["quota.window.num=2"]).await;
    it.create("t", 1);
    let login = async |user: &str| {
        let mut client = it.client().await;
        let answer = logins::plain(&mut client, user, "open").await;
        assert_eq!(answer, (ErrorCode::NONE, 0));
        client
    };
    let mut admin = login("bob").await;
    let user = |name| vec![part("user", Some(name))];
    let client_id = || part("client-id", Some("test"));
    for (entity, rate) in [
        (vec![client_id()], 1.0),
        (vec![part("user", None)], 1.0),
        (user("ann"), 10_000.0),
        (user("bob"), 1e6),
    ] {
        let (code, _) = set(&mut admin, entity, "producer_byte_rate", Some(rate)).await;
        assert_eq!(code, 0);
    }
    let large = "x".repeat(15_000);
    let request = produce("t", 0, -1, batch(&[&large]));
    let (mut ann, mut bob) = (login("ann").await, login("bob").await);
    let told = ann.call(9, &request).await.throttle_time_ms;
    assert!((450..=600).contains(&told), "ann: {told} ms");
    assert_eq!(bob.call(9, &request).await.throttle_time_ms, 0);
    // All connections of a user share its quota: here another 15,000 bytes.
    let mut other = login("ann").await;
    let told = other.call(9, &request).await.throttle_time_ms;
    assert!(told > 600, "ann, elsewhere: {told} ms");
    // One for a user's client id comes before the one for all that the user does.
    let mut both = user("bob");
    both.push(client_id());
    let (code, _) = set(&mut admin, both, "producer_byte_rate", Some(10_000.0)).await;
    assert_eq!(code, 0);
    let told = bob.call(9, &request).await.throttle_time_ms;
    assert!((450..=600).contains(&told), "bob as test: {told} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_without_answers_is_read_later_all_the_same() {
    let it = TestBroker::start(&["quota.window.num=2"]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let own = vec![part("client-id", Some("test"))];
    set(&mut client, own, "producer_byte_rate", Some(10_000.0)).await;
    let started = Instant::now();
    client
        .send(9, &produce("t", 0, 0, batch(&[&"x".repeat(13_000)])))
        .await;
    client.call(12, &metadata("t")).await;
    assert!(started.elapsed() >= Duration::from_millis(290));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_over_its_quota_is_empty_and_its_session_goes_on() {
    // Two batches are too much if both are read within almost five seconds.
    let it = TestBroker::start(&["quota.window.num=2", "quota.window.size.seconds=5"]).await;
    it.create("t", 1);
    let (mut producer, mut consumer) = (it.client().await, it.client().await);
    for _ in 0..3 {
        producer
            .produce("t", 0, -1, batch(&[&"x".repeat(9_800)]))
            .await;
    }
    let own = vec![part("client-id", Some("test"))];
    set(&mut producer, own, "consumer_byte_rate", Some(2_000.0)).await;
    let opening = fetch("t", 0, 0).with_session_epoch(0);
    let first = consumer.call(12, &opening).await;
    assert!(!data(&first).records.as_ref().unwrap().is_empty());
    assert_eq!(
        first.throttle_time_ms, 0,
        "no more than fits the window is read"
    );
    let mut next = fetch("t", 1, 0)
        .with_session_id(first.session_id)
        .with_session_epoch(1);
    let throttled = consumer.call(12, &next).await;
    assert!(throttled.throttle_time_ms > 0);
    assert!(throttled.responses.is_empty());
    let same = (first.session_id, 0);
    assert_eq!((throttled.session_id, throttled.error_code), same);
    next.session_epoch = 2;
    let after = consumer.call(12, &next).await;
    assert_eq!(after.error_code, 0);
    assert!(!data(&after).records.as_ref().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_the_broker_too_busy_waits_a_second_at_most() {
    let it = TestBroker::start(&[]).await;
    it.create("wide", 2_000);
    let mut client = it.client().await;
    let own = vec![part("client-id", Some("test"))];
    set(&mut client, own.clone(), "request_percentage", Some(0.001)).await;
    let told = client.call(12, &metadata("wide")).await.throttle_time_ms;
    assert_eq!(told, 1_000);
    set(&mut client, own, "request_percentage", None).await;
    let told = client.call(12, &metadata("wide")).await.throttle_time_ms;
    assert_eq!(told, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_kept_over_a_restart() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let both = || vec![part("user", Some("u")), part("client-id", None)];
    set(&mut client, both(), "consumer_byte_rate", Some(5.0)).await;
    set(&mut client, both(), "request_percentage", Some(12.5)).await;
    set(&mut client, both(), "consumer_byte_rate", None).await;
    let it = it.restart(&[]).await;
    let mut client = it.client().await;
    let all = all_quotas(&mut client).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].entity.len(), 2);
    let values: Vec<_> = all[0]
        .values
        .iter()
        .map(|v| (v.key.as_str(), v.value))
        .collect();
    assert_eq!(values, [("request_percentage", 12.5)]);
    set(&mut client, both(), "request_percentage", None).await;
    assert!(all_quotas(&mut client).await.is_empty());
}

// Follows ClientQuotasRequestTest.testAlterClientQuotasBad*.
#[tokio::test(flavor = "multi_thread")]
async fn entities_and_keys_that_make_no_sense_are_refused() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let cases = [
        (
            vec![],
            "producer_byte_rate",
            "Invalid empty client quota entity",
        ),
        (
            vec![part("planet", None)],
            "producer_byte_rate",
            "Unhandled client quota entity type",
        ),
        (
            vec![part("user", Some(""))],
            "producer_byte_rate",
            "Empty user not supported",
        ),
        (
            vec![part("user", None), part("user", None)],
            "producer_byte_rate",
            "duplicate",
        ),
        (
            vec![part("ip", None), part("user", None)],
            "producer_byte_rate",
            "combination",
        ),
        (
            vec![part("ip", Some("nowhere"))],
            "connection_creation_rate",
            "not a valid IP",
        ),
        (
            vec![part("user", None)],
            "bad",
            "Invalid configuration key bad",
        ),
    ];
    for (entity, key, expected) in cases {
        let (code, message) = set(&mut client, entity, key, Some(1.0)).await;
        assert_eq!(code, ErrorCode::INVALID_REQUEST.0, "{expected}");
        assert!(message.contains(expected), "{message}");
    }
    assert!(all_quotas(&mut client).await.is_empty());
    let component = ComponentData::default().with_entity_type(string("planet"));
    let request = DescribeClientQuotasRequest::default().with_components(vec![component]);
    let answer = client.call(1, &request).await;
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    assert!(answer.entries.is_none());
}

// Follows ConnectionQuotasTest.testMaxListenerConnectionPerIpRate...
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_connects_too_often_is_turned_away() {
    let it = TestBroker::start(&["quota.window.num=2"]).await;
    let mut client = it.client().await;
    let here = vec![part("ip", Some("127.0.0.1"))];
    set(
        &mut client,
        here.clone(),
        "connection_creation_rate",
        Some(2.0),
    )
    .await;
    let mut welcome = 0;
    for _ in 0..8 {
        let mut another = it.client().await;
        another.send(12, &metadata("t")).await;
        if another.frame().await.is_some() {
            welcome += 1;
        }
    }
    assert!((2..8).contains(&welcome), "{welcome}");
    set(&mut client, here, "connection_creation_rate", None).await;
    it.client().await.call(12, &metadata("t")).await;
}

// Follows ControllerMutationQuotaTest.
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_and_deleted_within_the_quota_of_changes() {
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
    let quota = ["controller.quota.window.num=10", "quota.window.num=2"];
    let it = TestBroker::start(&quota).await;
    let mut client = it.client().await;
    let own = vec![part("client-id", Some("test"))];
    set(&mut client, own, "controller_mutation_rate", Some(1.0)).await;
    let topic = |name: &str, partitions| {
        CreatableTopic::default()
            .with_name(wire(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let create = |name: &str, partitions| {
        CreateTopicsRequest::default().with_topics(vec![topic(name, partitions)])
    };
    // Ten seconds' worth are there; one change may go into debt.
    let answer = client.call(6, &create("a", 11)).await;
    assert_eq!(
        (answer.topics[0].error_code, answer.throttle_time_ms),
        (0, 0)
    );
    let answer = client.call(6, &create("b", 1)).await;
    let exceeded = ErrorCode::THROTTLING_QUOTA_EXCEEDED.0;
    assert_eq!(answer.topics[0].error_code, exceeded);
    assert!((1..=1_000).contains(&answer.throttle_time_ms));
    assert!(it.broker().topic("b").is_none());
    // The connection was held until the debt was paid; what is taken then is a debt again.
    let answer = client.call(5, &create("c", 2)).await;
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(
        answer.throttle_time_ms > 0,
        "older clients are only told to wait"
    );
    let asked = DeleteTopicState::default().with_name(Some(wire("a")));
    let delete = DeleteTopicsRequest::default().with_topics(vec![asked]);
    let mut deleter = it.client().await;
    let answer = deleter.call(6, &delete).await;
    assert_eq!(answer.responses[0].error_code, exceeded);
}
