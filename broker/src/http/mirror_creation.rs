//! `/links/{link}/mirrors:create`: any number of mirrors in one step.
//!
//! The answer is 200 with one outcome per topic, even if some were refused: each outcome says so.
//! If the client disconnects, the work continues.

use axum::Json;
use carrick_link::description::MirrorCreation;
use carrick_link::manager::NewMirrors;
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{Base, Body, LinkPath, Path, Query, to_map};
use super::mirror_actions::selection_of;
use super::mirrors::{may_create, mirror_url};
use super::model::mirror_creation::{CreateMirrorsData, CreateMirrorsRequest};
use super::model::{Collection, ResourceMetadata, name_of};
use crate::access::Operation;

/// `POST …/mirrors:create`
#[derive(Debug, Deserialize)]
pub struct CreateQuery {
    /// Check everything, create nothing.
    #[serde(default)]
    validate_only: bool,
}

/// Creates mirrors of a list of topics, of those that match a pattern, or of all.
///
/// # Errors
/// 404 for an unknown link, 400 for an invalid selection, 503 when the source does not answer.
pub async fn create(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
    Query(query): Query<CreateQuery>,
    Body(body): Body<CreateMirrorsRequest>,
) -> Result<Json<Collection<CreateMirrorsData>>, ApiError> {
    let new = NewMirrors {
        topics: selection_of(
            body.source_topic_names,
            body.source_topic_name_pattern,
            body.all,
            ["source_topic_names", "source_topic_name_pattern"],
        )?,
        configs: to_map(body.configs)?,
        may_create: may_create(&app),
        validate_only: query.validate_only,
    };
    let links = app.door.links(Operation::Alter)?;
    app.noted.detail(format!("link {}", path.link));
    app.noted.dry_run(query.validate_only);
    let created = links.create_mirrors(&path.link, new).await?;
    let data: Vec<_> = created
        .into_iter()
        .map(|created| to_data(&base, &path.link, created))
        .collect();
    for it in &data {
        app.noted
            .outcome("mirror", &it.mirror_topic_name, it.error_code);
    }
    let own = base.at(&format!("/links/{}/mirrors", path.link));
    Ok(Json(Collection::new(
        CreateMirrorsData::LIST_KIND,
        own,
        data,
    )))
}

fn to_data(base: &Base, link: &str, created: MirrorCreation) -> CreateMirrorsData {
    let mut data = CreateMirrorsData {
        kind: CreateMirrorsData::KIND.to_owned(),
        metadata: ResourceMetadata::new(mirror_url(base, link, &created.topic)),
        source_topic_name: created.source_topic,
        mirror_topic_name: created.topic,
        error_code: None,
        error_message: None,
        num_partitions: None,
        mirror_status: None,
    };
    match created.result {
        Ok(mirror) => {
            data.num_partitions = Some(mirror.num_partitions);
            data.mirror_status = Some(name_of(&mirror.status));
        }
        Err(error) => {
            let body = ApiError::from(error).into_body();
            data.error_code = Some(body.error_code);
            data.error_message = Some(body.message);
        }
    }
    data
}
