//! Opens a broker, starts it and stops it.
//!
//! Start order, each step needs the one before: configuration → ports are taken, HTTP says how far
//! the start is → data folder (lock, format version) → metadata (RocksDB) → cluster identity →
//! flusher → topics and their logs → groups → links → listeners. [`RunningBroker::shutdown`] goes
//! the other way: listeners stop accepting, requests in flight are answered, links and groups stop,
//! logs are closed cleanly, and the data folder's lock is released last.

mod access;
mod config;
mod opened;
#[cfg(test)]
mod tests;
mod users;
mod warnings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use carrick_link::LinkManager;
use carrick_protocol::ids::NodeId;
use carrick_storage::disk::DiskError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::{Access, Acls};
use crate::audit::Audit;
use crate::auth::Users;
use crate::broker::{Broker, Endpoint, LargeAnswers};
use crate::cluster::alone::Alone;
use crate::config::properties::StoreError;
use crate::control::Control;
use crate::fetch_session::Sessions;
use crate::group::coordinator::GroupStartError;
use crate::http::config::RestListener;
use crate::http::server::HttpListeners;
use crate::http::{HttpServer, Ready, Shared};
use crate::journal::JournalError;
use crate::metadata::MetadataError;
use crate::pool::FairPool;
use crate::quota::Quotas;
use crate::server::{Bound, Listener, Server};
use crate::starting::Starting;
use crate::topic::{OnDemand, TopicError};
use crate::{cleaner, housekeeping, problems, tls};

pub use config::Config;
use opened::Opened;
pub use users::UsersOnDisk;

/// A fetch that takes less memory may always wait for data.
const UNCOUNTED_FETCH_BYTES: usize = 64 << 10;

/// How long connections may take to answer what they have read, at shutdown.
const CONNECTIONS_STOP_LIMIT: Duration = Duration::from_secs(10);

/// Why the broker didn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener can't be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        address: String,
        source: std::io::Error,
    },
    /// The audit log can't be opened.
    #[error(
        "cannot open the audit log {}: {source}\n  audit.log.file must name a file that this user \
         may create and write, or be left out", path.display()
    )]
    AuditLog {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    /// The data folder can't be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The metadata can't be opened.
    #[error(transparent)]
    Meta(#[from] MetadataError),
    /// The transactions can't be loaded.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    /// It was cancelled before the logs were open.
    #[error("the start was cancelled")]
    GivenUp,
    /// The system has no threads left.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// A broker that serves clients.
pub struct RunningBroker {
    pub broker: Arc<Broker>,
    server: Server,
    http: HttpServer,
    ready: Ready,
    tasks: Vec<JoinHandle<()>>,
    cleaners: Vec<JoinHandle<()>>,
    /// REST and links run here.
    control: Control,
}

/// Starts a broker; when this returns, clients are served. Must run inside a tokio runtime. It is
/// cancelled if `stop` turns true before the logs are open. HTTP answers from the beginning; the
/// Kafka listeners accept connections once they are served.
///
/// # Errors
/// What failed; nothing keeps running and the data folder is unlocked.
pub async fn start(
    config: Config,
    stop: watch::Receiver<bool>,
) -> Result<RunningBroker, StartError> {
    warnings::of_properties(&config);
    let bind_error = |(address, source)| StartError::Bind { address, source };
    let bound = Bound::bind(&config.server.listeners)
        .await
        .map_err(bind_error)?;
    let audit = Audit::start(&config.audit).map_err(|source| StartError::AuditLog {
        path: config.audit.file.clone().unwrap_or_default(),
        source,
    })?;
    let control = Control::start()?;
    let rest = config.rest.clone();
    let http = control.run(async move { HttpListeners::bind(&rest).await });
    let http = http.await.map_err(bind_error)?;
    access::of_rest(&config.rest, &http.addresses());
    let rest = rest_text(&http.addresses());
    let starting = Arc::new(Starting::new(stop));
    let http = {
        let _there = control.enter();
        http.serve(&starting)?
    };
    let opened = tokio::task::block_in_place(|| Opened::open(&config, &starting))?;
    warnings::of_secrets(&opened.vault);
    starting.step("starting links", 0);
    let links = LinkManager::start(opened.link_ports(config.authorizer.is_some()));
    let links = control.run(links).await?;
    let endpoints = endpoints(&config.server.listeners, &bound.addresses);
    let listeners = bound.listen().map_err(bind_error)?;
    let broker = Arc::new(assembled(&config, opened, links, (endpoints, audit)));
    let tasks = vec![
        problems::watch(&broker.problems),
        housekeeping::retention(&broker.hosted, &config.partitions),
        housekeeping::producer_expiry(&broker.hosted, &config.partitions),
        tls::watch(config.server.tls()),
        housekeeping::follow(&broker.metadata, follower(&broker.quotas, Quotas::catch_up)),
        housekeeping::follow(
            &broker.metadata,
            follower(broker.access.acls(), Acls::catch_up),
        ),
        housekeeping::follow(&broker.metadata, follower(&broker.users, Users::catch_up)),
    ];
    let cleaners = cleaner::start(
        &config.cleaner,
        &broker.hosted,
        &broker.properties,
        &broker.stop_signal(),
    );
    let ready = Ready::default();
    http.open(Shared::of(&broker, &ready, http.policy()));
    let server = Server::start(listeners, &broker, &config.server)?;
    ready.set(true);
    warnings::of_listeners(&config, &broker.endpoints);
    warnings::of_administrators(&config, &broker.access);
    let listeners: Vec<_> = broker.endpoints.iter().map(Endpoint::to_string).collect();
    let listeners = listeners.join(", ");
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

/// Applies what others have changed, as long as the broker exists.
fn follower<T: Send + Sync + 'static>(
    copy: &Arc<T>,
    catch_up: fn(&T),
) -> impl Fn() + Send + Sync + 'static {
    let copy = Arc::downgrade(copy);
    move || {
        if let Some(copy) = copy.upgrade() {
            catch_up(&copy);
        }
    }
}

fn assembled(
    config: &Config,
    opened: Opened,
    links: Arc<LinkManager>,
    (endpoints, audit): (Vec<Endpoint>, Arc<Audit>),
) -> Broker {
    let limits = config.requests;
    let addresses = endpoints.iter().map(|it| (it.host.clone(), it.port));
    let view = Alone::new(
        NodeId(config.node_id),
        config.rack.as_deref(),
        addresses,
        Arc::clone(&opened.hosted),
    );
    Broker {
        cluster_id: opened.cluster_id,
        vault: opened.vault,
        node_id: NodeId(config.node_id),
        endpoints,
        problems: problems::Problems::new(
            Arc::clone(&opened.hosted),
            opened.metadata.clone(),
            opened.journal.clone(),
            Arc::clone(&opened.data_dir),
            config
                .server
                .tls()
                .into_iter()
                .chain(config.rest.tls())
                .collect(),
        ),
        audit,
        access: Arc::new(Access::new(opened.acls, config.authorizer.clone())),
        data_dir: opened.data_dir,
        properties: opened.properties,
        metadata: opened.metadata,
        topics: opened.topics,
        hosted: opened.hosted,
        view: Arc::new(view),
        topic_rules: config.topics,
        producer_ids: opened.producer_ids,
        flusher: opened.flusher,
        groups: opened.groups,
        transactions: opened.transactions,
        journal: opened.journal,
        fetch_sessions: Sessions::of(&config.values),
        on_demand: OnDemand::default(),
        limits,
        large_answers: LargeAnswers::new(limits.queued_max_bytes, limits.request_max_bytes),
        waiting_fetches: FairPool::new(limits.queued_max_bytes / 4, UNCOUNTED_FETCH_BYTES),
        users: opened.users,
        quotas: opened.quotas,
        heavy: opened.heavy,
        links,
        stop: watch::channel(false).0,
    }
}

fn endpoints(listeners: &[Listener], bound: &[SocketAddr]) -> Vec<Endpoint> {
    let each = listeners.iter().zip(bound);
    each.map(|(listener, bound)| listener.endpoint(*bound))
        .collect()
}

fn rest_text(listeners: &[RestListener]) -> String {
    let each = listeners.iter();
    let urls = each.map(|it| format!("{}://{}", it.scheme(), it.address));
    urls.collect::<Vec<_>>().join(", ")
}

impl RunningBroker {
    /// The bound addresses of the REST API, in the order of `rest.listeners`.
    #[cfg(test)]
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
        broker.stop.send_replace(true);
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
            closing.audit.stop();
            closing.journal.stop();
            closing.flusher.stop();
            closing.hosted.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "closing the logs failed");
        }
        drop(control);
        tracing::info!("stopped");
    }
}
