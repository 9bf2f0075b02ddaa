//! Transactions, and reading, processing and writing within one.

use std::collections::HashMap;

use anyhow::Context;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::{Value, json};

use crate::records::{Reporting, consumer, producer, send, until_end};
use crate::{LIMIT, text};

/// Producers with an open transaction, by their transactional id.
#[derive(Default)]
pub struct Open(HashMap<String, Reporting>);

impl Open {
    pub fn run(&mut self, q: &Value) -> anyhow::Result<Value> {
        let id = text(q, "transactional_id")?;
        let producer = match self.0.remove(id) {
            Some(producer) => producer,
            None => begin(q)?,
        };
        let done = send(&producer, q)?;
        if q["outcome"] == "open" {
            self.0.insert(id.to_owned(), producer);
        } else {
            end(&producer, q)?;
        }
        Ok(done)
    }
}

fn begin(q: &Value) -> anyhow::Result<Reporting> {
    let producer = producer(q, &[("transactional.id", text(q, "transactional_id")?)])?;
    producer.init_transactions(LIMIT)?;
    producer.begin_transaction()?;
    Ok(producer)
}

fn end(producer: &Reporting, q: &Value) -> anyhow::Result<()> {
    if q["outcome"] == "commit" {
        producer.commit_transaction(LIMIT)?;
    } else {
        producer.abort_transaction(LIMIT)?;
    }
    Ok(())
}

/// Reads the topic's partition to its end as a member of the group, and writes it in one transaction.
pub fn process(q: &Value) -> anyhow::Result<Value> {
    let consumer = consumer(q, text(q, "group")?)?;
    consumer.subscribe(&[text(q, "topic")?])?;
    let producer = begin(q)?;
    let (to, mut count) = (text(q, "to")?, 0);
    until_end(&consumer, |message| {
        let mut record = BaseRecord::<[u8], [u8]>::to(to);
        record.key = message.key();
        record.payload = message.payload();
        producer.send(record).map_err(|(error, _)| error)?;
        count += 1;
        Ok(())
    })?;
    // An abort would drop what has not been sent.
    producer.flush(LIMIT)?;
    let member = consumer.group_metadata().context("no member of a group")?;
    producer.send_offsets_to_transaction(&consumer.position()?, &member, LIMIT)?;
    end(&producer, q)?;
    Ok(json!({"count": count}))
}
