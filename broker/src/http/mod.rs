//! The HTTP listener: REST v3, health, metrics. No authentication: keep it on loopback.
//!
//! Invariants:
//! - Every answer that is not a success has the body of [`model::ErrorBody`].
//! - A web page that an operator happens to have open can't do anything here: see [`guard`].
//! - Every resource that a client may use is limited in advance: see [`limits`], [`connections`],
//!   [`gate`]. Health, readiness, promotions and failovers find room whatever else is requested.
//! - Handlers resolve names, call one method of the link manager or of what the door returns, and
//!   map the answer. Work that blocks on a disk runs on the blocking pool.
//!
//! Routes, below `/kafka/v3/clusters/{cluster_id}`: `links` ([`links`], [`link_configs`],
//! [`groups`]), `mirrors` ([`mirrors`], [`mirror_actions`], [`verify`]), `topics` ([`topics`],
//! [`partitions`], [`topic_configs`]), `secrets` ([`secrets`]);
//! outside it [`clusters`], [`health`] and [`metrics`].

pub mod clusters;
pub mod connections;
pub mod error;
pub mod extract;
pub mod gate;
pub mod groups;
pub mod guard;
pub mod health;
pub mod limits;
pub mod link_configs;
pub mod links;
pub mod listeners;
pub mod metrics;
pub mod mirror_actions;
pub mod mirror_creation;
pub mod mirrors;
pub mod model;
pub mod partitions;
mod recorded;
pub mod secrets;
pub mod server;
#[cfg(test)]
pub(crate) mod tests;
pub mod topic_configs;
pub mod topics;
pub mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use carrick_link::LinkManager;
use carrick_link::verb::Verb;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::api::door::Door;
use crate::broker::Broker;
use crate::config::Properties;
use crate::principal::Principal;
use crate::problems::Problems;
use crate::starting::Starting;
use crate::topic::TopicRules;
use crate::transaction;
use error::ApiError;
use gate::{Gate, pass};
use limits::BODY_MAX_BYTES;
use mirror_actions::on;
pub use server::HttpServer;

/// What handlers reach.
#[derive(Clone)]
pub struct App {
    /// This cluster's id.
    pub cluster_id: Arc<str>,
    /// Links and mirrors, which `/metrics` counts. Other handlers have them from the door.
    pub links: Arc<LinkManager>,
    /// By which topics, links and mirrors are looked up.
    pub door: Arc<Door>,
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
}

impl App {
    /// What handlers reach of a broker.
    pub fn of(broker: &Broker, ready: &Ready) -> Self {
        Self {
            cluster_id: Arc::clone(&broker.cluster_id),
            links: Arc::clone(&broker.links),
            door: Arc::new(Door::of(broker, Principal::rest())),
            transactions: Arc::clone(&broker.transactions),
            problems: Arc::clone(&broker.problems),
            properties: Arc::clone(&broker.properties),
            topic_rules: broker.topic_rules,
            recorder: metrics::recorder(),
            ready: ready.clone(),
        }
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

/// The routes of a broker that is starting: that it lives, and how far it is.
fn starting_router(starting: Arc<Starting>, loopback: bool) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics::scrape_process))
        .fallback(health::starting)
        .layer(from_fn_with_state(guard::Guard { loopback }, guard::guard))
        .with_state(starting)
}

/// All routes. `loopback` is whether the listener can only be reached from this machine.
pub fn router(app: App, gate: &Gate, loopback: bool) -> Router {
    let verbs = Verb::ALL.into_iter().fold(Router::new(), |verbs, verb| {
        let path = format!("/links/{{link}}/mirrors:{}", verb.name());
        verbs.route(&path, on(verb, gate))
    });
    let cluster = Router::new()
        .route("/", get(clusters::read))
        .route("/links", get(links::list).post(links::create))
        .route("/links/{link}", get(links::read).delete(links::delete))
        .route("/links/{link}/groups", get(groups::list))
        .route("/links/{link}/groups/", get(groups::read_unnamed))
        .route("/links/{link}/groups/{group}", get(groups::read))
        .route("/links/{link}/configs", get(link_configs::list))
        .route("/links/{link}/configs:alter", put(link_configs::alter))
        .route(
            "/links/{link}/configs/{name}",
            get(link_configs::read)
                .put(link_configs::update)
                .delete(link_configs::reset),
        )
        .route(
            "/links/{link}/mirrors",
            get(mirrors::list).post(mirrors::create),
        )
        .route(
            "/links/{link}/mirrors:create",
            post(mirror_creation::create),
        )
        .route(
            "/links/{link}/mirrors/{topic}",
            get(mirrors::read).post(verify::verify),
        )
        .route("/links/{link}/mirrors/{topic}/report", get(mirrors::report))
        .route("/links/{link}/reports", get(mirrors::reports))
        .route("/secrets", get(secrets::read))
        .route("/secrets:rotate", post(secrets::rotate))
        .merge(verbs)
        .merge(topic_routes())
        .route_layer(from_fn_with_state(app.clone(), right_cluster));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::scrape))
        .route("/kafka/v3/clusters", get(clusters::list))
        .nest("/kafka/v3/clusters/{cluster_id}", cluster)
        .fallback(async || ApiError::no_such_route())
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(from_fn_with_state(gate.clone(), pass))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(guard::Guard { loopback }, guard::guard))
        .with_state(app)
}

/// The routes of topics, below the cluster.
fn topic_routes() -> Router<App> {
    Router::new()
        .route("/topics", get(topics::list).post(topics::create))
        .route("/topics/{topic}", get(topics::read).delete(topics::delete))
        .route("/topics/{topic}/partitions", get(partitions::list))
        .route(
            "/topics/{topic}/partitions/{partition}",
            get(partitions::read),
        )
        .route("/topics/{topic}/configs", get(topic_configs::list))
        .route("/topics/{topic}/configs/{name}", get(topic_configs::read))
}

/// Refuses paths that name another cluster.
async fn right_cluster(
    State(app): State<App>,
    extract::Path(path): extract::Path<clusters::ClusterPath>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if *path.cluster_id == *app.cluster_id {
        return Ok(next.run(request).await);
    }
    let message = format!("Cluster {} cannot be found.", path.cluster_id);
    Err(ApiError::new(StatusCode::NOT_FOUND, 404, message))
}
