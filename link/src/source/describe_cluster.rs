//! DescribeCluster (API key 60): cluster id, controller, brokers (KIP-700).
//!
//! Versions 0 to 2 (v1 the kind of endpoint, v2 fenced brokers, not requested). Sources older than
//! 2.8 lack it: Metadata without topics returns the same.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::NodeId;
use kafka_protocol::messages as wire;

use super::connection::Connection;
use super::{ClusterInfo, SourceBroker, SourceError, metadata};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Asks any broker.
pub(super) async fn describe_cluster(connection: &Connection) -> Result<ClusterInfo, SourceError> {
    if connection
        .version::<wire::DescribeClusterRequest>()
        .is_err()
    {
        return metadata::cluster(connection).await;
    }
    let response = connection
        .call(|_| wire::DescribeClusterRequest::default())
        .await?;
    let code = ErrorCode(response.error_code);
    if code.is_err() {
        let message = response.error_message.map(|message| message.to_string());
        return Err(connection.refused::<wire::DescribeClusterRequest>(code, message));
    }
    from_wire(response).map_err(|detail| connection.broken("DescribeCluster", detail))
}

fn from_wire(response: wire::DescribeClusterResponse) -> Result<ClusterInfo, String> {
    let brokers = response.brokers.iter().map(|broker| {
        let port = u16::try_from(broker.port).map_err(|_| format!("it has a port {}", broker.port));
        Ok(SourceBroker {
            id: NodeId(broker.broker_id.0),
            host: broker.host.to_string(),
            port: port?,
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
        })
    });
    Ok(ClusterInfo {
        cluster_id: Some(response.cluster_id.to_string()).filter(|id| !id.is_empty()),
        controller: (response.controller_id.0 >= 0).then_some(NodeId(response.controller_id.0)),
        brokers: brokers.collect::<Result<_, String>>()?,
    })
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;
    use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;

    use super::super::api::wire_text;
    use super::*;

    #[test]
    fn every_version_can_be_written() {
        for version in VERSIONS {
            encode_request(1, "c", &wire::DescribeClusterRequest::default(), version).unwrap();
        }
    }

    #[test]
    fn brokers_and_controller_are_read() {
        let broker = |port| {
            DescribeClusterBroker::default()
                .with_broker_id(wire::BrokerId(2))
                .with_host(wire_text("h"))
                .with_port(port)
        };
        let response = wire::DescribeClusterResponse::default()
            .with_cluster_id(wire_text("id"))
            .with_controller_id(wire::BrokerId(-1));
        let info = from_wire(response.clone().with_brokers(vec![broker(9092)])).unwrap();
        assert_eq!(info.cluster_id.as_deref(), Some("id"));
        assert_eq!((info.controller, info.brokers[0].port), (None, 9092));
        assert!(from_wire(response.with_brokers(vec![broker(70_000)])).is_err());
    }
}
