//! `/links`: list, create, read, delete.

use axum::Json;
use axum::http::StatusCode;
use carrick_link::description::{BeyondCuts, LinkDescription, TaskDescription};
use carrick_link::manager::NewLink;
use carrick_link::naming::some_of;
use carrick_link::record::LinkName;
use carrick_link::state::{MirrorStatus, TaskErrorCode};
use carrick_link::{LinkError, LinkManager};
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{Base, Body, LinkPath, Path, Query, to_map, yes};
use super::groups::to_counts;
use super::model::link::{
    BeyondCutData, CreateLinkRequest, LinkData, LinkDeletion, LinkTask, LinkTaskError,
};
use super::model::{Collection, ResourceMetadata, name_of};
use crate::access::Operation;

/// `POST /links`
#[derive(Debug, Deserialize)]
pub struct CreateQuery {
    /// The new link's name.
    link_name: String,
    /// Check everything, create nothing.
    #[serde(default)]
    validate_only: bool,
    /// Connect to the source first; true unless said otherwise, as Confluent has it.
    #[serde(default = "yes")]
    validate_link: bool,
}

/// `GET /links/{link}`
#[derive(Debug, Deserialize)]
pub struct ReadQuery {
    /// Show the link's periodic tasks, too.
    #[serde(default)]
    include_tasks: bool,
}

/// `DELETE /links/{link}`
#[derive(Debug, Deserialize)]
pub struct DeleteQuery {
    /// Also when it has mirrors, which are failed over first: Confluent's name.
    #[serde(default)]
    force: bool,
    /// Check only.
    #[serde(default)]
    validate_only: bool,
}

/// All links.
///
/// # Errors
/// 403.
pub async fn list(app: App, base: Base) -> Result<Json<Collection<LinkData>>, ApiError> {
    let links = app.door.links(Operation::Describe)?;
    let data = links
        .links()
        .iter()
        .map(|link| to_data(&app, &base, link, false))
        .collect();
    let own = base.at("/links");
    Ok(Json(Collection::new(LinkData::LIST_KIND, own, data)))
}

/// Creates a link.
///
/// # Errors
/// 400 for a name, config or source that is refused, 503 when the source does not answer.
pub async fn create(
    app: App,
    Query(query): Query<CreateQuery>,
    Body(body): Body<CreateLinkRequest>,
) -> Result<StatusCode, ApiError> {
    let new = NewLink {
        name: query.link_name,
        configs: to_map(body.configs)?,
        expected_source_cluster_id: body.source_cluster_id.or(body.remote_cluster_id),
        validate_only: query.validate_only,
        validate_link: query.validate_link,
    };
    let links = app.door.links(Operation::Alter)?;
    app.noted.target("link", &new.name);
    app.noted.dry_run(new.validate_only);
    links.create_link(new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One link.
///
/// # Errors
/// 404.
pub async fn read(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
    Query(query): Query<ReadQuery>,
) -> Result<Json<LinkData>, ApiError> {
    let link = app.door.links(Operation::Describe)?.link(&path.link)?;
    Ok(Json(to_data(&app, &base, &link, query.include_tasks)))
}

/// Deletes a link. Groups whose offsets it has synced are ordinary ones and stay; those that it
/// created under a prefix are named, because nothing else would point to them.
///
/// # Errors
/// 404, or 400 when it has mirrors and `force` is not given.
pub async fn delete(
    app: App,
    Path(path): Path<LinkPath>,
    Query(query): Query<DeleteQuery>,
) -> Result<Json<LinkDeletion>, ApiError> {
    let links = app.door.links(Operation::Alter)?;
    app.noted.dry_run(query.validate_only);
    let prefixed_groups = prefixed_groups(links, &path.link);
    let deleted = match links.link(&path.link)?.mirror_count {
        count @ 1.. if query.validate_only && !query.force => Err(has_mirrors(&path.link, count)?),
        _ if query.validate_only => Ok(Vec::new()),
        _ => links.delete_link(&path.link, query.force).await,
    };
    match deleted {
        Ok(reports) => Ok(Json(LinkDeletion {
            reports,
            prefixed_groups,
        })),
        Err(error @ LinkError::LinkHasMirrors { .. }) => {
            let named = live_mirrors(links, &path.link);
            Err(ApiError::bad_request(format!("{error}. They are: {named}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The groups here that a link made with a name of their own, and that hold offsets of it.
fn prefixed_groups(links: &LinkManager, link: &str) -> Vec<String> {
    let groups = links.groups(link).unwrap_or_default();
    let made = groups.into_iter().map(|group| group.sync);
    let made = made.filter(|sync| sync.group != sync.source_group && sync.synced_ms.is_some());
    made.map(|sync| sync.group).collect()
}

/// The refusal to delete a link that has mirrors.
fn has_mirrors(link: &str, count: usize) -> Result<LinkError, ApiError> {
    let link = LinkName::new(link).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(LinkError::LinkHasMirrors { link, count })
}

/// The names of a link's mirrors that are not stopped, the first few of them.
fn live_mirrors(links: &LinkManager, link: &str) -> String {
    let mirrors = links.mirrors(Some(link), None).unwrap_or_default();
    let live = mirrors
        .iter()
        .filter(|mirror| mirror.status != MirrorStatus::Stopped);
    some_of(live.map(|mirror| &mirror.topic))
}

fn to_data(app: &App, base: &Base, link: &LinkDescription, include_tasks: bool) -> LinkData {
    LinkData {
        kind: LinkData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at(&format!("/links/{}", link.name))),
        source_cluster_id: link.source_cluster_id.clone(),
        destination_cluster_id: Some(app.cluster_id.to_string()),
        remote_cluster_id: link.source_cluster_id.clone(),
        link_name: link.name.clone(),
        link_id: link.link_id.clone(),
        cluster_link_id: link.link_id.clone(),
        topic_names: link.topics.clone(),
        link_state: name_of(&link.state),
        link_error: name_of(&link.error),
        link_error_message: (!link.error_detail.is_empty()).then(|| link.error_detail.clone()),
        problem: link.problem.clone(),
        tasks: include_tasks.then(|| link.tasks.iter().map(to_task).collect()),
        link_state_time_ms: link.since_ms,
        bootstrap_servers: link.bootstrap.clone(),
        source_seen_time_ms: link.source_seen_at_ms,
        lag_summary: (&link.lag).into(),
        beyond_cuts: link.beyond_cuts.iter().map(to_beyond_cut).collect(),
        group_counts: to_counts(link.groups),
    }
}

fn to_beyond_cut(beyond: &BeyondCuts) -> BeyondCutData {
    BeyondCutData {
        topic_name: beyond.topic.clone(),
        records: beyond.records,
        seen_time_ms: beyond.seen_at_ms,
    }
}

fn to_task(task: &TaskDescription) -> LinkTask {
    let error = (task.error != TaskErrorCode::NoError).then(|| LinkTaskError {
        error_code: name_of(&task.error),
        error_message: task.error_detail.clone(),
    });
    LinkTask {
        task_name: task.name.clone(),
        state: name_of(&task.state),
        errors: error.into_iter().collect(),
        note: (!task.note.is_empty()).then(|| task.note.clone()),
        since_ms: task.since_ms,
    }
}
