//! The broker as a whole: what belongs to it, in which order it starts and stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use carrick_link::LinkManager;
use carrick_protocol::ids::{NodeId, TopicId};
use carrick_storage::disk::{DataDir, DiskError};
use carrick_storage::flush::Flusher;
use carrick_storage::meta::{MetaBatch, MetaError, MetaStore};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::on_demand::OnDemand;
use crate::api::room::LargeAnswers;
use crate::cleaner;
use crate::config::notes::notes;
use crate::config::properties::StoreError;
use crate::config::{BrokerConfig, Properties};
use crate::control::Control;
use crate::fetch_session::Sessions;
use crate::group::Coordinator;
use crate::group::coordinator::GroupStartError;
use crate::heavy::Heavy;
use crate::housekeeping;
use crate::http::server::HttpListeners;
use crate::http::{self, App, HttpServer, Ready};
use crate::mirror;
use crate::pool::FairPool;
use crate::problems::Problems;
use crate::producer_ids::ProducerIds;
use crate::quota::Quotas;
use crate::records::cluster::{ClusterKeyspace, ClusterRecord};
use crate::server::{Bound, Server};
use crate::starting::Starting;
use crate::store::Store;
use crate::topic::{Catalog, TopicConfig, TopicError};
use crate::transaction;

/// Threads that flush logs: enough to keep an SSD's queue from running empty.
const FLUSH_THREADS: usize = 4;

/// A fetch that takes less memory may always wait for data.
const UNCOUNTED_FETCH_BYTES: usize = 64 << 10;

/// How long connections may take to answer what they have read, at shutdown.
const CONNECTIONS_STOP_LIMIT: Duration = Duration::from_secs(10);

/// Everything that handlers reach. One per process (several in tests).
pub struct Broker {
    /// What the broker was started with.
    pub config: Arc<BrokerConfig>,
    /// The properties in force: those that `config` was read from, and what was set since.
    pub properties: Arc<Properties>,
    /// The cluster's id, drawn at first start.
    pub cluster_id: Arc<str>,
    /// This broker's id.
    pub node_id: NodeId,
    /// The bound addresses, in the order of the configuration's listeners.
    pub addresses: Vec<SocketAddr>,
    /// The data folder, locked.
    pub data_dir: Arc<DataDir>,
    /// Metadata.
    pub meta: Arc<MetaStore>,
    /// Topics.
    pub catalog: Arc<Catalog>,
    /// Producer ids.
    pub producer_ids: Arc<ProducerIds>,
    /// Group-committed flushes.
    pub flusher: Arc<Flusher>,
    /// Consumer groups.
    pub groups: Arc<Coordinator>,
    /// Transactions.
    pub transactions: Arc<transaction::Coordinator>,
    /// Makes changes of groups and transactions durable.
    pub store: Arc<Store>,
    /// Fetch sessions (KIP-227).
    pub fetch_sessions: Sessions,
    /// Who creates topics on demand.
    pub on_demand: OnDemand,
    /// What large answers that list or describe share.
    pub large_answers: LargeAnswers,
    /// Memory of fetches that wait for data.
    pub waiting_fetches: FairPool,
    /// Client quotas, and what is used of them.
    pub quotas: Arc<Quotas>,
    /// Current problems.
    pub problems: Arc<Problems>,
    /// Where requests have work done that takes CPU.
    pub heavy: Heavy,
    /// Links and their mirrors.
    pub links: Arc<LinkManager>,
    stopping: watch::Sender<bool>,
}

/// Why the broker didn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener can't be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data folder can't be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The metadata can't be opened.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The properties that were set at run time can't be read.
    #[error(transparent)]
    Properties(#[from] StoreError),
    /// The topics can't be opened.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The groups can't be loaded.
    #[error(transparent)]
    Group(#[from] GroupStartError),
    /// The links can't be loaded.
    #[error(transparent)]
    Link(#[from] carrick_link::LinkError),
    /// It was given up before the logs were open.
    #[error("the start was cancelled")]
    GivenUp,
    /// The system has no threads left.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// A broker that serves clients.
pub struct RunningBroker {
    /// The broker.
    pub broker: Arc<Broker>,
    server: Server,
    http: HttpServer,
    ready: Ready,
    tasks: Vec<JoinHandle<()>>,
    cleaners: Vec<JoinHandle<()>>,
    /// REST and links run here.
    control: Control,
}

/// What is opened from disk, before anything runs.
struct Opened {
    data_dir: Arc<DataDir>,
    meta: Arc<MetaStore>,
    cluster_id: Arc<str>,
    properties: Arc<Properties>,
    producer_ids: Arc<ProducerIds>,
    flusher: Arc<Flusher>,
    catalog: Arc<Catalog>,
    groups: Arc<Coordinator>,
    transactions: Arc<transaction::Coordinator>,
    store: Arc<Store>,
    quotas: Arc<Quotas>,
    heavy: Heavy,
}

impl Broker {
    /// Starts the broker; when this returns, clients are served. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// What failed; nothing keeps running and the data folder is unlocked.
    pub async fn start(config: BrokerConfig) -> Result<RunningBroker, StartError> {
        Self::start_until(config, watch::channel(false).1).await
    }

    /// As [`Broker::start`], given up when `stop` turns true before the logs are open. HTTP answers
    /// from the beginning; the Kafka listeners accept connections once they are served.
    ///
    /// # Errors
    /// As [`Broker::start`]; `GivenUp`.
    pub async fn start_until(
        config: BrokerConfig,
        stop: watch::Receiver<bool>,
    ) -> Result<RunningBroker, StartError> {
        let config = Arc::new(config);
        warn_of_properties(&config);
        let bind_error = |(address, source)| StartError::Bind { address, source };
        let bound = Bound::bind(&config.listeners).await.map_err(bind_error)?;
        let control = Control::start()?;
        let rest = config.rest_listeners.clone();
        let http = control.run(async move { HttpListeners::bind(&rest).await });
        let http = http.await.map_err(bind_error)?;
        let rest = rest_text(&http.addresses());
        tracing::info!(rest, "REST, health and metrics are served");
        warn_of_open_rest(&http.addresses());
        let starting = Arc::new(Starting::new(stop));
        let http = {
            let _there = control.enter();
            http.serve(&starting)
        };
        let opened = tokio::task::block_in_place(|| Opened::open(&config, &starting))?;
        starting.step("starting links", 0);
        let links = LinkManager::start(opened.link_ports());
        let links = control.run(links).await?;
        let addresses = bound.addresses.clone();
        let listeners = bound.listen().map_err(bind_error)?;
        let broker = Arc::new(Broker {
            node_id: NodeId(config.node_id),
            addresses,
            fetch_sessions: fetch_sessions(&config),
            on_demand: OnDemand::default(),
            large_answers: large_answers(&config),
            waiting_fetches: FairPool::new(
                config.queued_max_request_bytes / 4,
                UNCOUNTED_FETCH_BYTES,
            ),
            problems: opened.problems(),
            config,
            cluster_id: opened.cluster_id,
            data_dir: opened.data_dir,
            properties: opened.properties,
            meta: opened.meta,
            catalog: opened.catalog,
            producer_ids: opened.producer_ids,
            flusher: opened.flusher,
            groups: opened.groups,
            transactions: opened.transactions,
            store: opened.store,
            quotas: opened.quotas,
            heavy: opened.heavy,
            links,
            stopping: watch::channel(false).0,
        });
        let tasks = housekeeping::start(&broker);
        let cleaners = cleaner::start(&broker);
        let ready = Ready::default();
        http.open(&broker.http_app(&ready));
        let server = Server::start(listeners, &broker);
        ready.set(true);
        let (listeners, rest) = (broker.listeners_text(), rest_text(http.addresses()));
        tracing::info!(listeners, rest, cluster_id = %broker.cluster_id, "clients are served");
        Ok(RunningBroker {
            broker,
            server,
            http,
            ready,
            tasks,
            cleaners,
            control,
        })
    }

    pub(crate) fn http_app(&self, ready: &Ready) -> App {
        App {
            cluster_id: Arc::clone(&self.cluster_id),
            links: Arc::clone(&self.links),
            catalog: Arc::clone(&self.catalog),
            groups: Arc::clone(&self.groups),
            transactions: Arc::clone(&self.transactions),
            problems: Arc::clone(&self.problems),
            delete_topics: self.config.delete_topics,
            replication: self.config.replication,
            default_partitions: self.config.num_partitions,
            recorder: http::metrics::recorder(),
            ready: ready.clone(),
        }
    }

    /// How many changes metadata has had.
    pub fn metadata_changes(&self) -> i64 {
        i64::try_from(self.meta.changes()).unwrap_or(i64::MAX)
    }

    /// Host and port that clients of a listener are told.
    pub fn advertised(&self, listener: usize) -> (String, u16) {
        let Some(configured) = self.config.listeners.get(listener) else {
            return ("localhost".to_owned(), 0);
        };
        let port = match configured.advertised_port {
            0 => self.addresses.get(listener).map_or(0, SocketAddr::port),
            port => port,
        };
        (configured.advertised_host.clone(), port)
    }

    /// The listeners as they are bound and as they are advertised.
    fn listeners_text(&self) -> String {
        let each = self
            .config
            .listeners
            .iter()
            .zip(&self.addresses)
            .enumerate();
        let each = each.map(|(index, (listener, address))| {
            let (host, port) = self.advertised(index);
            format!(
                "{}://{address} (advertised as {host}:{port})",
                listener.name
            )
        });
        each.collect::<Vec<_>>().join(", ")
    }

    /// Turns true when the broker begins to stop.
    pub fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Whether the broker is stopping.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns when the broker begins to stop: what waits for more data waits no longer.
    pub async fn stopping(&self) {
        // An error means that the sender is gone, and the broker with it.
        drop(self.stopping.subscribe().wait_for(|stop| *stop).await);
    }
}

impl Opened {
    fn open(config: &Arc<BrokerConfig>, starting: &Starting) -> Result<Self, StartError> {
        let data_dir = Arc::new(DataDir::open(&config.log_dir)?);
        let meta = Arc::new(MetaStore::open(&data_dir.meta_dir())?);
        let cluster_id = cluster_id(&meta)?;
        let producer_ids = Arc::new(ProducerIds::open(Arc::clone(&meta))?);
        let flusher = Arc::new(Flusher::start(FLUSH_THREADS)?);
        let properties = Arc::new(Properties::open(
            meta.clone(),
            &config.values,
            config.node_id,
            |values| TopicConfig::defaults(values).map(drop),
        )?);
        let catalog = Catalog::open(
            Arc::clone(config),
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
}

impl Opened {
    fn problems(&self) -> Arc<Problems> {
        Problems::new(
            Arc::clone(&self.catalog),
            Arc::clone(&self.meta),
            Arc::clone(&self.data_dir),
        )
    }

    fn link_ports(&self) -> carrick_link::ports::Ports {
        mirror::ports(
            self.data_dir.path(),
            Arc::clone(&self.meta),
            Arc::clone(&self.catalog),
            Arc::clone(&self.producer_ids),
            Arc::clone(&self.groups),
        )
    }
}

/// Names what was set and does nothing here.
fn warn_of_properties(config: &BrokerConfig) {
    if !config.values.ignored().is_empty() {
        let names = config.values.ignored().join(", ");
        tracing::warn!(names, "these Kafka properties have no effect here");
    }
    for (name, note) in notes(&config.values) {
        tracing::warn!("{name} has no effect here: {note}");
    }
    if !config.unopened_listeners.is_empty() {
        let names = config.unopened_listeners.join(", ");
        tracing::warn!(
            names,
            "controller listeners are not opened: there is no quorum"
        );
    }
}

/// Says which addresses of the REST API others than this machine may reach.
fn warn_of_open_rest(addresses: &[SocketAddr]) {
    for address in open_to_others(addresses) {
        tracing::warn!(
            "the REST API on http://{address} can be reached from other machines and asks for no \
             credentials: anyone who reaches it may fail mirrors over and delete topics. Set \
             rest.listeners to a loopback address, or put a proxy that asks for credentials \
             in front of it"
        );
    }
}

fn open_to_others(addresses: &[SocketAddr]) -> impl Iterator<Item = &SocketAddr> {
    addresses
        .iter()
        .filter(|address| !address.ip().to_canonical().is_loopback())
}

fn rest_text(addresses: &[SocketAddr]) -> String {
    let urls = addresses.iter().map(|address| format!("http://{address}"));
    urls.collect::<Vec<_>>().join(", ")
}

fn fetch_sessions(config: &BrokerConfig) -> Sessions {
    Sessions::new(config.fetch_session_slots, config.fetch_session_partitions)
}

fn large_answers(config: &BrokerConfig) -> LargeAnswers {
    LargeAnswers::new(config.queued_max_request_bytes, config.request_max_bytes)
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

impl RunningBroker {
    /// The bound addresses of the REST API, in the order of `rest.listeners`.
    pub fn rest_addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// Stops cleanly: no new connections, requests in flight answered, groups stored, links ended,
    /// logs closed.
    pub async fn shutdown(self) {
        let Self {
            broker,
            server,
            http,
            ready,
            tasks,
            cleaners,
            control,
        } = self;
        tracing::info!("stopping");
        ready.set(false);
        broker.stopping.send_replace(true);
        // Members that wait for a rebalance are answered, else their connections would not end.
        tokio::join!(
            server.stop(CONNECTIONS_STOP_LIMIT),
            broker.groups.shutdown(),
            broker.transactions.shutdown()
        );
        broker.links.shutdown().await;
        http.shutdown().await;
        for task in tasks {
            task.abort();
        }
        for cleaner in cleaners {
            // They were told to stop, and hold logs until they did.
            if let Err(error) = cleaner.await {
                tracing::error!(%error, "a cleaner failed");
            }
        }
        let closing = Arc::clone(&broker);
        let closed = tokio::task::spawn_blocking(move || {
            closing.store.stop();
            closing.flusher.stop();
            closing.catalog.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "closing the logs failed");
        }
        drop(control);
        tracing::info!("stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestBroker, config};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_is_given_up_lets_the_folder_and_the_ports_go() {
        let it = TestBroker::start(&[]).await;
        it.create("orders", 3);
        let TestBroker { running, dir } = it;
        running.shutdown().await;
        let asked = watch::channel(true).1;
        let given_up = Broker::start_until(config(dir.path(), &[]), asked).await;
        assert!(matches!(given_up, Err(StartError::GivenUp)));
        let again = Broker::start(config(dir.path(), &[])).await.unwrap();
        let topic = again.broker.catalog.topic("orders").unwrap();
        assert!(
            topic
                .partitions()
                .iter()
                .all(|partition| !partition.is_offline())
        );
        assert_eq!(topic.partitions().len(), 3);
        again.shutdown().await;
    }

    #[test]
    fn an_address_is_open_to_others_unless_it_is_loopback() {
        let open = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            open_to_others(&[address]).count() == 1
        };
        for loopback in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(!open(loopback), "{loopback}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "[fd00::7]:1"] {
            assert!(open(other), "{other}");
        }
    }
}
