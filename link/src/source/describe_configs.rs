//! DescribeConfigs (API key 32) of topics.
//!
//! Versions 1 to 4: v1 says where a value comes from; v4 is flexible. Synonyms and documentation
//! aren't requested.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;
use kafka_protocol::messages as wire;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};

use super::api::wire_text;
use super::connection::Connection;
use super::{SourceError, TopicConfigEntry, TopicConfigs};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=4;
/// Resource type of a topic.
const TOPIC: i8 = 2;
/// Config source of a value set on the topic.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

/// Asks any broker; the answers are in the order of the questions.
pub(super) async fn topic_configs(
    connection: &Connection,
    topics: &[TopicName],
) -> Result<Vec<TopicConfigs>, SourceError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let response = connection.call(|_| request(topics)).await?;
    from_wire(&response, topics).map_err(|detail| connection.broken("DescribeConfigs", detail))
}

fn request(topics: &[TopicName]) -> wire::DescribeConfigsRequest {
    let resource = |topic: &TopicName| {
        DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(wire_text(topic.as_str()))
            .with_configuration_keys(None)
    };
    wire::DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect())
}

fn from_wire(
    response: &wire::DescribeConfigsResponse,
    topics: &[TopicName],
) -> Result<Vec<TopicConfigs>, String> {
    let configs = |topic: &TopicName| {
        let is_it = |result: &&DescribeConfigsResult| {
            result.resource_type == TOPIC && *result.resource_name == *topic.as_str()
        };
        let result = response.results.iter().find(is_it);
        let result = result.ok_or_else(|| format!("its answer lacks topic {topic}"))?;
        Ok(TopicConfigs {
            topic: topic.clone(),
            error: ErrorCode(result.error_code),
            error_message: result
                .error_message
                .as_ref()
                .map(|message| message.to_string()),
            entries: result.configs.iter().map(entry).collect(),
        })
    };
    topics.iter().map(configs).collect()
}

fn entry(config: &DescribeConfigsResourceResult) -> TopicConfigEntry {
    TopicConfigEntry {
        name: config.name.to_string(),
        value: config.value.as_ref().map(|value| value.to_string()),
        is_topic_level: config.config_source == DYNAMIC_TOPIC_CONFIG,
        is_sensitive: config.is_sensitive,
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;

    use super::*;

    #[test]
    fn every_version_can_be_written() {
        for version in VERSIONS {
            let request = request(&[TopicName::new("a").unwrap()]);
            encode_request(1, "c", &request, version).unwrap();
        }
    }

    #[test]
    fn values_set_on_the_topic_are_told_from_inherited_ones() {
        let config = |name: &str, source| {
            DescribeConfigsResourceResult::default()
                .with_name(wire_text(name))
                .with_value(Some(wire_text("1")))
                .with_config_source(source)
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(TOPIC)
            .with_resource_name(wire_text("a"))
            .with_configs(vec![config("retention.ms", 1), config("segment.ms", 5)]);
        let response = wire::DescribeConfigsResponse::default().with_results(vec![result]);
        let topics = [TopicName::new("a").unwrap()];
        let configs = from_wire(&response, &topics).unwrap().remove(0);
        assert!(configs.entries[0].is_topic_level);
        assert!(!configs.entries[1].is_topic_level);
        assert!(from_wire(&response, &[TopicName::new("b").unwrap()]).is_err());
    }
}
