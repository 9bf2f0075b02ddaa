//! Questions about partitions, each sent to the partition's leader, all leaders in parallel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{NodeId, TopicPartition};
use tokio::task::JoinSet;

use super::Inner;
use crate::source::connection::Connection;
use crate::source::{
    BoxFuture, EpochEnd, EpochQuery, ListedOffset, OffsetSpec, SourceError, list_offsets,
    offset_for_leader_epoch,
};

/// A question to a partition's leader.
pub(super) trait LeaderQuery: Clone + Send + Sync + 'static {
    type Answer: Send + 'static;

    fn partition(&self) -> &TopicPartition;

    /// The answer if no broker can be asked.
    fn unanswered(&self, error: ErrorCode) -> Self::Answer;

    fn error_of(answer: &Self::Answer) -> ErrorCode;

    /// Asks one leader; one answer per question, in their order.
    fn ask<'a>(
        connection: &'a Connection,
        queries: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<Self::Answer>, SourceError>>;
}

impl LeaderQuery for (TopicPartition, OffsetSpec) {
    type Answer = ListedOffset;

    fn partition(&self) -> &TopicPartition {
        &self.0
    }

    fn unanswered(&self, error: ErrorCode) -> ListedOffset {
        ListedOffset {
            partition: self.0.clone(),
            error,
            offset: None,
            timestamp_ms: -1,
            leader_epoch: carrick_protocol::ids::LeaderEpoch::NONE,
        }
    }

    fn error_of(answer: &ListedOffset) -> ErrorCode {
        answer.error
    }

    fn ask<'a>(
        connection: &'a Connection,
        queries: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<ListedOffset>, SourceError>> {
        Box::pin(list_offsets::list_offsets(connection, queries))
    }
}

impl LeaderQuery for EpochQuery {
    type Answer = EpochEnd;

    fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    fn unanswered(&self, error: ErrorCode) -> EpochEnd {
        EpochEnd {
            partition: self.partition.clone(),
            error,
            end: None,
        }
    }

    fn error_of(answer: &EpochEnd) -> ErrorCode {
        answer.error
    }

    fn ask<'a>(
        connection: &'a Connection,
        queries: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<EpochEnd>, SourceError>> {
        Box::pin(offset_for_leader_epoch::epoch_ends(connection, queries))
    }
}

/// One answer per question, in their order.
pub(super) async fn ask<Q: LeaderQuery>(
    cluster: &Arc<Inner>,
    queries: Vec<Q>,
) -> Result<Vec<Q::Answer>, SourceError> {
    let topics: BTreeSet<_> = queries
        .iter()
        .map(|query| &query.partition().topic)
        .collect();
    cluster.ensure_topics(&topics).await?;
    let (mut answers, by_leader) = route(cluster, &queries);
    let mut asked = JoinSet::new();
    for (leader, indexes) in by_leader {
        let questions: Vec<Q> = indexes
            .iter()
            .map(|index| queries[*index].clone())
            .collect();
        let cluster = cluster.clone();
        asked.spawn(async move {
            let answered = match cluster.leader(leader).await {
                Ok(connection) => Q::ask(&connection, &questions).await,
                Err(error) => Err(error),
            };
            (leader, indexes, answered)
        });
    }
    while let Some(joined) = asked.join_next().await {
        let (leader, indexes, answered) = joined.map_err(|_| SourceError::ShutDown)?;
        if answered.is_err() {
            cluster.state.lock().forget_leader(leader);
        }
        answers.extend(indexes.into_iter().zip(answered?));
    }
    let mut state = cluster.state.lock();
    for (index, answer) in &answers {
        if is_about_leadership(Q::error_of(answer)) {
            state.forget_topic(&queries[*index].partition().topic);
        }
    }
    drop(state);
    Ok(answers.into_values().collect())
}

/// Which broker gets which question, and the answers to questions that no broker gets.
fn route<Q: LeaderQuery>(
    cluster: &Inner,
    queries: &[Q],
) -> (BTreeMap<usize, Q::Answer>, BTreeMap<NodeId, Vec<usize>>) {
    let state = cluster.state.lock();
    let (mut answers, mut by_leader) = (BTreeMap::new(), BTreeMap::<_, Vec<usize>>::new());
    for (index, query) in queries.iter().enumerate() {
        let tp = query.partition();
        match state.leader(&tp.topic, tp.partition) {
            Ok(leader) => by_leader.entry(leader).or_default().push(index),
            Err(error) => {
                answers.insert(index, query.unanswered(error));
            }
        }
    }
    (answers, by_leader)
}

/// Errors after which the metadata must be asked for again.
fn is_about_leadership(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::KAFKA_STORAGE_ERROR
    )
}
