//! Which batches of a Produce are in a transaction, and whether they may be written (KIP-98,
//! KIP-890).

use std::collections::HashMap;

use carrick_protocol::batch::BatchHeader;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicPartition;
use kafka_protocol::messages::{ProduceRequest, TransactionalId};

use super::super::Context;
use super::super::door::DoorError;
use super::super::error::{door_code, produce_txn_code};
use super::super::transactions::writable_id;
use super::resolve;
use crate::access::Operation;
use crate::partition::Admission;
use crate::transaction::coordinator::Admitted;
use crate::transaction::{Producer, Version};

/// The part of a request that is in a transaction.
pub(super) struct Intent {
    pub id: TransactionalId,
    pub producer: Producer,
    pub partitions: Vec<TopicPartition>,
    pub speaks: Version,
}

/// The part of a request that may be written: batches in no transaction, and those that the
/// coordinator admits.
#[derive(Default)]
pub(super) struct Verdicts<'a> {
    /// The place that each partition of the intent has there.
    places: HashMap<&'a TopicPartition, usize>,
    /// The coordinator's word for them.
    admitted: Option<(&'a Admitted, Version)>,
}

impl Intent {
    /// The intent of a request, if it has one.
    ///
    /// # Errors
    /// TRANSACTIONAL_ID_AUTHORIZATION_FAILED without a transactional id, or if the client may not use
    /// it; INVALID_PRODUCER_ID_MAPPING with batches of several producers. Both as in Kafka.
    pub fn of(
        ctx: &Context,
        version: i16,
        request: &ProduceRequest,
    ) -> Result<Option<Self>, ErrorCode> {
        let (mut producer, mut is_mixed, mut written) = (None, false, Vec::new());
        for data in &request.topic_data {
            let mut numbers = Vec::new();
            for partition in &data.partition_data {
                let records = partition.records.as_deref().unwrap_or_default();
                if let Some(found) = transactional_producer(records) {
                    is_mixed |= *producer.get_or_insert(found) != found;
                    numbers.push(partition.index);
                }
            }
            if !numbers.is_empty() {
                written.push((data, numbers));
            }
        }
        let Some(producer) = producer else {
            return Ok(None);
        };
        let id = request.transactional_id.clone();
        let id = id.ok_or(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)?;
        ctx.transactional_id(&id, Operation::Write)
            .map_err(door_code)?;
        if is_mixed {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        let mut partitions = Vec::new();
        for (data, numbers) in written {
            // Those that are not there, and mirrors, refuse for themselves.
            if let Ok(topic) = resolve(ctx, version, data) {
                let ids = numbers.into_iter();
                partitions.extend(ids.filter_map(|at| writable_id(ctx, Ok(&topic), at).ok()));
            }
        }
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

    /// Asks the coordinator.
    ///
    /// # Errors
    /// The client may not use the transactional id.
    pub fn admitted(&self, ctx: &Context) -> Result<Admitted, DoorError> {
        let transactions = ctx.transactional_id(&self.id, Operation::Write)?;
        Ok(transactions.admit(&self.id, self.producer, &self.partitions, self.speaks))
    }

    /// What the coordinator's word for the partitions means for the request.
    pub fn verdicts<'a>(&'a self, admitted: &'a Admitted) -> Verdicts<'a> {
        let partitions = self.partitions.iter().enumerate();
        Verdicts {
            places: partitions.map(|(at, id)| (id, at)).collect(),
            admitted: Some((admitted, self.speaks)),
        }
    }
}

impl Verdicts<'_> {
    /// Calls `append` with permission to append to the partition, or with the code to refuse with.
    pub fn write<R>(
        &self,
        version: i16,
        partition: &TopicPartition,
        append: impl FnOnce(Result<Admission, ErrorCode>) -> R,
    ) -> R {
        let place = self.places.get(partition).copied();
        let (Some(at), Some((admitted, speaks))) = (place, self.admitted) else {
            return append(Ok(Admission::Plain));
        };
        let admission = Admission::InTransaction {
            from_zero: speaks == Version::V2,
        };
        admitted.write(at, partition, |verdict| {
            let verdict = verdict.map(|()| admission);
            append(verdict.map_err(|error| produce_txn_code(version, error)))
        })
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
