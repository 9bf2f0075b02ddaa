//! The HTTP listener: REST v3, health, metrics.
//!
//! Invariants:
//! - Every answer that is not a success has the body of [`model::ErrorBody`].
//! - Who calls is known before a body is read, if the settings ask for it: see [`authn`].
//! - A web page that an operator happens to have open can't do anything here: see [`guard`].
//! - Every resource that a client may use is limited in advance: see [`limits`], [`connections`],
//!   [`gate`]. Health, readiness, promotions and failovers find room whatever else is requested.
//! - Handlers resolve names, call one method of the link manager or of what the door returns, and
//!   map the answer. Work that blocks on a disk runs on the blocking pool.
//!
//! - A handler has the door of its request's caller ([`App`]), and no other.
//!
//! [`routes`] is the list of routes.

mod app;
pub mod authn;
pub mod caller;
pub mod clusters;
pub mod config;
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
pub mod metrics;
pub mod mirror_actions;
pub mod mirror_creation;
pub mod mirrors;
pub mod model;
pub mod noted;
pub mod partitions;
mod recorded;
pub mod routes;
pub mod secrets;
pub mod server;
#[cfg(test)]
pub(crate) mod tests;
pub mod topic_configs;
pub mod topics;
pub mod users;
pub mod verify;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::starting::Starting;
pub use app::{App, Ready, Shared};
use authn::{Authn, Policy, authenticate};
use error::ApiError;
use gate::{Gate, pass};
use guard::Guard;
use limits::BODY_MAX_BYTES;
use noted::{Entry, enter};
use routes::ROUTES;
pub use server::HttpServer;

/// The routes of a broker that is starting: that it lives, and how far it is. It does not know users
/// yet, so metrics are there only for everybody.
fn starting_router(starting: Arc<Starting>, guard: &Guard, policy: &Policy) -> Router {
    let router = Router::new().route("/healthz", get(health::healthz));
    let router = match policy.methods.is_empty() || policy.are_metrics_public {
        true => router.route("/metrics", get(metrics::scrape_process)),
        false => router,
    };
    router
        .fallback(health::starting)
        .layer(from_fn_with_state(guard.clone(), guard::guard))
        .with_state(starting)
}

/// All routes, on a listener with this guard.
pub fn router(authn: &Authn, gate: &Gate, guard: &Guard) -> Router {
    let shared = &authn.shared;
    let routes = ROUTES.iter().fold(Router::new(), |router, route| {
        let entry = Entry {
            shared: shared.clone(),
            route,
        };
        let handler = (route.handler)(gate).route_layer(from_fn_with_state(entry, enter));
        router.route(&route.path(), handler)
    });
    routes
        .fallback(async || ApiError::no_such_route())
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(from_fn_with_state(gate.clone(), pass))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(authn.clone(), authenticate))
        .layer(from_fn_with_state(guard.clone(), guard::guard))
        .with_state(shared.clone())
}
