//! `/topics`: list, create, read, delete.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use carrick_protocol::ids::TopicName;
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{Base, Body, Path, Query, to_map};
use super::model::topic::{CreateTopicRequest, PartitionOffsets, TopicData};
use super::model::{Collection, ConfigData, Relationship, ResourceMetadata};
use crate::access::Operation;
use crate::api::door::DoorError;
use crate::partition::Partition;
use crate::topic::replicas::REPLICAS;
use crate::topic::{NewTopic, Topic};

/// The part of a path that names a topic.
#[derive(Debug, Deserialize)]
pub struct TopicPath {
    pub(super) topic: String,
}

pub async fn list(app: App, base: Base) -> Json<Collection<TopicData>> {
    let topics = app.door.topics(Operation::Describe);
    let data = topics
        .iter()
        .map(|topic| to_data(&app, &base, topic))
        .collect();
    Json(Collection::new(
        TopicData::LIST_KIND,
        base.at("/topics"),
        data,
    ))
}

/// Creates a topic.
///
/// # Errors
/// 400 for what is refused.
pub async fn create(
    app: App,
    base: Base,
    Body(body): Body<CreateTopicRequest>,
) -> Result<(StatusCode, Json<TopicData>), ApiError> {
    let rules = app.topic_rules;
    let shortfall = rules
        .replication
        .check(body.replication_factor.unwrap_or(-1))?;
    let name = TopicName::new(&body.topic_name);
    let new = NewTopic {
        name: name.map_err(|error| ApiError::bad_request(error.to_string()))?,
        id: None,
        partitions: body.partitions_count.unwrap_or(rules.default_partitions),
        configs: to_map(body.configs)?,
        is_mirror: false,
    };
    app.noted.target("topic", &new.name);
    let topics = Arc::clone(app.door.creating(&new.name)?);
    let topic = blocking(move || topics.create(new, Default::default())).await??;
    shortfall.log(topic.name());
    Ok((StatusCode::CREATED, Json(to_data(&app, &base, &topic))))
}

/// One topic, with its offsets, and the configs that were set if the caller may see those.
///
/// # Errors
/// 404.
pub async fn read(
    app: App,
    base: Base,
    Path(path): Path<TopicPath>,
) -> Result<Json<TopicData>, ApiError> {
    let topic = find(&app, &path.topic, Operation::Describe)?;
    let mut data = to_data(&app, &base, &topic);
    let state = topic.state();
    let partitions = app.door.partitions_here(&topic);
    data.partition_offsets = partitions
        .iter()
        .filter_map(|partition| offsets(partition))
        .collect();
    let config = |(name, value): (&String, &String)| ConfigData {
        name: name.clone(),
        value: Some(value.clone()),
    };
    if app.door.hides_configs(topic.name()).is_none() {
        data.config_overrides = state.overrides.iter().map(config).collect();
    }
    Ok(Json(data))
}

/// `DELETE /topics/{topic}`
#[derive(Debug, Deserialize)]
pub struct DeleteQuery {
    /// Not when it is a mirror that is not stopped *(own)*: the command line asks so.
    #[serde(default)]
    refuse_mirror: bool,
}

/// Deletes a topic and its data; a mirror, too, unless the query says otherwise.
///
/// # Errors
/// 404, or 400 when this broker deletes no topics, or not this one.
pub async fn delete(
    app: App,
    Path(path): Path<TopicPath>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    let topic = found(app.door.deletable(path.topic.as_str()), &path.topic)?;
    if !app.topic_rules.may_delete {
        return Err(ApiError::bad_request(
            "topics can't be deleted: delete.topic.enable is false",
        ));
    }
    if query.refuse_mirror && topic.is_mirror() {
        return Err(ApiError::bad_request(active_mirror(&app, &topic)));
    }
    let deleted = blocking(move || app.door.delete(&topic)).await??;
    deleted.await;
    Ok(StatusCode::NO_CONTENT)
}

/// A topic by its name.
///
/// # Errors
/// 404.
pub(super) fn find(app: &App, name: &str, operation: Operation) -> Result<Arc<Topic>, ApiError> {
    found(app.door.topic(name, operation), name)
}

fn found(topic: Result<Arc<Topic>, DoorError>, name: &str) -> Result<Arc<Topic>, ApiError> {
    topic.map_err(|error| match error.is_not_there() {
        true => ApiError::no_such_topic(name),
        false => error.into(),
    })
}

/// Why a mirror is not deleted as any topic, and what does it.
fn active_mirror(app: &App, topic: &Topic) -> String {
    let name = topic.name();
    let of_link = match app.links.mirror(name.as_str()) {
        Ok(mirror) => format!(" of link {}", mirror.link),
        Err(_) => String::new(),
    };
    format!(
        "topic {name} is an active mirror{of_link}: deleting it removes its records here and ends \
         the mirroring. If that is what you want: carrick topic delete {name} --delete-mirror"
    )
}

/// Runs what blocks on a disk where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::internal("the operation was interrupted"))
}

fn to_data(app: &App, base: &Base, topic: &Topic) -> TopicData {
    let own = base.at(&format!("/topics/{}", topic.name()));
    let related = |part: &str| Relationship {
        related: format!("{own}/{part}"),
    };
    TopicData {
        kind: TopicData::KIND.to_owned(),
        cluster_id: app.cluster_id.to_string(),
        topic_name: topic.name().to_string(),
        is_internal: topic.is_internal(),
        replication_factor: i32::from(REPLICAS),
        partitions_count: topic.partition_count(),
        partitions: related("partitions"),
        configs: related("configs"),
        topic_id: topic.id().to_string(),
        is_mirror: topic.is_mirror(),
        partition_offsets: Vec::new(),
        config_overrides: Vec::new(),
        metadata: ResourceMetadata::new(own),
    }
}

/// Where a partition's log begins and ends; `None` while it is offline.
pub(super) fn offsets(partition: &Partition) -> Option<PartitionOffsets> {
    if partition.is_offline() {
        return None;
    }
    let log = partition.snapshot();
    Some(PartitionOffsets {
        partition: partition.id().partition,
        log_start_offset: log.log_start().0,
        high_watermark: log.high_watermark().0,
        end_offset: log.end().0,
        leader_epoch: partition.leader_epoch().0,
        size_bytes: log.size_bytes(),
    })
}
