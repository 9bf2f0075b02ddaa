//! ListConfigResources (key 74), versions 0–1 (KIP-1142; before, ListClientMetricsResources).
//!
//! v0 lists the subscriptions of client metrics, and there are none. v1 lists the resources of the
//! requested types, or of all: topics, this broker and its loggers, groups that have their own
//! configs. Another type is UNSUPPORTED_VERSION.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ApiKey, ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::configs::Resource;
use super::door::Cluster;
use super::error::door_code;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct ListConfigResources;

/// All types, in Kafka's order.
const ALL: [Resource; 5] = [
    Resource::Topic,
    Resource::Broker,
    Resource::BrokerLogger,
    Resource::ClientMetrics,
    Resource::Group,
];

impl Api for ListConfigResources {
    const KEY: ApiKey = ApiKey::ListConfigResources;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTS: bool = true;
    type Request = ListConfigResourcesRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let asked: Vec<_> = request
            .resource_types
            .iter()
            .copied()
            .map(Resource::of)
            .collect();
        let response = ListConfigResourcesResponse::default();
        let cluster = match ctx.cluster(Operation::DescribeConfigs) {
            Ok(cluster) => cluster,
            Err(error) => return Reply::Now(response.with_error_code(door_code(error).0)),
        };
        if asked
            .iter()
            .any(|asked| matches!(asked, Resource::Unknown(_)))
        {
            return Reply::Now(response.with_error_code(ErrorCode::UNSUPPORTED_VERSION.0));
        }
        let wanted = ALL.into_iter().filter(|resource| match version {
            0 => *resource == Resource::ClientMetrics,
            _ => asked.is_empty() || asked.contains(resource),
        });
        let mut resources = Vec::new();
        for resource in wanted {
            for name in names(ctx, cluster, resource) {
                let mut listed = ConfigResource::default().with_resource_name(text(&name));
                if version >= 1 {
                    listed.resource_type = resource.code();
                }
                if let Err(refusal) = ctx.room.take_item(version, &listed) {
                    return Reply::Now(response.with_error_code(refusal.code.0));
                }
                resources.push(listed);
            }
        }
        Reply::Now(response.with_config_resources(resources))
    }
}

/// The resources of a type.
fn names(ctx: &Context, cluster: Cluster<'_>, resource: Resource) -> Vec<String> {
    match resource {
        Resource::Topic => {
            let topics = cluster.topics();
            topics
                .iter()
                .map(|topic| topic.name().to_string())
                .collect()
        }
        Resource::Broker | Resource::BrokerLogger => vec![ctx.broker.node_id.to_string()],
        Resource::Group => {
            let groups = cluster.groups_with_configs();
            groups
                .iter()
                .map(|group| group.as_str().to_owned())
                .collect()
        }
        Resource::ClientMetrics | Resource::Unknown(_) => Vec::new(),
    }
}
