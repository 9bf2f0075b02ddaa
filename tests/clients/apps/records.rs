//! The data of the applications, written and checked with librdkafka: records, committed offsets,
//! configs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::Result;
use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(30);

/// A record to write, or one that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: String,
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(config(bootstrap).create()?)
}

fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    Ok({ runtime }.enable_all().build()?.block_on(future))
}

/// Creates a topic of one replica.
pub fn create_topic(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<()> {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in configs {
        new = new.set(name, value);
    }
    let admin = admin(bootstrap)?;
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    for result in wait(admin.create_topics([&new], &options))?? {
        result.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
    }
    Ok(())
}

/// The value of one config of a topic; `None` where the topic or the config is missing.
pub fn topic_config(bootstrap: &str, topic: &str, name: &str) -> Result<Option<String>> {
    let admin = admin(bootstrap)?;
    let resource = ResourceSpecifier::Topic(topic);
    let answers = wait(admin.describe_configs([&resource], &AdminOptions::new()))??;
    let Some(Ok(found)) = answers.into_iter().next() else {
        return Ok(None);
    };
    let entries = found.entry_map();
    Ok(entries.get(name).and_then(|e| e.value.clone()))
}

/// Keeps the first refusal of a record.
#[derive(Default, Clone)]
struct Refusals(Arc<Mutex<Option<KafkaError>>>);

impl ClientContext for Refusals {}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().get_or_insert(error.clone());
        }
    }
}

/// Writes records, each to its partition where that is not negative, and waits for all to be acknowledged.
pub fn produce(bootstrap: &str, topic: &str, records: &[Record], timestamp_ms: i64) -> Result<()> {
    let refusals = Refusals::default();
    let producer: ThreadedProducer<Refusals> = config(bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("batch.size", "65536")
        .create_with_context(refusals.clone())?;
    for record in records {
        let mut new = BaseRecord::to(topic)
            .key(&record.key)
            .payload(&record.value);
        new = new.timestamp(timestamp_ms);
        if record.partition >= 0 {
            new = new.partition(record.partition);
        }
        producer.send(new).map_err(|(e, _)| e)?;
    }
    producer.flush(LIMIT)?;
    if let Some(error) = refusals.0.lock().take() {
        bail!("{topic} did not take a record: {error}");
    }
    Ok(())
}

/// All committed records of a topic, from the beginning to where each partition ends now, in order by partition.
pub fn read_all(bootstrap: &str, topic: &str) -> Result<Vec<Record>> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut left = partitions(&consumer, topic)?;
    let mut from = TopicPartitionList::new();
    for partition in &left {
        from.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&from)?;
    let mut records = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while !left.is_empty() {
        ensure!(
            Instant::now() < deadline,
            "{topic}: no end of {left:?} in {LIMIT:?}"
        );
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: text(message.key()),
                value: text(message.payload()),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => left.retain(|p| *p != partition),
            Some(Err(e)) => bail!("{topic}: {e}"),
            None => {}
        }
    }
    records.sort();
    Ok(records)
}

/// Applications' own stores hold binary values, too: those are only counted.
fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
    let found = metadata.topics().first().context("no such topic")?;
    ensure!(found.error().is_none(), "{topic}: {:?}", found.error());
    Ok(found.partitions().iter().map(|p| p.id()).collect())
}

/// Where a partition begins and ends.
pub fn ends(bootstrap: &str, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "nobody").create()?;
    Ok(consumer.fetch_watermarks(topic, partition, LIMIT)?)
}

/// The offset that a group has committed for a partition.
pub fn committed(bootstrap: &str, group: &str, topic: &str, partition: i32) -> Result<Option<i64>> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", group).create()?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let found = consumer.committed_offsets(asked, LIMIT)?;
    Ok(match found.elements().first().map(|e| e.offset()) {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    })
}

/// Commits an offset for a group without members.
pub fn commit(
    bootstrap: &str,
    group: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<()> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", group).create()?;
    let mut to = TopicPartitionList::new();
    to.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.commit(&to, rdkafka::consumer::CommitMode::Sync)?;
    Ok(())
}
