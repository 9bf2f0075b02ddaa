//! `/links/{link}/mirrors`: list, create, read, and the report of the last cut. When reading, the
//! link `-` means every link.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use carrick_link::description::{KeptConfig, MirrorDescription, PartitionLag};
use carrick_link::manager::{MayCreate, NewMirror};
use carrick_link::report::RpoReport;
use carrick_link::state::MirrorStatus;
use serde::Deserialize;

use super::App;
use super::error::{ApiError, NO_SUCH_MIRROR};
use super::extract::{Base, Body, LinkPath, Path, Query, to_map};
use super::model::mirror::{CreateMirrorRequest, KeptConfigData, MirrorData, MirrorLag};
use super::model::{Collection, ResourceMetadata, name_of};
use crate::access::Operation;

/// The part of a path that names a mirror.
#[derive(Debug, Deserialize)]
pub struct MirrorPath {
    /// Its link, or `-`.
    pub link: String,
    /// The topic here.
    pub topic: String,
}

/// `GET …/mirrors`
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    /// Only mirrors in this status.
    mirror_status: Option<String>,
}

/// The mirrors of a link, or of all.
///
/// # Errors
/// 404.
pub async fn list(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Collection<MirrorData>>, ApiError> {
    let link = (path.link != "-").then_some(path.link.as_str());
    let status = query.mirror_status.as_deref().map(status_named);
    let mirrors = app
        .door
        .links(Operation::Describe)?
        .mirrors(link, status.transpose()?)?;
    let data = mirrors
        .iter()
        .map(|mirror| to_data(&base, mirror))
        .collect();
    let own = base.at(&format!("/links/{}/mirrors", path.link));
    Ok(Json(Collection::new(MirrorData::LIST_KIND, own, data)))
}

/// The status of that name.
fn status_named(name: &str) -> Result<MirrorStatus, ApiError> {
    let found = MirrorStatus::ALL
        .into_iter()
        .find(|status| name_of(status) == name);
    found.ok_or_else(|| {
        let names = MirrorStatus::ALL.map(|status| name_of(&status)).join(", ");
        ApiError::bad_request(format!(
            "'{name}' is not a mirror status; the statuses are: {names}"
        ))
    })
}

/// Creates a mirror topic.
///
/// # Errors
/// 404 for an unknown link, 400 for what is refused, 503 when the source does not answer.
pub async fn create(
    app: App,
    Path(path): Path<LinkPath>,
    Body(body): Body<CreateMirrorRequest>,
) -> Result<StatusCode, ApiError> {
    let shortfall = app
        .topic_rules
        .replication
        .check(body.replication_factor.unwrap_or(-1))?;
    let named = body.mirror_topic_name.as_deref();
    app.noted
        .target("mirror", named.unwrap_or(&body.source_topic_name));
    app.noted.detail(format!("link {}", path.link));
    let new = NewMirror {
        source_topic: body.source_topic_name,
        mirror_topic: body.mirror_topic_name,
        configs: to_map(body.configs)?,
        may_create: may_create(&app),
    };
    let links = app.door.links(Operation::Alter)?;
    let created = links.create_mirror(&path.link, new).await?;
    app.noted.target("mirror", &created.topic);
    shortfall.log(&created.topic);
    Ok(StatusCode::NO_CONTENT)
}

/// A mirror is a topic: who creates it needs that right, as for any topic.
pub(super) fn may_create(app: &App) -> MayCreate {
    let door = Arc::clone(&app.door);
    MayCreate::if_allowed(move |topic| door.creating(topic).is_ok())
}

/// One mirror.
///
/// # Errors
/// 404.
pub async fn read(
    app: App,
    base: Base,
    Path(path): Path<MirrorPath>,
) -> Result<Json<MirrorData>, ApiError> {
    Ok(Json(to_data(&base, &find(&app, &path)?)))
}

/// The report of the last promotion or failover of a mirror.
///
/// # Errors
/// 404 when there is no such mirror, or it has not been cut.
pub async fn report(app: App, Path(path): Path<MirrorPath>) -> Result<Json<RpoReport>, ApiError> {
    // It outlives its link.
    let of_link = |report: &RpoReport| path.link == "-" || path.link == report.link.as_str();
    let links = app.door.links(Operation::Describe)?;
    match links.report(&path.topic)?.filter(of_link) {
        Some(report) => Ok(Json(report)),
        None => {
            let mirror = find(&app, &path)?;
            let message = format!("'{}' was neither promoted nor failed over", mirror.topic);
            Err(ApiError::new(
                StatusCode::NOT_FOUND,
                NO_SUCH_MIRROR,
                message,
            ))
        }
    }
}

/// `GET /links/{link}/reports` *(own)*: every stored report of a link's mirrors, also after the
/// link was deleted; the link `-` means all.
///
/// # Errors
/// 500.
pub async fn reports(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
) -> Result<Json<Collection<RpoReport>>, ApiError> {
    let link = (path.link != "-").then_some(path.link.as_str());
    let reports = app.door.links(Operation::Describe)?.reports(link)?;
    let own = base.at(&format!("/links/{}/reports", path.link));
    Ok(Json(Collection::new("CarrickReportList", own, reports)))
}

/// The mirror that a path names.
pub(super) fn find(app: &App, path: &MirrorPath) -> Result<MirrorDescription, ApiError> {
    let links = app.door.links(Operation::Describe)?;
    if path.link != "-" {
        links.link(&path.link)?;
    }
    let mirror = links.mirror(&path.topic)?;
    if path.link == "-" || path.link == mirror.link {
        return Ok(mirror);
    }
    let message = format!("'{}' is a mirror of link '{}'", path.topic, mirror.link);
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        NO_SUCH_MIRROR,
        message,
    ))
}

fn to_data(base: &Base, mirror: &MirrorDescription) -> MirrorData {
    let own = mirror_url(base, &mirror.link, &mirror.topic);
    MirrorData {
        kind: MirrorData::KIND.to_owned(),
        metadata: ResourceMetadata::new(own),
        link_name: mirror.link.clone(),
        mirror_topic_name: mirror.topic.clone(),
        source_topic_name: mirror.source_topic.clone(),
        num_partitions: mirror.num_partitions,
        mirror_lags: to_lags(&mirror.lags),
        mirror_status: name_of(&mirror.status),
        state_time_ms: mirror.status_since_ms,
        mirror_topic_error: name_of(&mirror.error),
        mirror_topic_error_message: (!mirror.error_detail.is_empty())
            .then(|| mirror.error_detail.clone()),
        stop_error_message: mirror.stop_error.clone(),
        next_steps: mirror.next_steps.clone(),
        source_topic_id: mirror.source_topic_id.clone(),
        lag_summary: (&mirror.lag).into(),
        kept_configs: mirror.kept_configs.iter().map(to_kept).collect(),
    }
}

fn to_kept(config: &KeptConfig) -> KeptConfigData {
    KeptConfigData {
        name: config.name.clone(),
        value: config.value.clone(),
        default_value: config.default.clone(),
    }
}

/// The address of a mirror.
pub(super) fn mirror_url(base: &Base, link: &str, topic: &str) -> String {
    base.at(&format!("/links/{link}/mirrors/{topic}"))
}

/// The lags of a mirror as shown.
pub(super) fn to_lags(lags: &[PartitionLag]) -> Vec<MirrorLag> {
    lags.iter().map(to_lag).collect()
}

fn to_lag(lag: &PartitionLag) -> MirrorLag {
    MirrorLag {
        partition: lag.partition,
        lag: lag.lag_records.filter(|_| lag.is_current),
        lag_at_least: lag.lag_records,
        unknown_since_ms: lag.seen_at_ms.filter(|_| !lag.is_current),
        last_source_fetch_offset: lag.last_source_fetch_offset,
        lag_ms: lag.lag_ms,
        lag_bytes_estimate: lag.lag_bytes_estimate.filter(|_| lag.is_current),
        lag_bytes_estimate_at_least: lag.lag_bytes_estimate,
        source_log_start_offset: lag.source_log_start,
        source_high_watermark: lag.source_high_watermark,
        source_seen_time_ms: lag.seen_at_ms,
        mirror_log_start_offset: lag.mirror_start,
        mirror_end_offset: lag.mirror_end,
        mirrored_bytes: lag.bytes_total,
        records_lost_to_retention: lag.lost_to_retention,
        source_leader_id: lag.source_leader,
        source_replica_id: lag.source_replica,
        problem: lag.problem.clone(),
    }
}
