//! `/topics/{topic}/configs`: list, read. DescribeConfigs says the same to Kafka's clients.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;

use super::App;
use super::error::{ApiError, NO_SUCH_CONFIG};
use super::extract::{Base, Path};
use super::model::topic::{ConfigSynonymData, TopicConfigData};
use super::model::{Collection, ResourceMetadata};
use super::topics::{TopicPath, find};
use crate::access::Operation;
use crate::config::describe::{Described, Source};
use crate::topic::describe::describe;

/// The part of a path that names a topic and one of its configs.
#[derive(Debug, Deserialize)]
pub struct ConfigPath {
    topic: String,
    name: String,
}

/// All configs of a topic.
///
/// # Errors
/// 404.
pub async fn list(
    app: App,
    base: Base,
    Path(path): Path<TopicPath>,
) -> Result<Json<Collection<TopicConfigData>>, ApiError> {
    let topic = find(&app, &path.topic, Operation::DescribeConfigs)?;
    let described = describe(&topic.state().overrides, &app.properties.values());
    let data = described
        .iter()
        .map(|config| to_data(&app, &base, &path.topic, config));
    let own = base.at(&format!("/topics/{}/configs", path.topic));
    Ok(Json(Collection::new(
        TopicConfigData::LIST_KIND,
        own,
        data.collect(),
    )))
}

/// One config.
///
/// # Errors
/// 404 for a topic or config that is not there.
pub async fn read(
    app: App,
    base: Base,
    Path(ConfigPath { topic, name }): Path<ConfigPath>,
) -> Result<Json<TopicConfigData>, ApiError> {
    let found = find(&app, &topic, Operation::DescribeConfigs)?;
    let described = describe(&found.state().overrides, &app.properties.values());
    match described.iter().find(|config| config.def.name == name) {
        Some(config) => Ok(Json(to_data(&app, &base, &topic, config))),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            NO_SUCH_CONFIG,
            format!("a topic has no config '{name}'"),
        )),
    }
}

fn to_data(app: &App, base: &Base, topic: &str, config: &Described) -> TopicConfigData {
    let name = config.def.name;
    let synonyms = config.origins.iter().map(|origin| ConfigSynonymData {
        name: origin.name.to_owned(),
        value: origin.value.clone(),
        source: source_name(origin.source).to_owned(),
    });
    TopicConfigData {
        kind: TopicConfigData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at(&format!("/topics/{topic}/configs/{name}"))),
        cluster_id: app.cluster_id.to_string(),
        topic_name: topic.to_owned(),
        name: name.to_owned(),
        value: config.value.clone(),
        is_default: config.source() == Source::Default,
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive(),
        source: source_name(config.source()).to_owned(),
        synonyms: synonyms.collect(),
    }
}

/// As Confluent's REST v3 names it.
const fn source_name(source: Source) -> &'static str {
    match source {
        Source::Topic => "DYNAMIC_TOPIC_CONFIG",
        Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Source::StaticBroker => "STATIC_BROKER_CONFIG",
        Source::Default => "DEFAULT_CONFIG",
        Source::Logger => "DYNAMIC_BROKER_LOGGER_CONFIG",
        Source::Group => "GROUP_CONFIG",
    }
}
