//! What of a Produce is in a transaction, and whether it may be written (KIP-98, KIP-890).

use std::collections::HashMap;

use carrick_protocol::batch::BatchHeader;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicPartition;
use kafka_protocol::messages::{ProduceRequest, TransactionalId};

use super::super::Context;
use super::super::error::produce_txn_code;
use super::super::transactions::writable_id;
use super::resolve;
use crate::partition::Admission;
use crate::transaction::{Producer, TxnError, Version};

/// The part of a request that is in a transaction.
pub(super) struct Intent {
    pub id: TransactionalId,
    pub producer: Producer,
    pub partitions: Vec<TopicPartition>,
    pub speaks: Version,
}

/// What the coordinator says of each partition of an [`Intent`]; nothing of all others.
#[derive(Default)]
pub(super) struct Verdicts<'a> {
    by_partition: HashMap<&'a TopicPartition, Result<Admission, ErrorCode>>,
}

impl Intent {
    /// The intent of a request, if it has one.
    ///
    /// # Errors
    /// TRANSACTIONAL_ID_AUTHORIZATION_FAILED without a transactional id, and
    /// INVALID_PRODUCER_ID_MAPPING with batches of several producers, both as in Kafka.
    pub fn of(
        ctx: &Context,
        version: i16,
        request: &ProduceRequest,
    ) -> Result<Option<Self>, ErrorCode> {
        let mut found: Option<(Producer, Vec<TopicPartition>)> = None;
        for data in &request.topic_data {
            let mut topic = None;
            for partition in &data.partition_data {
                let records = partition.records.as_deref().unwrap_or_default();
                let Some(producer) = transactional_producer(records) else {
                    continue;
                };
                let (first, partitions) = found.get_or_insert((producer, Vec::new()));
                if *first != producer {
                    return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
                }
                // Those that are not there, and mirrors, refuse for themselves.
                let topic = topic.get_or_insert_with(|| resolve(ctx, version, data));
                let id = topic
                    .as_ref()
                    .ok()
                    .and_then(|topic| writable_id(ctx, topic.name(), partition.index).ok());
                partitions.extend(id);
            }
        }
        let Some((producer, partitions)) = found else {
            return Ok(None);
        };
        let id = request.transactional_id.clone();
        let id = id.ok_or(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)?;
        // No transaction begins with nothing in it.
        if partitions.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            id,
            producer,
            partitions,
            speaks: if version >= 12 {
                Version::V2
            } else {
                Version::V1
            },
        }))
    }

    /// What the coordinator's verdicts, one for each partition, mean for the request.
    pub fn verdicts(&self, version: i16, verdicts: &[Result<(), TxnError>]) -> Verdicts<'_> {
        let admission = Admission::InTransaction {
            from_zero: self.speaks == Version::V2,
        };
        let verdicts = self.partitions.iter().zip(verdicts).map(|(id, verdict)| {
            let verdict = verdict.map(|()| admission);
            (
                id,
                verdict.map_err(|error| produce_txn_code(version, error)),
            )
        });
        Verdicts {
            by_partition: verdicts.collect(),
        }
    }
}

impl Verdicts<'_> {
    /// What may be written to the partition.
    ///
    /// # Errors
    /// The code to refuse with.
    pub fn admission(&self, partition: &TopicPartition) -> Result<Admission, ErrorCode> {
        let verdict = self.by_partition.get(partition).copied();
        verdict.unwrap_or(Ok(Admission::Plain))
    }
}

fn transactional_producer(records: &[u8]) -> Option<Producer> {
    let header = BatchHeader::parse(records).ok()?;
    let is_transactional = header.is_transactional() && header.has_producer();
    is_transactional.then_some(Producer {
        id: header.producer_id,
        epoch: header.producer_epoch,
    })
}
