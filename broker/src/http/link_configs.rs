//! `/links/{link}/configs`: list, read, set, reset, alter several together.

use axum::Json;
use axum::http::StatusCode;
use carrick_link::config::{ConfigEntry, ConfigSource};
use carrick_link::manager::AlterLink;
use serde::Deserialize;

use super::App;
use super::error::{ApiError, NO_SUCH_CONFIG};
use super::extract::{Base, Body, LinkPath, Path, Query, yes};
use super::model::link::{LinkConfigData, UpdateLinkConfigRequest};
use super::model::{
    AlterConfigsRequest, Collection, ConfigChange, ConfigOperation, ResourceMetadata,
};
use crate::access::Operation;

/// The part of a path that names a link and one of its configs.
#[derive(Debug, Deserialize)]
pub struct ConfigPath {
    link: String,
    name: String,
}

/// Whatever changes configs.
#[derive(Debug, Deserialize)]
pub struct AlterQuery {
    /// Check only.
    #[serde(default)]
    validate_only: bool,
    /// Connect to the source first if the way to reach it changes; true by default, as for a new
    /// link.
    #[serde(default = "yes")]
    validate_link: bool,
}

impl From<AlterQuery> for AlterLink {
    fn from(query: AlterQuery) -> Self {
        Self {
            validate_only: query.validate_only,
            validate_link: query.validate_link,
        }
    }
}

/// All configs of a link.
///
/// # Errors
/// 404.
pub async fn list(
    app: App,
    base: Base,
    Path(path): Path<LinkPath>,
) -> Result<Json<Collection<LinkConfigData>>, ApiError> {
    let entries = app
        .door
        .links(Operation::DescribeConfigs)?
        .link_configs(&path.link)?;
    let data = entries
        .iter()
        .map(|entry| to_data(&app, &base, &path.link, entry))
        .collect();
    let own = base.at(&format!("/links/{}/configs", path.link));
    Ok(Json(Collection::new(LinkConfigData::LIST_KIND, own, data)))
}

/// One config.
///
/// # Errors
/// 404 for a link or config that is not there.
pub async fn read(
    app: App,
    base: Base,
    Path(path): Path<ConfigPath>,
) -> Result<Json<LinkConfigData>, ApiError> {
    let entries = app
        .door
        .links(Operation::DescribeConfigs)?
        .link_configs(&path.link)?;
    let entry = entries.iter().find(|entry| entry.name == path.name);
    let Some(entry) = entry else {
        let message = format!("a link has no config '{}'", path.name);
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            NO_SUCH_CONFIG,
            message,
        ));
    };
    Ok(Json(to_data(&app, &base, &path.link, entry)))
}

/// Gives one config a value.
///
/// # Errors
/// 404, 400 for a value that is refused, 503 if the source can't be reached with it.
pub async fn update(
    app: App,
    Path(path): Path<ConfigPath>,
    Query(query): Query<AlterQuery>,
    Body(body): Body<UpdateLinkConfigRequest>,
) -> Result<StatusCode, ApiError> {
    app.noted.detail(format!("configs {}", path.name));
    app.noted.dry_run(query.validate_only);
    let change = (path.name, Some(body.value));
    app.door
        .links(Operation::AlterConfigs)?
        .alter_link_configs(&path.link, vec![change], query.into())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives one config back its default.
///
/// # Errors
/// 404, 400 for a config that is fixed, 503 if the source can't be reached without it.
pub async fn reset(
    app: App,
    Path(path): Path<ConfigPath>,
    Query(query): Query<AlterQuery>,
) -> Result<StatusCode, ApiError> {
    app.noted.detail(format!("configs {}", path.name));
    app.noted.dry_run(query.validate_only);
    app.door
        .links(Operation::AlterConfigs)?
        .alter_link_configs(&path.link, vec![(path.name, None)], query.into())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes several configs, all or none.
///
/// # Errors
/// 404, 400 for a change that is refused, 503 if the source can't be reached with it.
pub async fn alter(
    app: App,
    Path(path): Path<LinkPath>,
    Query(query): Query<AlterQuery>,
    Body(body): Body<AlterConfigsRequest>,
) -> Result<StatusCode, ApiError> {
    let names: Vec<_> = body.data.iter().map(|change| &*change.name).collect();
    app.noted.detail(format!("configs {}", names.join(", ")));
    app.noted.dry_run(query.validate_only);
    let changes = body
        .data
        .into_iter()
        .map(to_change)
        .collect::<Result<_, _>>()?;
    app.door
        .links(Operation::AlterConfigs)?
        .alter_link_configs(&path.link, changes, query.into())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn to_change(change: ConfigChange) -> Result<(String, Option<String>), ApiError> {
    let ConfigChange {
        name,
        value,
        operation,
    } = change;
    match (operation.unwrap_or(ConfigOperation::Set), value) {
        (ConfigOperation::Set, Some(value)) => Ok((name, Some(value))),
        (ConfigOperation::Delete, None) => Ok((name, None)),
        (ConfigOperation::Set, None) => Err(ApiError::bad_request(format!(
            "config '{name}': SET needs a value"
        ))),
        (ConfigOperation::Delete, Some(_)) => Err(ApiError::bad_request(format!(
            "config '{name}': DELETE takes no value"
        ))),
    }
}

fn to_data(app: &App, base: &Base, link: &str, entry: &ConfigEntry) -> LinkConfigData {
    let is_default = entry.source == ConfigSource::Default;
    let source = if is_default {
        "DEFAULT_CONFIG"
    } else {
        "DYNAMIC_CLUSTER_LINK_CONFIG"
    };
    let value = entry.value.clone().filter(|_| !entry.is_sensitive);
    LinkConfigData {
        kind: LinkConfigData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at(&format!("/links/{link}/configs/{}", entry.name))),
        cluster_id: app.cluster_id.to_string(),
        name: entry.name.clone(),
        value: value.unwrap_or_default(),
        is_default,
        is_read_only: entry.is_read_only,
        is_sensitive: entry.is_sensitive,
        default: is_default,
        read_only: entry.is_read_only,
        sensitive: entry.is_sensitive,
        source: source.to_owned(),
        synonyms: Vec::new(),
        link_name: link.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation: Option<ConfigOperation>, value: Option<&str>) -> ConfigChange {
        ConfigChange {
            name: "a".to_owned(),
            value: value.map(str::to_owned),
            operation,
        }
    }

    #[test]
    fn set_needs_a_value_and_delete_takes_none() {
        let set = to_change(change(None, Some("1"))).expect("set");
        assert_eq!(set, ("a".to_owned(), Some("1".to_owned())));
        let delete = to_change(change(Some(ConfigOperation::Delete), None)).expect("delete");
        assert_eq!(delete, ("a".to_owned(), None));
        assert!(to_change(change(None, None)).is_err());
        assert!(to_change(change(Some(ConfigOperation::Delete), Some("1"))).is_err());
    }
}
