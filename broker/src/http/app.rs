//! What handlers reach: [`Shared`] without asking who calls, [`App`] for the caller of one request.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use carrick_link::LinkManager;
use metrics_exporter_prometheus::PrometheusHandle;

use super::authn::Policy;
use super::error::ApiError;
use super::{caller::Caller, metrics, noted::Noted};
use crate::api::door::Door;
use crate::broker::Broker;
use crate::config::Properties;
use crate::problems::Problems;
use crate::topic::TopicRules;
use crate::transaction;

/// What all requests share.
#[derive(Clone)]
pub struct Shared {
    /// This cluster's id.
    pub cluster_id: Arc<str>,
    /// The running broker, to which [`App`] makes the door.
    broker: Arc<Broker>,
    /// Links and mirrors, which `/metrics` counts. Other handlers have them from the door.
    pub links: Arc<LinkManager>,
    /// Transactions, which `/metrics` counts.
    pub transactions: Arc<transaction::Coordinator>,
    pub problems: Arc<Problems>,
    /// How topics are created, and whether they may go.
    pub topic_rules: TopicRules,
    /// The current properties, which give configs their defaults.
    pub properties: Arc<Properties>,
    /// The recorder that the rest of the broker's metrics go to.
    pub recorder: PrometheusHandle,
    /// Whether Kafka clients are served.
    pub ready: Ready,
    /// `/metrics` needs no right.
    pub are_metrics_public: bool,
}

impl Shared {
    /// What handlers reach of a broker.
    pub fn of(broker: &Arc<Broker>, ready: &Ready, policy: &Policy) -> Self {
        Self {
            cluster_id: Arc::clone(&broker.cluster_id),
            links: Arc::clone(&broker.links),
            transactions: Arc::clone(&broker.transactions),
            problems: Arc::clone(&broker.problems),
            properties: Arc::clone(&broker.properties),
            topic_rules: broker.topic_rules,
            recorder: metrics::recorder(),
            ready: ready.clone(),
            are_metrics_public: policy.are_metrics_public,
            broker: Arc::clone(broker),
        }
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }
}

/// What the caller of one request reaches: whatever has a name, through the door.
#[derive(Clone)]
pub struct App {
    shared: Shared,
    /// By which topics, links, mirrors and groups are looked up, as far as the caller may.
    pub door: Arc<Door>,
    /// What the audit log says of the request.
    pub noted: Arc<Noted>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl FromRequestParts<Shared> for App {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>();
        let noted = parts.extensions.get::<Arc<Noted>>();
        let (Some(caller), Some(noted)) = (caller, noted) else {
            return Err(ApiError::internal("the request has no caller"));
        };
        let door = Door::for_rest(
            &shared.broker,
            caller.principal.clone(),
            caller.host,
            noted.action(),
        );
        Ok(Self {
            shared: shared.clone(),
            door: Arc::new(door),
            noted: Arc::clone(noted),
        })
    }
}

/// Whether Kafka clients are served: set by the broker, shown by `/readyz`.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether clients are served.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
