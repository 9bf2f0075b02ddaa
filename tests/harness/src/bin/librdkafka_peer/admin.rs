//! The admin client: topics, configs, records and groups.

use anyhow::{Context, bail};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset;
use serde_json::{Map, Value, json};

use crate::{LIMIT, config, number, partition, text};

type Admin = AdminClient<DefaultClientContext>;

pub fn run(op: &str, q: &Value) -> anyhow::Result<Value> {
    let admin: Admin = config(q)?.create()?;
    let options = AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match op {
            "create_topic" => create_topic(&admin, &options, q).await,
            "describe_topic" => describe_topic(q),
            "create_partitions" => {
                let total = usize::try_from(number(q, "total", 1))?;
                let new = NewPartitions::new(text(q, "topic")?, total);
                refused(admin.create_partitions([&new], &options).await?)
            }
            "delete_topic" => refused(admin.delete_topics(&[text(q, "topic")?], &options).await?),
            "delete_records" => delete_records(&admin, &options, q).await,
            "describe_configs" => describe_configs(&admin, &options, q).await,
            "alter_configs" => alter_configs(&admin, &options, q).await,
            "delete_group" => refused(admin.delete_groups(&[text(q, "group")?], &options).await?),
            other => bail!("unknown op {other}"),
        }
    })
}

fn refused<T>(results: Vec<Result<T, (String, RDKafkaErrorCode)>>) -> anyhow::Result<Value> {
    for result in results {
        result.map_err(|(_, code)| code)?;
    }
    Ok(json!({}))
}

fn pairs(q: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = q["configs"].as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

async fn create_topic(admin: &Admin, options: &AdminOptions, q: &Value) -> anyhow::Result<Value> {
    let count = i32::try_from(number(q, "partitions", 1))?;
    let mut new = NewTopic::new(text(q, "topic")?, count, TopicReplication::Fixed(1));
    for (name, value) in pairs(q) {
        new = new.set(name, value);
    }
    refused(admin.create_topics([&new], options).await?)
}

fn describe_topic(q: &Value) -> anyhow::Result<Value> {
    let consumer: BaseConsumer = config(q)?.create()?;
    let metadata = consumer.fetch_metadata(Some(text(q, "topic")?), LIMIT)?;
    let topic = metadata.topics().first().context("no such topic")?;
    if let Some(error) = topic.error() {
        return Err(RDKafkaErrorCode::from(error).into());
    }
    Ok(json!({"partitions": topic.partitions().len()}))
}

async fn delete_records(admin: &Admin, options: &AdminOptions, q: &Value) -> anyhow::Result<Value> {
    let mut before = TopicPartitionList::new();
    let offset = Offset::Offset(number(q, "before", 0));
    before.add_partition_offset(text(q, "topic")?, partition(q)?, offset)?;
    let done = admin.delete_records(&before, options).await?;
    for element in done.elements() {
        element.error()?;
    }
    Ok(json!({}))
}

async fn describe_configs(
    admin: &Admin,
    options: &AdminOptions,
    q: &Value,
) -> anyhow::Result<Value> {
    let topic = ResourceSpecifier::Topic(text(q, "topic")?);
    let mut configs = Map::new();
    for resource in admin.describe_configs([&topic], options).await? {
        for entry in resource?.entries {
            configs.insert(entry.name, json!(entry.value));
        }
    }
    Ok(json!({"configs": configs}))
}

async fn alter_configs(admin: &Admin, options: &AdminOptions, q: &Value) -> anyhow::Result<Value> {
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(text(q, "topic")?));
    for (name, value) in pairs(q) {
        change = change.set(name, value);
    }
    for result in admin.alter_configs([&change], options).await? {
        result.map_err(|(_, code)| code)?;
    }
    Ok(json!({}))
}
