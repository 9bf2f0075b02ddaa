//! `/links/{link}/groups` *(own)*: the groups whose offsets a link syncs, and the results.

use axum::Json;
use carrick_link::groups::{GroupCounts, GroupSyncDescription, PartitionSyncDescription};
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{Base, LinkPath, Path};
use super::model::group::{GroupCountsData, LinkGroupData, LinkGroupPartition};
use super::model::{Collection, ResourceMetadata, escape, name_of};
use crate::access::Operation;

/// The part of a path that names a link and a group at its source.
#[derive(Debug, Deserialize)]
pub struct GroupPath {
    link: String,
    group: String,
}

/// All groups of a link, by their ids at the source.
///
/// # Errors
/// 404.
pub async fn list(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
) -> Result<Json<Collection<LinkGroupData>>, ApiError> {
    let groups = app.door.links(Operation::Describe)?.groups(&path.link)?;
    let data = groups.iter().map(|group| to_data(&base, &path.link, group));
    let own = base.at(&format!("/links/{}/groups", path.link));
    let data = data.collect();
    Ok(Json(Collection::new(LinkGroupData::LIST_KIND, own, data)))
}

/// One group, by its id at the source.
///
/// # Errors
/// 404.
pub async fn read(
    app: App,
    base: Base,
    Path(path): Path<GroupPath>,
) -> Result<Json<LinkGroupData>, ApiError> {
    let links = app.door.links(Operation::Describe)?;
    app.door.describable_group(&path.group)?;
    let group = links.group(&path.link, &path.group)?;
    Ok(Json(to_data(&base, &path.link, &group)))
}

/// The group whose id is empty: Kafka has it, and its address ends in a slash.
///
/// # Errors
/// 404.
pub async fn read_unnamed(
    app: App,
    base: Base,
    Path(LinkPath { link }): Path<LinkPath>,
) -> Result<Json<LinkGroupData>, ApiError> {
    let group = String::new();
    read(app, base, Path(GroupPath { link, group })).await
}

/// How many groups are in which state, as shown with a link.
pub(super) fn to_counts(counts: GroupCounts) -> GroupCountsData {
    GroupCountsData {
        synced: counts.synced,
        skipped: counts.skipped,
        failed: counts.failed,
        gone: counts.gone,
    }
}

fn to_data(base: &Base, link: &str, group: &GroupSyncDescription) -> LinkGroupData {
    let sync = &group.sync;
    let sum = |of: fn(&PartitionSyncDescription) -> Option<i64>| {
        let figures = group.partitions.iter().filter_map(of);
        figures.fold(0i64, i64::saturating_add)
    };
    let is_clamped =
        |part: &&PartitionSyncDescription| part.clamped_by.is_some_and(|offsets| offsets != 0);
    let own = format!("/links/{link}/groups/{}", escape(&sync.source_group));
    LinkGroupData {
        kind: LinkGroupData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at(&own)),
        link_name: link.to_owned(),
        source_group_id: sync.source_group.clone(),
        group_id: sync.group.clone(),
        sync_state: name_of(&sync.state),
        state_time_ms: sync.since_ms,
        error_code: name_of(&sync.error),
        error_message: (!sync.error_detail.is_empty()).then(|| sync.error_detail.clone()),
        last_sync_time_ms: sync.synced_ms,
        source_told_time_ms: sync.told_ms,
        will_read_again: sum(|part| part.will_read_again),
        reads_again_at_most: sum(|part| part.reads_again_at_most),
        clamped_partitions: group.partitions.iter().filter(is_clamped).count(),
        partitions: group.partitions.iter().map(to_partition).collect(),
    }
}

fn to_partition(part: &PartitionSyncDescription) -> LinkGroupPartition {
    LinkGroupPartition {
        topic_name: part.sync.topic.clone(),
        partition: part.sync.partition,
        source_offset: part.sync.source_offset,
        synced_offset: part.sync.synced_offset,
        mirror_end_offset: part.mirror_end,
        clamped_by: part.clamped_by,
        will_read_again: part.will_read_again,
        reads_again_at_most: part.reads_again_at_most,
        skipped_reason: part.sync.skipped.clone(),
    }
}
