//! Groups as an administrator sees them: their offsets, states and names.

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::groups::GroupInfo;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Map, Value, json};

use crate::{LIMIT, config, number, partition, text};

fn of_group(q: &Value) -> anyhow::Result<BaseConsumer> {
    Ok(config(q)?.set("group.id", text(q, "group")?).create()?)
}

pub fn commit(q: &Value) -> anyhow::Result<Value> {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(number(q, "offset", 0));
    let (topic, at) = (text(q, "topic")?, partition(q)?);
    list.add_partition_offset(topic, at, offset)?;
    let mut element = list.find_partition(topic, at).context("just added")?;
    element.set_metadata(q["metadata"].as_str().unwrap_or_default());
    of_group(q)?.commit(&list, CommitMode::Sync)?;
    Ok(json!({}))
}

pub fn committed(q: &Value) -> anyhow::Result<Value> {
    let mut list = TopicPartitionList::new();
    list.add_partition(text(q, "topic")?, partition(q)?);
    let found = of_group(q)?.committed_offsets(list, LIMIT)?;
    let elements = found.elements();
    let element = elements.first().context("no answer")?;
    let offset = match element.offset() {
        Offset::Offset(at) => at,
        _ => -1,
    };
    Ok(json!({"offset": offset, "metadata": element.metadata()}))
}

/// The library asks by partition: all of every topic are asked for.
pub fn offsets(q: &Value) -> anyhow::Result<Value> {
    let consumer = of_group(q)?;
    let mut list = TopicPartitionList::new();
    for topic in consumer.fetch_metadata(None, LIMIT)?.topics() {
        for partition in topic.partitions() {
            list.add_partition(topic.name(), partition.id());
        }
    }
    let mut offsets = Map::new();
    for element in consumer.committed_offsets(list, LIMIT)?.elements() {
        if let Offset::Offset(at) = element.offset() {
            let name = format!("{}-{}", element.topic(), element.partition());
            offsets.insert(name, json!(at));
        }
    }
    Ok(json!({"offsets": offsets}))
}

pub fn list(q: &Value) -> anyhow::Result<Value> {
    let consumer: BaseConsumer = config(q)?.create()?;
    let listed = consumer.fetch_group_list(None, LIMIT)?;
    let names: Vec<&str> = listed.groups().iter().map(GroupInfo::name).collect();
    Ok(json!({"groups": names}))
}

pub fn describe(q: &Value) -> anyhow::Result<Value> {
    let listed = of_group(q)?.fetch_group_list(Some(text(q, "group")?), LIMIT)?;
    let group = listed.groups().first().context("no such group")?;
    Ok(json!({"state": group.state(), "members": group.members().len()}))
}
