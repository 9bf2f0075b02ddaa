//! Records: those that a request asks for, sending them, reading them, and the digest of their content.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{LIMIT, config, number, partition, text};

/// What delivery reports said.
#[derive(Default)]
struct Reports {
    offsets: Mutex<Vec<i64>>,
    error: Mutex<Option<KafkaError>>,
}

#[derive(Clone, Default)]
pub struct ReportContext(Arc<Reports>);

impl ClientContext for ReportContext {}

impl ProducerContext for ReportContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => self.0.offsets.lock().push(message.offset()),
            Err((error, _)) => *self.0.error.lock() = Some(error.clone()),
        }
    }
}

/// A producer that notes what its delivery reports say.
pub type Reporting = ThreadedProducer<ReportContext>;

/// A producer with the request's settings, and `more`.
pub fn producer(q: &Value, more: &[(&str, &str)]) -> anyhow::Result<Reporting> {
    let mut config: ClientConfig = config(q)?;
    config
        .set("message.max.bytes", "15000000")
        .set("enable.idempotence", "true");
    if let Some(codec) = q["compression"].as_str() {
        config.set("compression.codec", codec);
    }
    for (name, value) in more {
        config.set(*name, *value);
    }
    Ok(config.create_with_context(ReportContext::default())?)
}

pub fn produce(q: &Value) -> anyhow::Result<Value> {
    send(&producer(q, &[])?, q)
}

/// Sends what the request asks for, and waits until it is acknowledged.
pub fn send(producer: &Reporting, q: &Value) -> anyhow::Result<Value> {
    let reports = producer.context().0.clone();
    reports.offsets.lock().clear();
    let records = Records::of(q)?;
    let (topic, to) = (text(q, "topic")?, partition(q)?);
    let spread = Duration::from_millis(q["spread_ms"].as_u64().unwrap_or(0));
    let started = Instant::now();
    for (index, record) in (0_u32..).zip(&records.all) {
        let mut sent = BaseRecord::<[u8], [u8]>::to(topic).partition(to);
        sent.key = record.key.as_deref();
        sent.payload = record.value.as_deref();
        sent.timestamp = record.timestamp_ms;
        sent.headers = record.header.as_ref().map(|value| {
            let value = Some(value.as_bytes());
            OwnedHeaders::new().insert(Header { key: "n", value })
        });
        while let Err((error, unsent)) = producer.send(sent) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(1));
            sent = unsent;
        }
        let due = spread * index / u32::try_from(records.all.len())?;
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    producer.flush(LIMIT)?;
    if let Some(error) = reports.error.lock().take() {
        return Err(error.into());
    }
    let offsets = reports.offsets.lock();
    let (first, last) = (offsets.iter().min(), offsets.iter().max());
    let content = records.content;
    Ok(json!({
        "acked": offsets.len(), "first_offset": first, "last_offset": last, "content": content,
    }))
}

struct Record {
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// The value of the header `n`.
    header: Option<String>,
}

struct Records {
    all: Vec<Record>,
    content: String,
}

impl Records {
    fn of(q: &Value) -> anyhow::Result<Self> {
        let mut random = StdRng::seed_from_u64(number(q, "seed", 1).cast_unsigned());
        let (min, max) = (number(q, "min_bytes", 10), number(q, "max_bytes", 200));
        let (keys, tombstones) = (number(q, "keys", 0), q["tombstones"] == true);
        let (mut all, mut content) = (Vec::new(), Content::default());
        for i in 0..number(q, "count", 1) {
            let mut value = vec![0; usize::try_from(random.random_range(min..=max.max(min)))?];
            if i % 2 == 0 {
                random.fill_bytes(&mut value);
            } else {
                let text = format!("{{\"order\":{i},\"state\":\"paid\"}}");
                value = text.bytes().cycle().take(value.len()).collect();
            }
            let has_key = keys > 0 && !(tombstones && i % 2 == 0);
            let record = Record {
                timestamp_ms: q["timestamp_ms"].as_i64().map(|from| from + i),
                key: has_key.then(|| format!("key-{}", random.random_range(0..keys)).into_bytes()),
                value: (!tombstones || i % 10 != 9).then_some(value),
                header: (i % 3 == 0).then(|| i.to_string()),
            };
            if let Some(at) = record.timestamp_ms {
                let header = record
                    .header
                    .as_ref()
                    .map(|value| ("n", Some(value.as_bytes())));
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                content.add(at, key, value, header.as_slice());
            }
            all.push(record);
        }
        let content = content.digest();
        Ok(Self { all, content })
    }
}

/// Digests records as every peer does.
#[derive(Default)]
pub struct Content(Sha256);

impl Content {
    fn add(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.0.update(timestamp_ms.to_be_bytes());
        self.part(key);
        self.part(value);
        self.length(Some(headers.len()));
        for (name, value) in headers {
            self.part(Some(name.as_bytes()));
            self.part(*value);
        }
    }

    fn add_message(&mut self, message: &BorrowedMessage<'_>) {
        let mut headers = Vec::new();
        for header in message.headers().iter().flat_map(|all| all.iter()) {
            headers.push((header.key, header.value));
        }
        let at = message.timestamp().to_millis().unwrap_or(-1);
        self.add(at, message.key(), message.payload(), &headers);
    }

    fn part(&mut self, bytes: Option<&[u8]>) {
        self.length(bytes.map(<[u8]>::len));
        self.0.update(bytes.unwrap_or_default());
    }

    fn length(&mut self, length: Option<usize>) {
        let length = length.map_or(-1, |l| i32::try_from(l).unwrap_or(i32::MAX));
        self.0.update(length.to_be_bytes());
    }

    fn digest(self) -> String {
        let mut text = String::new();
        for byte in self.0.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// A consumer with the request's settings that reads from the beginning and reports where the end
/// is.
pub fn consumer(q: &Value, group: &str) -> anyhow::Result<BaseConsumer> {
    let isolation = q["isolation"].as_str().unwrap_or("read_uncommitted");
    Ok(config(q)?
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .set("isolation.level", isolation)
        .create()?)
}

/// Hands every message to `take`, until one partition's end.
pub fn until_end(
    consumer: &BaseConsumer,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => take(&message)?,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    bail!("the end was not reached")
}

pub fn consume(q: &Value) -> anyhow::Result<Value> {
    let consumer = consumer(q, "unused")?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(text(q, "topic")?, partition(q)?, Offset::Beginning)?;
    consumer.assign(&list)?;
    let (mut count, mut first, mut last) = (0_u64, -1, -1);
    let mut content = Content::default();
    until_end(&consumer, |message| {
        if first < 0 {
            first = message.offset();
        }
        last = message.offset();
        count += 1;
        content.add_message(message);
        Ok(())
    })?;
    let content = content.digest();
    Ok(json!({"count": count, "first_offset": first, "last_offset": last, "content": content}))
}
