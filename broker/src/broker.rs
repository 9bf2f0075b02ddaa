//! The broker as a whole: what belongs to it, in which order it starts and stops.

use std::net::SocketAddr;
use std::sync::Arc;

use carrick_protocol::ids::NodeId;
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;
use carrick_storage::meta::MetaStore;

use crate::config::BrokerConfig;
use crate::group::Coordinator;
use crate::producer_ids::ProducerIds;
use crate::topic::Catalog;

/// Everything that handlers reach. One per process (several in tests).
pub struct Broker {
    /// The configuration.
    pub config: Arc<BrokerConfig>,
    /// The cluster's id, drawn at first start.
    pub cluster_id: String,
    /// This broker's id.
    pub node_id: NodeId,
    /// The data folder, locked.
    pub data_dir: Arc<DataDir>,
    /// Metadata.
    pub meta: Arc<MetaStore>,
    /// Topics.
    pub catalog: Arc<Catalog>,
    /// Groups and their offsets.
    pub groups: Arc<Coordinator>,
    /// Producer ids.
    pub producer_ids: Arc<ProducerIds>,
    /// Group-committed flushes.
    pub flusher: Arc<Flusher>,
}

/// Why the broker didn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A listener can't be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The metadata can't be opened.
    #[error(transparent)]
    Meta(#[from] carrick_storage::meta::MetaError),
    /// The topics can't be opened.
    #[error(transparent)]
    Topic(#[from] crate::topic::TopicError),
    /// The groups can't be loaded.
    #[error(transparent)]
    Groups(#[from] crate::group::coordinator::GroupStartError),
}

/// A broker that serves clients.
pub struct RunningBroker {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The bound addresses, in the order of `listeners`.
    pub addresses: Vec<SocketAddr>,
}

impl Broker {
    /// Starts the broker; when this returns, clients are served. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// What failed; nothing keeps running and the data folder is unlocked.
    pub async fn start(config: BrokerConfig) -> Result<RunningBroker, StartError> {
        unimplemented!("{config:?}")
    }
}

impl RunningBroker {
    /// Stops cleanly: no new connections, requests in flight answered, logs closed.
    pub async fn shutdown(self) {
        unimplemented!()
    }
}
