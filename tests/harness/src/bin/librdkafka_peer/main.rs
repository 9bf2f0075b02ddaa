//! librdkafka as a test peer: one JSON request a line on standard input, one JSON answer a line on standard output.
//! The operations are those of `harness::peer`; the peers of other libraries speak the same lines.

mod admin;
mod groups;
mod records;
mod transactions;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
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
    transactions: transactions::Open,
    members: HashMap<String, Member>,
}

struct Member {
    consumer: Arc<BaseConsumer>,
    consumed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<String>>>,
    thread: JoinHandle<()>,
}

impl Peer {
    fn dispatch(&mut self, q: &Value) -> anyhow::Result<Value> {
        match text(q, "op")? {
            "version" => Ok(json!({"version": rdkafka::util::get_rdkafka_version().1})),
            "produce" => records::produce(q),
            "transaction" => self.transactions.run(q),
            "process" => transactions::process(q),
            "consume" => records::consume(q),
            "commit" | "alter_offsets" => groups::commit(q),
            "committed" => groups::committed(q),
            "list_groups" => groups::list(q),
            "describe_group" => groups::describe(q),
            "group_offsets" => groups::offsets(q),
            "member_start" => self.member_start(q),
            "member_state" => self.member_state(q),
            "member_stop" => self.member_stop(q),
            op => admin::run(op, q),
        }
    }

    fn member_start(&mut self, q: &Value) -> anyhow::Result<Value> {
        let session_ms = q["session_ms"].as_u64().unwrap_or(10_000);
        let mut config = config(q)?;
        match q["protocol"].as_str() {
            Some(protocol) => config.set("group.protocol", protocol),
            None => config
                .set("session.timeout.ms", session_ms.to_string())
                .set("heartbeat.interval.ms", (session_ms / 10).to_string()),
        };
        let consumer: BaseConsumer = config
            .set("group.id", text(q, "group")?)
            .set("auto.offset.reset", "earliest")
            .set("auto.commit.interval.ms", "200")
            .create()?;
        match q["regex"].as_str() {
            Some(regex) => consumer.subscribe(&[&format!("^{regex}")])?,
            None => consumer.subscribe(&[text(q, "topic")?])?,
        }
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
