//! How batches are handed out.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::batch::{BatchHeader, Batches};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};

use super::{Harness, at, new_topic};
use crate::source::fetch::{
    FetchLimits, FetchPosition, FetchRequest, FetchSession, FetchedData, SessionOutcome,
};
use crate::source::{FetchConnection, SourceTopic};

/// One partition's place at one broker.
pub(super) struct Reader {
    connection: Arc<dyn FetchConnection>,
    partition: TopicPartition,
    topic_id: TopicId,
}

impl Reader {
    /// At the leader.
    pub(super) async fn new(harness: &dyn Harness, topic: &SourceTopic) -> Self {
        let leader = topic.partitions[0].leader.expect("there is one");
        Self::at(harness, topic, leader).await
    }

    /// At that broker.
    pub(super) async fn at(harness: &dyn Harness, topic: &SourceTopic, broker: NodeId) -> Self {
        let opened = harness.source().fetch_connection(broker, 0).await;
        let connection = opened.expect("it can be reached");
        assert_eq!(connection.broker(), broker);
        Self {
            connection,
            partition: TopicPartition::new(topic.name.clone(), 0),
            topic_id: topic.id,
        }
    }

    /// From there, without any check of epochs.
    pub(super) fn from(&self, offset: i64) -> FetchPosition {
        FetchPosition {
            topic_id: self.topic_id,
            fetch_offset: Offset(offset),
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes: 1 << 20,
        }
    }

    fn request(&self, from: FetchPosition, max_wait_ms: u32) -> (FetchSession, FetchRequest) {
        let mut session = FetchSession::new(self.connection.fetch_version());
        let limits = FetchLimits {
            max_wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
        };
        let wanted = BTreeMap::from([(self.partition.clone(), from)]);
        let request = session.next_request(&wanted, limits);
        (session, request)
    }

    /// What is answered; `meanwhile` happens when the question has been asked.
    async fn poll(
        &self,
        from: FetchPosition,
        max_wait_ms: u32,
        meanwhile: impl FnOnce(),
    ) -> FetchedData {
        let (mut session, request) = self.request(from, max_wait_ms);
        let asked = self.connection.fetch(request);
        meanwhile();
        let response = asked.await.expect("it answers");
        match session.apply(response) {
            SessionOutcome::Partitions(mut partitions) if partitions.len() == 1 => {
                let fetched = partitions.remove(0);
                assert_eq!(fetched.partition, self.partition);
                fetched.data
            }
            other => panic!("{} is answered by {other:?}", self.partition),
        }
    }

    /// The current value.
    pub(super) async fn fetch(&self, from: FetchPosition) -> FetchedData {
        self.poll(from, 50, || {}).await
    }

    /// Why there is nothing.
    pub(super) async fn refusal(&self, from: FetchPosition) -> ErrorCode {
        let data = self.fetch(from).await;
        assert!(data.records.is_empty(), "{data:?}");
        assert_eq!(data.diverging_epoch, None);
        data.error
    }
}

/// Every batch is whole.
pub(super) fn headers(data: &FetchedData) -> Vec<BatchHeader> {
    assert_eq!(data.error, ErrorCode::NONE);
    let batches = Batches::new(&data.records);
    batches.map(|it| it.expect("a batch").header).collect()
}

/// As they are stored: the batch that holds the offset comes whole, and one whatever the limit.
pub async fn whole_batches_come_from_the_offset_up_to_the_high_watermark(harness: &dyn Harness) {
    let topic = new_topic(harness, "fetched", 1).await;
    let written = at("fetched", 0);
    for (from, count) in [(0, 3), (3, 2), (5, 4)] {
        harness.write(&written, from, count);
    }
    let reader = Reader::new(harness, &topic).await;
    let all = reader.fetch(reader.from(0)).await;
    let ends = (
        all.log_start_offset,
        all.high_watermark,
        all.last_stable_offset,
    );
    assert_eq!(ends, (Offset(0), Offset(9), Offset(9)));
    let batches = headers(&all);
    assert!(batches.len() >= 3, "{batches:?}");
    let mut next = Offset(0);
    for batch in &batches {
        assert_eq!(batch.base_offset, next);
        assert_eq!(batch.leader_epoch, topic.partitions[0].leader_epoch);
        next = batch.next_offset();
    }
    assert_eq!(next, Offset(9));
    let mut position = 0;
    for batch in Batches::new(&all.records) {
        let header = batch.expect("a batch").header;
        for offset in header.base_offset.0..header.next_offset().0 {
            let rest = reader.fetch(reader.from(offset)).await;
            assert_eq!(rest.records, all.records.slice(position..), "from {offset}");
        }
        let tight = FetchPosition {
            max_bytes: 1,
            ..reader.from(header.base_offset.0)
        };
        let one = reader.fetch(tight).await;
        assert_eq!(headers(&one), std::slice::from_ref(&header));
        position += one.records.len();
    }
    assert_eq!(position, all.records.len());
}

/// And is answered without any when there come none.
pub async fn a_poll_at_the_end_waits_for_records(harness: &dyn Harness) {
    let topic = new_topic(harness, "polled", 1).await;
    let written = at("polled", 0);
    let reader = Reader::new(harness, &topic).await;
    for end in [0, 2] {
        let nothing = reader.fetch(reader.from(end)).await;
        assert_eq!((nothing.error, nothing.records.len()), (ErrorCode::NONE, 0));
        assert_eq!(nothing.high_watermark, Offset(end));
        let write = || harness.write(&written, end, 2);
        let woken = reader.poll(reader.from(end), 60_000, write).await;
        let first = headers(&woken).first().map(|batch| batch.base_offset);
        assert_eq!(first, Some(Offset(end)));
    }
    assert!(!reader.connection.is_closed());
}

/// An offset outside the log, a partition or a topic that isn't there: each by its name.
pub async fn what_is_not_there_is_refused(harness: &dyn Harness) {
    let topic = new_topic(harness, "refused", 1).await;
    let written = at("refused", 0);
    harness.write(&written, 0, 3);
    harness.write(&written, 3, 3);
    harness.trim(&written, 4);
    let mut reader = Reader::new(harness, &topic).await;
    for outside in [0, 3, 7, 1_000] {
        let refusal = reader.refusal(reader.from(outside)).await;
        assert_eq!(refusal, ErrorCode::OFFSET_OUT_OF_RANGE, "{outside}");
    }
    let inside = reader.fetch(reader.from(4)).await;
    let last = headers(&inside).last().map(BatchHeader::next_offset);
    assert_eq!(
        (inside.log_start_offset, last),
        (Offset(4), Some(Offset(6)))
    );
    reader.partition.partition = 9;
    let refusal = reader.refusal(reader.from(0)).await;
    assert_eq!(refusal, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    reader.partition.partition = 0;
    reader.topic_id = TopicId::random();
    let refusal = reader.refusal(reader.from(4)).await;
    assert_eq!(refusal, ErrorCode::UNKNOWN_TOPIC_ID);
}
