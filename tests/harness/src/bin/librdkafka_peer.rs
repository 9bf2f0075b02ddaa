//! librdkafka as a test peer: one JSON request a line on standard input, one JSON answer a line on standard output.
//! The operations are those of `harness::peer`; the Java and Go peers speak the same lines.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let mut peer = Peer::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = match peer.dispatch(&request) {
            Ok(mut answer) => {
                answer["ok"] = json!(true);
                answer
            }
            Err(e) => json!({"ok": false, "code": code(&e), "message": format!("{e:#}")}),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Kafka's name for the error, as the other peers give it.
fn code(error: &anyhow::Error) -> String {
    let found = error.chain().find_map(|cause| {
        let known = cause.downcast_ref::<RDKafkaErrorCode>().copied();
        known.or_else(|| {
            cause
                .downcast_ref::<KafkaError>()
                .and_then(KafkaError::rdkafka_error_code)
        })
    });
    found.map_or_else(|| "OTHER".to_owned(), name)
}

/// `InvalidRequest` → `INVALID_REQUEST`.
fn name(code: RDKafkaErrorCode) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[derive(Default)]
struct Peer {
    members: HashMap<String, Member>,
}

struct Member {
    consumer: Arc<BaseConsumer>,
    consumed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<String>>>,
    thread: JoinHandle<()>,
}

/// What delivery reports said.
#[derive(Default)]
struct Reports {
    offsets: Mutex<Vec<i64>>,
    error: Mutex<Option<KafkaError>>,
}

#[derive(Clone, Default)]
struct ReportContext(Arc<Reports>);

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

impl Peer {
    fn dispatch(&mut self, q: &Value) -> anyhow::Result<Value> {
        match text(q, "op")? {
            "produce" => produce(q),
            "consume" => consume(q),
            "create_topic" | "create_partitions" | "delete_records" => administer(q),
            "committed" => committed(q),
            "member_start" => self.member_start(q),
            "member_state" => self.member_state(q),
            "member_stop" => self.member_stop(q),
            other => bail!("unknown op {other}"),
        }
    }

    fn member_start(&mut self, q: &Value) -> anyhow::Result<Value> {
        let session_ms = q["session_ms"].as_u64().unwrap_or(10_000);
        let consumer: BaseConsumer = config(q)?
            .set("group.id", text(q, "group")?)
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 5).to_string())
            .set("auto.offset.reset", "earliest")
            .set("auto.commit.interval.ms", "200")
            .create()?;
        consumer.subscribe(&[text(q, "topic")?])?;
        let consumer = Arc::new(consumer);
        let (consumed, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let failure = Arc::new(Mutex::new(None));
        let thread = std::thread::spawn({
            let (consumer, consumed) = (consumer.clone(), consumed.clone());
            let (stop, failure) = (stop.clone(), failure.clone());
            move || {
                while !stop.load(Ordering::Acquire) {
                    match consumer.poll(Duration::from_millis(50)) {
                        Some(Ok(_)) => drop(consumed.fetch_add(1, Ordering::AcqRel)),
                        Some(Err(e)) => *failure.lock() = Some(e.to_string()),
                        None => {}
                    }
                }
            }
        });
        let member = Member {
            consumer,
            consumed,
            stop,
            failure,
            thread,
        };
        self.members.insert(text(q, "name")?.to_owned(), member);
        Ok(json!({}))
    }

    fn member_state(&self, q: &Value) -> anyhow::Result<Value> {
        let member = self
            .members
            .get(text(q, "name")?)
            .context("no such member")?;
        let assignment = member.consumer.assignment()?;
        let mut assigned: Vec<i32> = assignment
            .elements()
            .iter()
            .map(|e| e.partition())
            .collect();
        assigned.sort_unstable();
        let consumed = member.consumed.load(Ordering::Acquire);
        Ok(json!({"assigned": assigned, "consumed": consumed, "failure": *member.failure.lock()}))
    }

    fn member_stop(&mut self, q: &Value) -> anyhow::Result<Value> {
        let member = self
            .members
            .remove(text(q, "name")?)
            .context("no such member")?;
        member.stop.store(true, Ordering::Release);
        if member.thread.join().is_err() {
            bail!("the member's thread panicked");
        }
        // Dropping the last handle closes the consumer: it commits and leaves the group.
        drop(member.consumer);
        Ok(json!({}))
    }
}

fn text<'a>(q: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    q[name]
        .as_str()
        .with_context(|| format!("field {name} is missing"))
}

fn number(q: &Value, name: &str, otherwise: i64) -> i64 {
    q[name].as_i64().unwrap_or(otherwise)
}

fn partition(q: &Value) -> anyhow::Result<i32> {
    Ok(i32::try_from(number(q, "partition", 0))?)
}

fn config(q: &Value) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", text(q, "bootstrap")?);
    if let Some(extra) = q["config"].as_object() {
        for (name, value) in extra {
            config.set(
                name,
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            );
        }
    }
    Ok(config)
}

fn produce(q: &Value) -> anyhow::Result<Value> {
    let reports = ReportContext::default();
    let mut config = config(q)?;
    config
        .set("message.max.bytes", "15000000")
        .set("enable.idempotence", "true");
    if let Some(codec) = q["compression"].as_str() {
        config.set("compression.codec", codec);
    }
    let producer: ThreadedProducer<ReportContext> = config.create_with_context(reports.clone())?;
    let (topic, to) = (text(q, "topic")?, partition(q)?);
    let mut random = StdRng::seed_from_u64(number(q, "seed", 1).cast_unsigned());
    let (min, max) = (number(q, "min_bytes", 10), number(q, "max_bytes", 200));
    for _ in 0..number(q, "count", 1) {
        let mut value = vec![0; usize::try_from(random.random_range(min..=max.max(min)))?];
        random.fill_bytes(&mut value);
        let mut record = BaseRecord::<(), [u8]>::to(topic)
            .partition(to)
            .payload(&value);
        while let Err((error, unsent)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(1));
            record = unsent;
        }
    }
    producer.flush(LIMIT)?;
    if let Some(error) = reports.0.error.lock().take() {
        return Err(error.into());
    }
    let offsets = reports.0.offsets.lock();
    let (first, last) = (offsets.iter().min(), offsets.iter().max());
    Ok(json!({"acked": offsets.len(), "first_offset": first, "last_offset": last}))
}

fn consume(q: &Value) -> anyhow::Result<Value> {
    let isolation = q["isolation"].as_str().unwrap_or("read_uncommitted");
    let consumer: BaseConsumer = config(q)?
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(text(q, "topic")?, partition(q)?, Offset::Beginning)?;
    consumer.assign(&list)?;
    let deadline = Instant::now() + LIMIT;
    let (mut count, mut first, mut last) = (0_u64, -1, -1);
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                if first < 0 {
                    first = message.offset();
                }
                last = message.offset();
                count += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                return Ok(json!({"count": count, "first_offset": first, "last_offset": last}));
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    bail!("the end was not reached; at {last}")
}

fn administer(q: &Value) -> anyhow::Result<Value> {
    let admin: AdminClient<DefaultClientContext> = config(q)?.create()?;
    let options = AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT));
    let topic = text(q, "topic")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match text(q, "op")? {
            "create_topic" => {
                let count = i32::try_from(number(q, "partitions", 1))?;
                let new = NewTopic::new(topic, count, TopicReplication::Fixed(1));
                refused(admin.create_topics([&new], &options).await?)?;
            }
            "create_partitions" => {
                let total = usize::try_from(number(q, "total", 1))?;
                let new = NewPartitions::new(topic, total);
                refused(admin.create_partitions([&new], &options).await?)?;
            }
            _ => {
                let mut before = TopicPartitionList::new();
                let offset = Offset::Offset(number(q, "before", 0));
                before.add_partition_offset(topic, partition(q)?, offset)?;
                let done = admin.delete_records(&before, &options).await?;
                for element in done.elements() {
                    element.error()?;
                }
            }
        }
        Ok(json!({}))
    })
}

fn refused(results: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> anyhow::Result<()> {
    for result in results {
        result.map_err(|(_, code)| code)?;
    }
    Ok(())
}

fn committed(q: &Value) -> anyhow::Result<Value> {
    let consumer: BaseConsumer = config(q)?.set("group.id", text(q, "group")?).create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition(text(q, "topic")?, partition(q)?);
    let found = consumer.committed_offsets(list, LIMIT)?;
    let offset = found.elements().first().map(|e| e.offset());
    Ok(json!({"offset": match offset { Some(Offset::Offset(at)) => at, _ => -1 }}))
}
