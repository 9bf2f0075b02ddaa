//! The source cluster over TCP. In work.

use std::sync::Arc;

use carrick_protocol::ids::{NodeId, TopicName, TopicPartition};

use super::{
    BoxFuture, ClusterInfo, ClusterMetadata, EpochEnd, EpochQuery, FetchConnection, ListedOffset,
    OffsetSpec, SourceCluster, SourceError, SourceTopic, TopicConfigs, TopicSelection,
};
use crate::config::LinkConfig;

/// [`SourceCluster`] over TCP. Clones share everything.
pub struct KafkaCluster {}

impl KafkaCluster {
    /// A client for the source that `config` names. Connects to nothing yet.
    pub fn new(config: &LinkConfig) -> Arc<Self> {
        let _ = config;
        unimplemented!()
    }

    /// Closes every connection; later calls fail with `ShutDown`.
    pub fn shutdown(&self) {
        unimplemented!()
    }
}

impl SourceCluster for KafkaCluster {
    fn describe(&self) -> BoxFuture<'_, Result<ClusterInfo, SourceError>> {
        unimplemented!()
    }
    fn metadata(&self, _: TopicSelection) -> BoxFuture<'_, Result<ClusterMetadata, SourceError>> {
        unimplemented!()
    }
    fn cached_topic(&self, _: &TopicName) -> Option<Arc<SourceTopic>> {
        unimplemented!()
    }
    fn list_offsets(
        &self,
        _: Vec<(TopicPartition, OffsetSpec)>,
    ) -> BoxFuture<'_, Result<Vec<ListedOffset>, SourceError>> {
        unimplemented!()
    }
    fn offsets_for_leader_epoch(
        &self,
        _: Vec<EpochQuery>,
    ) -> BoxFuture<'_, Result<Vec<EpochEnd>, SourceError>> {
        unimplemented!()
    }
    fn topic_configs(
        &self,
        _: Vec<TopicName>,
    ) -> BoxFuture<'_, Result<Vec<TopicConfigs>, SourceError>> {
        unimplemented!()
    }
    fn fetch_connection(
        &self,
        _: NodeId,
        _: u32,
    ) -> BoxFuture<'_, Result<Arc<dyn FetchConnection>, SourceError>> {
        unimplemented!()
    }
}
