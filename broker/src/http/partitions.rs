//! `/topics/{topic}/partitions`: list, read.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{Base, Path};
use super::model::topic::PartitionData;
use super::model::{Collection, ResourceMetadata};
use super::topics::{TopicPath, find, offsets};
use crate::access::Operation;
use crate::partition::Partition;

/// The part of a path that names a partition.
#[derive(Debug, Deserialize)]
pub struct PartitionPath {
    topic: String,
    partition: i32,
}

/// All partitions of a topic.
///
/// # Errors
/// 404.
pub async fn list(
    app: App,
    base: Base,
    Path(path): Path<TopicPath>,
) -> Result<Json<Collection<PartitionData>>, ApiError> {
    let topic = find(&app, &path.topic, Operation::Describe)?;
    let partitions = app.door.partitions_here(&topic);
    let data = partitions
        .iter()
        .map(|partition| to_data(&app, &base, partition));
    let own = base.at(&format!("/topics/{}/partitions", path.topic));
    Ok(Json(Collection::new(
        PartitionData::LIST_KIND,
        own,
        data.collect(),
    )))
}

/// One partition.
///
/// # Errors
/// 404 for a topic or partition that is not there.
pub async fn read(
    app: App,
    base: Base,
    Path(PartitionPath { topic, partition }): Path<PartitionPath>,
) -> Result<Json<PartitionData>, ApiError> {
    let found = find(&app, &topic, Operation::Describe)?;
    let there = app.door.partition(&found, partition);
    let partition = there.map_err(|error| match error.is_not_there() {
        true => {
            let message = format!("topic '{}' has no partition {partition}", found.name());
            ApiError::new(StatusCode::NOT_FOUND, 404, message)
        }
        false => error.into(),
    })?;
    Ok(Json(to_data(&app, &base, &partition)))
}

fn to_data(app: &App, base: &Base, partition: &Arc<Partition>) -> PartitionData {
    let id = partition.id();
    let own = format!("/topics/{}/partitions/{}", id.topic, id.partition);
    PartitionData {
        kind: PartitionData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at(&own)),
        cluster_id: app.cluster_id.to_string(),
        topic_name: id.topic.to_string(),
        partition_id: id.partition,
        offsets: offsets(partition),
    }
}
