//! The source cluster over TCP: its brokers, how to reach them, and the leaders of partitions.
//!
//! Connections: one for control requests, to whichever broker answers; one per leader for questions
//! about partitions, so that a slow look-up by timestamp holds up no availability check; one per
//! call of `fetch_connection`. All are opened when needed, and reopened when lost.
//!
//! A broker is found through the metadata. If none of the known brokers can be reached, the
//! bootstrap list is tried again from its beginning (KIP-899). No lock is held across an await,
//! except the slot of a connection that is being opened.

mod bootstrap;
mod coordinators;
mod leaders;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::{GroupId, NodeId, TopicName, TopicPartition};
use kafka_protocol::messages as wire;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, FRAME_BASE_MAX_BYTES, Patience, Settings};
use super::oauth::TokenSource;
use super::tls::TlsTransport;
use super::transport::{DialError, Plaintext, SocketOptions, Transport, dial};
use super::{
    BoxFuture, ClusterInfo, ClusterMetadata, EpochEnd, EpochQuery, FetchConnection, FetchRequest,
    FetchResponse, GroupCommits, GroupListing, ListedOffset, OffsetSpec, SourceBroker,
    SourceCluster, SourceError, SourceTopic, TopicConfigs, TopicSelection, describe_acls,
    describe_cluster, describe_configs, fetch, metadata,
};
use crate::acls::SourceAcls;
use crate::backoff::Curve;
use crate::config::LinkConfig;
use crate::config::security::Login;
use state::{Endpoint, State};

/// [`SourceCluster`] over TCP.
pub struct KafkaCluster {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Arc<Settings>,
    bootstrap: Vec<(String, u16)>,
    socket: SocketOptions,
    /// Time limits for connecting grow as back-off does.
    setup_timeout: Curve,
    reconnect: Curve,
    metadata_max_age: Duration,
    transport: Box<dyn Transport>,
    state: Mutex<State>,
    control: Slot,
}

/// A connection that is opened when it is first needed.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

impl KafkaCluster {
    /// A client for the source that `config` names. Connects to nothing yet.
    pub fn new(config: &LinkConfig) -> Arc<Self> {
        let connection = Arc::new(Settings {
            client_id: config.client_id.clone(),
            request_timeout: Duration::from_millis(config.request_timeout_ms),
            handshake_timeout: Duration::from_millis(
                config
                    .request_timeout_ms
                    .min(config.connection_setup_timeout_ms),
            ),
            idle_max: config.connections_max_idle_ms.map(Duration::from_millis),
            frame_max_bytes: FRAME_BASE_MAX_BYTES
                .saturating_add(config.fetch_response_max_bytes as usize)
                .min(i32::MAX as usize),
            patience: Patience::default(),
            tokens: match config.security.sasl.as_ref().map(|sasl| &sasl.login) {
                Some(Login::Token(oauth)) => Some(TokenSource::new((**oauth).clone())),
                _ => None,
            },
            security: Arc::new(config.security.clone()),
        });
        let inner = Inner {
            connection,
            bootstrap: config.bootstrap_servers.clone(),
            socket: SocketOptions {
                send_buffer_bytes: config.send_buffer_bytes,
                receive_buffer_bytes: config.receive_buffer_bytes,
            },
            setup_timeout: Curve::new(
                config.connection_setup_timeout_ms,
                config.connection_setup_timeout_max_ms,
            ),
            reconnect: Curve::new(config.reconnect_backoff_ms, config.reconnect_backoff_max_ms),
            metadata_max_age: Duration::from_millis(config.metadata_max_age_ms),
            transport: match &config.security.tls {
                Some(tls) => Box::new(TlsTransport::new(tls.clone())),
                None => Box::new(Plaintext),
            },
            state: Mutex::default(),
            control: Slot::default(),
        };
        Arc::new(Self {
            inner: Arc::new(inner),
        })
    }

    /// Closes every connection; later calls fail with `ShutDown`.
    pub fn shutdown(&self) {
        let connections = self.inner.state.lock().shut_down();
        for connection in connections {
            connection.close();
        }
    }
}

impl Drop for KafkaCluster {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl SourceCluster for KafkaCluster {
    fn describe(&self) -> BoxFuture<'_, Result<ClusterInfo, SourceError>> {
        Box::pin(async {
            let connection = self.inner.control().await?;
            let info = describe_cluster::describe_cluster(&connection).await?;
            self.inner.state.lock().learn_cluster(&info);
            Ok(info)
        })
    }

    fn metadata(
        &self,
        topics: TopicSelection,
    ) -> BoxFuture<'_, Result<ClusterMetadata, SourceError>> {
        Box::pin(async move { self.inner.metadata(&topics).await })
    }

    fn asks_for_patience(&self) -> bool {
        self.inner.connection.patience.is_asked()
    }

    fn cached_topic(&self, topic: &TopicName) -> Option<Arc<SourceTopic>> {
        self.inner
            .state
            .lock()
            .topic(topic, self.inner.metadata_max_age)
    }

    fn list_offsets(
        &self,
        queries: Vec<(TopicPartition, OffsetSpec)>,
    ) -> BoxFuture<'_, Result<Vec<ListedOffset>, SourceError>> {
        Box::pin(leaders::ask(&self.inner, queries))
    }

    fn offsets_for_leader_epoch(
        &self,
        queries: Vec<EpochQuery>,
    ) -> BoxFuture<'_, Result<Vec<EpochEnd>, SourceError>> {
        Box::pin(leaders::ask(&self.inner, queries))
    }

    fn topic_configs(
        &self,
        topics: Vec<TopicName>,
    ) -> BoxFuture<'_, Result<Vec<TopicConfigs>, SourceError>> {
        Box::pin(async move {
            let connection = self.inner.control().await?;
            describe_configs::topic_configs(&connection, &topics).await
        })
    }

    fn acls(&self) -> BoxFuture<'_, Result<SourceAcls, SourceError>> {
        Box::pin(async move {
            let connection = self.inner.control().await?;
            describe_acls::describe_acls(&connection).await
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<GroupListing, SourceError>> {
        Box::pin(self.inner.list_groups())
    }

    fn group_offsets(
        &self,
        groups: Vec<GroupId>,
    ) -> BoxFuture<'_, Result<Vec<GroupCommits>, SourceError>> {
        Box::pin(self.inner.group_offsets(groups))
    }

    fn fetch_connection(
        &self,
        broker: NodeId,
        lane: u32,
    ) -> BoxFuture<'_, Result<Arc<dyn FetchConnection>, SourceError>> {
        Box::pin(async move {
            let connection = self.inner.connect_to(broker).await?;
            let version = connection.version::<wire::FetchRequest>()?;
            tracing::debug!(%broker, lane, version, "fetch connection opened");
            let cluster = self.inner.clone();
            let opened: Arc<dyn FetchConnection> = Arc::new(BrokerFetch {
                connection,
                broker,
                version,
                cluster,
            });
            Ok(opened)
        })
    }
}

impl Inner {
    async fn metadata(
        self: &Arc<Self>,
        topics: &TopicSelection,
    ) -> Result<ClusterMetadata, SourceError> {
        let connection = self.control().await?;
        let answer = metadata::metadata(&connection, topics).await;
        if let Err(SourceError::Broker { code, .. }) = &answer
            && *code == carrick_protocol::error_code::ErrorCode::REBOOTSTRAP_REQUIRED
        {
            // KIP-1102: these brokers no longer know the cluster.
            self.state.lock().forget_brokers();
            *self.control.lock().await = None;
        }
        let answer = answer?;
        let mut state = self.state.lock();
        state.learn_cluster(&answer.cluster);
        state.learn_topics(&answer.topics, *topics == TopicSelection::All);
        Ok(answer)
    }

    /// Topics from the cache, after asking for those that it lacks.
    async fn ensure_topics(
        self: &Arc<Self>,
        topics: &BTreeSet<&TopicName>,
    ) -> Result<(), SourceError> {
        let missing: Vec<TopicName> = {
            let state = self.state.lock();
            let lacks = |topic: &&&TopicName| state.topic(topic, self.metadata_max_age).is_none();
            topics
                .iter()
                .filter(lacks)
                .map(|topic| (*topic).clone())
                .collect()
        };
        if !missing.is_empty() {
            self.metadata(&TopicSelection::Names(missing)).await?;
        }
        Ok(())
    }

    /// The pooled connection to a leader.
    async fn leader(&self, broker: NodeId) -> Result<Arc<Connection>, SourceError> {
        let slot = self.state.lock().slot(broker)?;
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.connect_to(broker).await?);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A new connection to a broker that the metadata names, once its back-off has passed.
    async fn connect_to(&self, broker: NodeId) -> Result<Connection, SourceError> {
        let (address, not_before) = {
            let state = self.state.lock();
            (
                state.broker(broker)?,
                state.not_before(&Endpoint::Broker(broker)),
            )
        };
        wait_until(not_before).await;
        self.connect(&address).await
    }

    /// A new connection to a known broker, immediately.
    async fn connect(&self, broker: &SourceBroker) -> Result<Connection, SourceError> {
        let endpoint = Endpoint::Broker(broker.id);
        let opened = self.open(&endpoint, &broker.host, broker.port).await;
        self.settle(&endpoint, opened.is_ok());
        if let Err(OpenError::Source(SourceError::Authentication { .. })) = &opened {
            // A source that refuses us now must not seem available because of an earlier
            // connection.
            *self.control.lock().await = None;
        }
        opened.map_err(|error| match error {
            OpenError::Dial(DialError::Unresolved(detail) | DialError::Failed(detail)) => {
                let SourceBroker { id, host, port, .. } = broker;
                SourceError::BrokerConnectFailed {
                    broker: *id,
                    peer: format!("{host}:{port}"),
                    detail,
                }
            }
            OpenError::Source(error) => error,
        })
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        host: &str,
        port: u16,
    ) -> Result<Connection, OpenError> {
        let limit = {
            let state = self.state.lock();
            state.check_running()?;
            self.setup_timeout
                .delay(state.failures(endpoint).saturating_add(1))
        };
        let peer = format!("{host}:{port}");
        if let Some(detail) = self.connection.security.fault.clone() {
            return Err(SourceError::Authentication { peer, detail }.into());
        }
        let stream = dial(host, port, self.socket, limit)
            .await
            .map_err(OpenError::Dial)?;
        let securing = self.transport.secure(stream, &peer, host);
        let io = timeout(limit, securing)
            .await
            .unwrap_or_else(|_| Err(late(&peer, limit)))?;
        let connection = Connection::open(io, peer, self.connection.clone()).await?;
        self.state.lock().opened(connection.closer())?;
        Ok(connection)
    }

    fn settle(&self, endpoint: &Endpoint, is_ok: bool) {
        self.state.lock().settle(endpoint, is_ok, &self.reconnect);
    }
}

fn late(peer: &str, limit: Duration) -> SourceError {
    SourceError::Timeout {
        peer: peer.to_owned(),
        what: "the TLS handshake (is this a Kafka broker's TLS listener?)".to_owned(),
        limit_ms: limit.as_millis().try_into().unwrap_or(u64::MAX),
    }
}

/// Why [`Inner::open`] has no connection.
enum OpenError {
    Dial(DialError),
    Source(SourceError),
}

impl From<SourceError> for OpenError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

async fn wait_until(instant: Option<Instant>) {
    if let Some(instant) = instant {
        sleep_until(instant).await;
    }
}

/// [`FetchConnection`] over TCP.
struct BrokerFetch {
    connection: Connection,
    broker: NodeId,
    version: i16,
    cluster: Arc<Inner>,
}

impl FetchConnection for BrokerFetch {
    fn broker(&self) -> NodeId {
        self.broker
    }

    fn fetch_version(&self) -> i16 {
        self.version
    }

    fn round_trip(&self) -> Duration {
        self.connection.round_trip()
    }

    fn fetch(
        &self,
        request: FetchRequest,
    ) -> BoxFuture<'static, Result<FetchResponse, SourceError>> {
        let version = request.version;
        let wait = Duration::from_millis(request.limits.max_wait_ms.into());
        let reply = self
            .connection
            .send(&fetch::to_wire(&request), version, wait);
        let (cluster, broken) = (self.cluster.clone(), self.connection.breaker());
        Box::pin(async move {
            let response = fetch::from_wire(reply.await?, version)
                .map_err(|detail| broken.broken("Fetch", detail))?;
            if !response.endpoints.is_empty() {
                cluster.state.lock().learn_brokers(&response.endpoints);
            }
            Ok(response)
        })
    }

    fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }
}
