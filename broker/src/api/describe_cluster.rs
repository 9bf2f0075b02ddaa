//! DescribeCluster (key 60), versions 0–2 (KIP-700).
//!
//! The brokers that the view of the cluster names: this one, which clients also see as the controller.
//!
//! - v1 (KIP-919): only brokers can be asked for; controllers: MISMATCHED_ENDPOINT_TYPE.
//! - v2 (KIP-1073): fenced brokers; there are none.
//! - Authorized operations, if requested.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{ApiKey, BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::admin::Refusal;
use super::groups::text;
use super::metadata::{NO_OPERATIONS, cluster_operations};
use super::{Api, Context, Reply, ResponseOf};

pub struct DescribeCluster;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Api for DescribeCluster {
    const KEY: ApiKey = ApiKey::DescribeCluster;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    type Request = DescribeClusterRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        // v0 has no endpoint type: the codec fills in brokers.
        if let Err(refusal) = check_endpoint(request.endpoint_type) {
            let response = DescribeClusterResponse::default()
                .with_error_code(refusal.code.0)
                .with_error_message(refusal.wire_message());
            return Reply::Now(response);
        }
        let view = ctx.view();
        let brokers = view.brokers(ctx.connection.listener).into_iter();
        let brokers = brokers.map(|member| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(member.id.0))
                .with_host(text(&member.host))
                .with_port(i32::from(member.port))
                .with_rack(member.rack.as_deref().map(text))
        });
        let operations = match request.include_cluster_authorized_operations {
            true => cluster_operations(ctx),
            false => NO_OPERATIONS,
        };
        let mut response = DescribeClusterResponse::default()
            .with_cluster_id(text(&ctx.broker.cluster_id))
            .with_controller_id(BrokerId(view.controller().0))
            .with_brokers(brokers.collect())
            .with_cluster_authorized_operations(operations);
        if version >= 1 {
            response.endpoint_type = BROKERS;
        }
        Reply::Now(response)
    }
}

fn check_endpoint(endpoint_type: i8) -> Result<(), Refusal> {
    match endpoint_type {
        BROKERS => Ok(()),
        CONTROLLERS => Err(Refusal::new(
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type \
             CONTROLLER",
        )),
        other => Err(Refusal::new(
            ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
            format!("Unsupported endpoint type {other}"),
        )),
    }
}
