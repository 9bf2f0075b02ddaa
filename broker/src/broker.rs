//! What a running broker consists of. [`run`](crate::run) opens, starts and stops it.

mod endpoint;
mod large_answers;
mod limits;

use std::sync::Arc;

use carrick_link::LinkManager;
use carrick_protocol::ids::NodeId;
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;
use tokio::sync::watch;

use crate::access::Access;
use crate::audit::Audit;
use crate::auth::Users;
use crate::cluster::View;
use crate::config::Properties;
use crate::fetch_session::Sessions;
use crate::group::Coordinator;
use crate::heavy::Heavy;
use crate::journal::Journal;
use crate::metadata::Metadata;
use crate::partition::Hosted;
use crate::pool::FairPool;
use crate::problems::Problems;
use crate::producer_ids::ProducerIds;
use crate::quota::Quotas;
use crate::secrets::Vault;
use crate::topic::{OnDemand, TopicRules, Topics};
use crate::transaction;

pub use endpoint::Endpoint;
pub use large_answers::LargeAnswers;
pub use limits::RequestLimits;

/// Everything that handlers reach. One per process (several in tests).
pub struct Broker {
    /// The cluster's id, drawn at first start.
    pub cluster_id: Arc<str>,
    /// This broker's id.
    pub node_id: NodeId,
    /// The listeners, in the order of `listeners`.
    pub endpoints: Vec<Endpoint>,
    /// The data folder, locked.
    pub data_dir: Arc<DataDir>,
    /// The current properties. Fields that were read from properties are as they were at start.
    pub properties: Arc<Properties>,
    pub metadata: Metadata,
    /// Encrypts secrets where they are stored.
    pub vault: Arc<Vault>,
    pub topics: Arc<Topics>,
    /// The partitions that are open here.
    pub hosted: Arc<Hosted>,
    /// Who the brokers are, and what each of them does.
    pub view: Arc<dyn View>,
    /// How topics are created, and whether they may go.
    pub topic_rules: TopicRules,
    pub producer_ids: Arc<ProducerIds>,
    /// Group-committed flushes.
    pub flusher: Arc<Flusher>,
    pub groups: Arc<Coordinator>,
    pub transactions: Arc<transaction::Coordinator>,
    /// Makes changes of groups and transactions durable.
    pub journal: Journal,
    /// Fetch sessions (KIP-227).
    pub fetch_sessions: Sessions,
    /// Who creates topics on demand.
    pub on_demand: OnDemand,
    /// How large requests and their answers may become.
    pub limits: RequestLimits,
    /// What large answers that list or describe share.
    pub large_answers: LargeAnswers,
    /// Memory of fetches that wait for data.
    pub waiting_fetches: FairPool,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Users with their SCRAM credentials.
    pub users: Arc<Users>,
    /// Who changed what, and who was refused.
    pub audit: Arc<Audit>,
    /// Client quotas, and what is used of them.
    pub quotas: Arc<Quotas>,
    pub problems: Arc<Problems>,
    /// Where requests have work done that takes CPU.
    pub heavy: Heavy,
    /// Links and their mirrors.
    pub links: Arc<LinkManager>,
    /// Turns true when the broker begins to stop.
    pub stop: watch::Sender<bool>,
}

impl Broker {
    /// The number of metadata changes so far.
    pub fn metadata_changes(&self) -> i64 {
        i64::try_from(self.metadata.version().0).unwrap_or(i64::MAX)
    }

    /// Turns true when the broker begins to stop.
    pub fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Returns when the broker begins to stop: what waits for more data waits no longer.
    pub async fn stopping(&self) {
        // An error means that the sender was dropped, and the broker with it.
        drop(self.stop.subscribe().wait_for(|stop| *stop).await);
    }
}
