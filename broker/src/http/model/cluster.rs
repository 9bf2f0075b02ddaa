//! `KafkaCluster`: what `GET /kafka/v3/clusters` answers.

use serde::{Deserialize, Serialize};

use super::{Relationship, ResourceMetadata};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterData {
    /// `KafkaCluster`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// The id that every other path contains.
    pub cluster_id: String,
    pub topics: Relationship,
    /// Its links *(own)*.
    pub links: Relationship,
}

impl ClusterData {
    /// `kind` of one cluster.
    pub const KIND: &str = "KafkaCluster";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaClusterList";

    /// The cluster `cluster_id`, whose own address is `self_url`.
    pub fn new(self_url: String, cluster_id: &str) -> Self {
        ClusterData {
            kind: Self::KIND.to_owned(),
            topics: Relationship {
                related: format!("{self_url}/topics"),
            },
            links: Relationship {
                related: format!("{self_url}/links"),
            },
            metadata: ResourceMetadata::new(self_url),
            cluster_id: cluster_id.to_owned(),
        }
    }
}
