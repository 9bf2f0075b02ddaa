//! `carrick topic …`: list, describe, create, delete.

use clap::Subcommand;

use super::client::{Client, Patience};
use super::error::CliResult;
use super::output::{Output, facts, table};
use super::settings::{name_value, to_body};
use crate::http::model::topic::{CreateTopicRequest, TopicData};
use crate::http::model::{Collection, escape};

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// List the topics
    List,
    /// Show one topic: partitions, offsets, configs
    Describe {
        /// The topic's name
        name: String,
    },
    /// Create a topic
    Create {
        /// The new topic's name
        name: String,
        /// Number of partitions [default: the broker's num.partitions]
        #[arg(long)]
        partitions: Option<i32>,
        /// A config of the topic
        #[arg(long = "config", value_name = "NAME=VALUE", value_parser = name_value)]
        configs: Vec<(String, String)>,
    },
    /// Delete a topic and its data
    Delete {
        /// The topic's name
        name: String,
        /// Delete it even if it is an active mirror; its link stops mirroring it
        #[arg(long)]
        delete_mirror: bool,
    },
}

/// Runs a topic command.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn run(client: &Client, output: Output, command: TopicCommand) -> CliResult {
    match command {
        TopicCommand::List => {
            let topics: Collection<TopicData> = client.get("/topics")?;
            output.print(&topics.data, |topics| render_list(topics))
        }
        TopicCommand::Describe { name } => {
            let topic: TopicData = client.get(&format!("/topics/{}", escape(&name)))?;
            output.print(&topic, render_topic)
        }
        TopicCommand::Create {
            name,
            partitions,
            configs,
        } => {
            let body = CreateTopicRequest {
                topic_name: name,
                partitions_count: partitions,
                replication_factor: None,
                configs: to_body(configs),
            };
            let topic: TopicData = client.post("/topics", &body, Patience::Short)?;
            output.print(&topic, |topic| {
                format!(
                    "topic {} created, partitions: {}",
                    topic.topic_name, topic.partitions_count
                )
            })
        }
        TopicCommand::Delete {
            name,
            delete_mirror,
        } => {
            let path = format!("/topics/{}?refuse_mirror={}", escape(&name), !delete_mirror);
            client.delete(&path)?;
            let answer = serde_json::json!({ "topic_name": name, "deleted": true });
            output.print(&answer, |_| format!("topic {name} deleted"))
        }
    }
}

fn kind_of(topic: &TopicData) -> &'static str {
    if topic.is_mirror { "mirror" } else { "local" }
}

fn render_list(topics: &[TopicData]) -> String {
    if topics.is_empty() {
        return "no topics".to_owned();
    }
    table(
        ["NAME", "PARTITIONS", "KIND", "ID"],
        topics.iter().map(|topic| {
            let partitions = topic.partitions_count.to_string();
            [
                topic.topic_name.clone(),
                partitions,
                kind_of(topic).to_owned(),
                topic.topic_id.clone(),
            ]
        }),
    )
}

fn render_topic(topic: &TopicData) -> String {
    let mut text = facts(&[
        ("topic", topic.topic_name.clone()),
        ("id", topic.topic_id.clone()),
        ("kind", kind_of(topic).to_owned()),
    ]);
    text.push('\n');
    text.push_str(&table(
        [
            "PARTITION",
            "LOG START",
            "HIGH WATERMARK",
            "END",
            "EPOCH",
            "BYTES",
        ],
        topic.partition_offsets.iter().map(|partition| {
            [
                partition.partition.to_string(),
                partition.log_start_offset.to_string(),
                partition.high_watermark.to_string(),
                partition.end_offset.to_string(),
                partition.leader_epoch.to_string(),
                partition.size_bytes.to_string(),
            ]
        }),
    ));
    if !topic.config_overrides.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(
            ["CONFIG", "VALUE"],
            topic.config_overrides.iter().map(|config| {
                [
                    config.name.clone(),
                    config.value.clone().unwrap_or_default(),
                ]
            }),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::topic::PartitionOffsets;
    use crate::http::model::{ConfigData, Relationship, ResourceMetadata};

    #[test]
    fn a_topic_shows_its_offsets_and_set_configs() {
        let none = || Relationship {
            related: String::new(),
        };
        let topic = TopicData {
            kind: TopicData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            cluster_id: "c".to_owned(),
            topic_name: "orders".to_owned(),
            is_internal: false,
            replication_factor: 1,
            partitions_count: 1,
            partitions: none(),
            configs: none(),
            topic_id: "id".to_owned(),
            is_mirror: true,
            partition_offsets: vec![PartitionOffsets {
                partition: 0,
                log_start_offset: 5,
                high_watermark: 70,
                end_offset: 80,
                leader_epoch: 3,
                size_bytes: 1234,
            }],
            config_overrides: vec![ConfigData {
                name: "retention.ms".to_owned(),
                value: Some("9".to_owned()),
            }],
        };
        let text = render_topic(&topic);
        assert!(text.contains("kind:  mirror"), "{text}");
        assert!(
            text.contains("0          5          70              80   3      1234"),
            "{text}"
        );
        assert!(text.contains("retention.ms  9"), "{text}");
    }
}
