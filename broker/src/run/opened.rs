//! What is opened from disk before anything runs.

use std::sync::Arc;

use carrick_protocol::ids::TopicId;
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;

use super::{Config, StartError};
use crate::access::Acls;
use crate::auth::Users;
use crate::config::Properties;
use crate::group::Coordinator;
use crate::heavy::Heavy;
use crate::journal::Journal;
use crate::journal::rocks::RocksJournal;
use crate::metadata::rocks::RocksMetadata;
use crate::metadata::{Metadata, MetadataError};
use crate::mirror::{self, acls::LinkAcls};
use crate::partition::Hosted;
use crate::producer_ids::ProducerIds;
use crate::quota::Quotas;
use crate::records::cluster::{ClusterKeyspace, ClusterRecord};
use crate::secrets::Vault;
use crate::server;
use crate::starting::Starting;
use crate::topic::{TopicConfig, Topics};
use crate::transaction;

/// Threads that flush logs: enough to keep an SSD's queue from running empty.
const FLUSH_THREADS: usize = 4;

/// The parts of a broker that are on the disk, in the order in which they are opened.
pub(super) struct Opened {
    pub data_dir: Arc<DataDir>,
    pub metadata: Metadata,
    pub cluster_id: Arc<str>,
    pub vault: Arc<Vault>,
    pub properties: Arc<Properties>,
    pub producer_ids: Arc<ProducerIds>,
    pub flusher: Arc<Flusher>,
    pub topics: Arc<Topics>,
    pub hosted: Arc<Hosted>,
    pub groups: Arc<Coordinator>,
    pub transactions: Arc<transaction::Coordinator>,
    pub journal: Journal,
    pub quotas: Arc<Quotas>,
    pub users: Arc<Users>,
    pub acls: Arc<Acls>,
    pub heavy: Heavy,
}

impl Opened {
    pub fn open(config: &Config, starting: &Starting) -> Result<Self, StartError> {
        let data_dir = Arc::new(DataDir::open(&config.log_dir)?);
        let opened = RocksMetadata::open(&data_dir.meta_dir())?;
        let database = opened.database();
        let metadata = Metadata::new(Arc::new(opened));
        let cluster_id = cluster_id(&metadata)?;
        let producer_ids = Arc::new(ProducerIds::open(metadata.clone())?);
        let vault = Vault::open(metadata.clone(), config.secrets.clone(), data_dir.path())?;
        let vault = Arc::new(vault);
        let properties = Arc::new(Properties::open(
            Arc::new(metadata.clone()),
            &config.values,
            config.node_id,
            |values| TopicConfig::defaults(values).and_then(|_| server::check(values)),
        )?);
        let flusher = Arc::new(Flusher::start(FLUSH_THREADS)?);
        let hosted = Arc::new(Hosted::new(Arc::clone(&data_dir), Arc::clone(&flusher)));
        let topics = Arc::new(Topics::open(
            Arc::clone(&properties),
            metadata.clone(),
            Box::new(Arc::clone(&hosted)),
        )?);
        let are_open = hosted.open(&topics, config.partitions.recovery_threads, starting);
        topics.store_leader_epochs()?;
        if !are_open {
            // So that the next start goes on from there.
            hosted.close();
            flusher.stop();
            return Err(StartError::GivenUp);
        }
        starting.step("loading groups and transactions", 0);
        let journal = Journal::new(Arc::new(RocksJournal::start(database)?));
        let heavy = Heavy::default();
        let groups = Coordinator::start(
            config.groups.clone(),
            journal.clone(),
            topics.clone(),
            heavy.clone(),
        )?;
        let acls = Arc::new(Acls::open(metadata.clone())?);
        let quotas = Arc::new(Quotas::open(metadata.clone(), &config.values)?);
        let users = Arc::new(Users::open(metadata.clone(), heavy.clone())?);
        let transactions = transaction::Coordinator::start(transaction::coordinator::Parts {
            config: config.transactions.clone(),
            journal: journal.clone(),
            hosted: Arc::clone(&hosted),
            producer_ids: Arc::clone(&producer_ids),
            groups: Arc::clone(&groups),
        })?;
        Ok(Self {
            data_dir,
            metadata,
            cluster_id,
            vault,
            properties,
            producer_ids,
            flusher,
            topics,
            hosted,
            groups,
            transactions,
            journal,
            quotas,
            users,
            acls,
            heavy,
        })
    }

    /// What links need of their host, which has an authorizer or not.
    pub fn link_ports(&self, has_authorizer: bool) -> carrick_link::ports::Ports {
        mirror::ports(
            Arc::clone(&self.vault),
            self.metadata.clone(),
            (Arc::clone(&self.topics), Arc::clone(&self.hosted)),
            Arc::clone(&self.producer_ids),
            Arc::clone(&self.groups),
            LinkAcls::new(Arc::clone(&self.acls), has_authorizer),
            self.heavy.clone(),
        )
    }
}

/// The cluster's id: Kafka's form of a random UUID, drawn once.
fn cluster_id(metadata: &Metadata) -> Result<Arc<str>, MetadataError> {
    let id = metadata.decide(|drawn| {
        if let Some(record) = drawn.read::<ClusterKeyspace>(metadata, &())? {
            return Ok(record.cluster_id);
        }
        let cluster_id = TopicId::random().to_string();
        let record = ClusterRecord {
            cluster_id: cluster_id.clone(),
        };
        drawn.put::<ClusterKeyspace>(&(), &record);
        Ok(cluster_id)
    })?;
    Ok(id.into())
}
