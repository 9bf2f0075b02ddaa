//! ListPartitionReassignments (key 46), version 0 (KIP-455).
//!
//! Partitions stay on this broker, so none is ever being reassigned: the list is empty, whichever
//! partitions are requested. Kafka leaves out unknown ones, too.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{
    ApiKey, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::admin::Refusal;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct ListPartitionReassignments;

impl Api for ListPartitionReassignments {
    const KEY: ApiKey = ApiKey::ListPartitionReassignments;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    type Request = ListPartitionReassignmentsRequest;

    fn handle(ctx: &Context, _version: i16, _request: Self::Request) -> Reply<ResponseOf<Self>> {
        let response = ListPartitionReassignmentsResponse::default();
        Reply::Now(match ctx.cluster(Operation::Describe) {
            Ok(_) => response.with_error_message(None),
            Err(error) => {
                let refusal = Refusal::from(error);
                let response = response.with_error_code(refusal.code.0);
                response.with_error_message(refusal.wire_message())
            }
        })
    }
}
