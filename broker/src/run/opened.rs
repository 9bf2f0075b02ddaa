//! What is opened from disk, before anything runs.

use std::sync::Arc;

use carrick_protocol::ids::TopicId;
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;
use carrick_storage::meta::{MetaBatch, MetaError, MetaStore};

use super::{Config, StartError};
use crate::config::Properties;
use crate::group::Coordinator;
use crate::heavy::Heavy;
use crate::mirror;
use crate::producer_ids::ProducerIds;
use crate::quota::Quotas;
use crate::records::cluster::{ClusterKeyspace, ClusterRecord};
use crate::starting::Starting;
use crate::store::Store;
use crate::topic::{Catalog, TopicConfig};
use crate::transaction;

/// Threads that flush logs: enough to keep an SSD's queue from running empty.
const FLUSH_THREADS: usize = 4;

/// The parts of a broker that are on the disk, in the order in which they are opened.
pub(super) struct Opened {
    pub data_dir: Arc<DataDir>,
    pub meta: Arc<MetaStore>,
    pub cluster_id: Arc<str>,
    pub properties: Arc<Properties>,
    pub producer_ids: Arc<ProducerIds>,
    pub flusher: Arc<Flusher>,
    pub catalog: Arc<Catalog>,
    pub groups: Arc<Coordinator>,
    pub transactions: Arc<transaction::Coordinator>,
    pub store: Arc<Store>,
    pub quotas: Arc<Quotas>,
    pub heavy: Heavy,
}

impl Opened {
    pub fn open(config: &Config, starting: &Starting) -> Result<Self, StartError> {
        let data_dir = Arc::new(DataDir::open(&config.log_dir)?);
        let meta = Arc::new(MetaStore::open(&data_dir.meta_dir())?);
        let cluster_id = cluster_id(&meta)?;
        let producer_ids = Arc::new(ProducerIds::open(Arc::clone(&meta))?);
        let properties = Arc::new(Properties::open(
            meta.clone(),
            &config.values,
            config.node_id,
            |values| TopicConfig::defaults(values).map(drop),
        )?);
        let flusher = Arc::new(Flusher::start(FLUSH_THREADS)?);
        let catalog = Catalog::open(
            config.partitions,
            Arc::clone(&properties),
            Arc::clone(&meta),
            Arc::clone(&data_dir),
            Arc::clone(&flusher),
            starting,
        )?;
        let Some(catalog) = catalog.map(Arc::new) else {
            flusher.stop();
            return Err(StartError::GivenUp);
        };
        starting.step("loading groups and transactions", 0);
        let store = Store::start(Arc::clone(&meta))?;
        let heavy = Heavy::default();
        let groups = Coordinator::start(
            config.groups.clone(),
            &meta,
            Arc::clone(&store),
            catalog.clone(),
            heavy.clone(),
        )?;
        let quotas = Arc::new(Quotas::open(Arc::clone(&meta), &config.values)?);
        let transactions = transaction::Coordinator::start(transaction::coordinator::Parts {
            config: config.transactions.clone(),
            meta: Arc::clone(&meta),
            store: Arc::clone(&store),
            catalog: Arc::clone(&catalog),
            producer_ids: Arc::clone(&producer_ids),
            groups: Arc::clone(&groups),
        })?;
        Ok(Self {
            data_dir,
            meta,
            cluster_id,
            properties,
            producer_ids,
            flusher,
            catalog,
            groups,
            transactions,
            store,
            quotas,
            heavy,
        })
    }

    /// What links need of their host.
    pub fn link_ports(&self) -> carrick_link::ports::Ports {
        mirror::ports(
            self.data_dir.path(),
            Arc::clone(&self.meta),
            Arc::clone(&self.catalog),
            Arc::clone(&self.producer_ids),
            Arc::clone(&self.groups),
        )
    }
}

/// The cluster's id: Kafka's form of a random UUID, drawn once.
fn cluster_id(meta: &MetaStore) -> Result<Arc<str>, MetaError> {
    if let Some(record) = meta.get::<ClusterKeyspace>(&())? {
        return Ok(record.cluster_id.into());
    }
    let cluster_id = TopicId::random().to_string();
    let mut batch = MetaBatch::new();
    batch.put::<ClusterKeyspace>(
        &(),
        &ClusterRecord {
            cluster_id: cluster_id.clone(),
        },
    );
    meta.commit(batch)?;
    Ok(cluster_id.into())
}
