//! Offsets of the source's partitions, asked within the link's time.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{Offset, TopicPartition};

use super::within;
use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::source::{OffsetSpec, SourceCluster, named};

/// Offsets of partitions, in the order of the questions.
pub(crate) async fn list(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<Vec<(i32, Option<Offset>)>, LinkError> {
    let answers = list_each(source, config, partitions.to_vec(), spec).await?;
    answers
        .into_iter()
        .map(|(partition, offset)| Ok((partition.partition, offset?)))
        .collect()
}

/// As [`list`], with an error for each partition whose offset the source does not give.
pub(crate) async fn list_each(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    partitions: Vec<TopicPartition>,
    spec: OffsetSpec,
) -> Result<Vec<(TopicPartition, Result<Option<Offset>, LinkError>)>, LinkError> {
    let queries = partitions.into_iter().map(|partition| (partition, spec));
    let answers = within(config, source.list_offsets(queries.collect())).await?;
    let answers = answers.into_iter().map(|answer| {
        let offset = match answer.error {
            ErrorCode::NONE => Ok(answer.offset),
            error => Err(not_listed(&answer.partition, error)),
        };
        (answer.partition, offset)
    });
    Ok(answers.collect())
}

fn not_listed(partition: &TopicPartition, error: ErrorCode) -> LinkError {
    LinkError::SourceTopic {
        topic: partition.topic.clone(),
        error: format!(
            "{} for partition {}",
            named(error, "DESCRIBE the topic"),
            partition.partition
        ),
    }
}
