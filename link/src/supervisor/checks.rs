//! The supervisor's availability checks: is the source available, and is it the right cluster?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use super::health::HealthLimits;
use crate::error::Fault;
use crate::record::LinkFailure;
use crate::source::ClusterInfo;
use crate::state::{LinkErrorCode, LinkState};

/// A check that takes longer than this has failed, unless checks are farther apart.
const CHECK_TIMEOUT_MIN_MS: u64 = 1_000;

/// A refused connection is tried again sooner than this, unless back-off is longer; when it is no longer, the refusal has
/// passed.
const REFUSAL_SHOWN: Duration = Duration::from_secs(10);

/// A failed link checks no more often than this whether its source is available again.
const RECOVERY_CHECK_MIN_MS: u64 = 5_000;

impl Supervisor {
    pub(super) fn start_check(&mut self, now: Instant) {
        let (source, every_ms) = {
            let inner = self.shared.inner();
            let every_ms = inner.config.availability_check_ms;
            let at_least_ms = if inner.runs() {
                0
            } else {
                RECOVERY_CHECK_MIN_MS
            };
            (Arc::clone(&inner.source), every_ms.max(at_least_ms))
        };
        self.next_check = now + Duration::from_millis(every_ms);
        let limit_ms = every_ms.max(CHECK_TIMEOUT_MIN_MS);
        self.check = Some(Box::pin(async move {
            match tokio::time::timeout(Duration::from_millis(limit_ms), source.describe()).await {
                Ok(Ok(cluster)) => Ok(cluster),
                Ok(Err(error)) => Err(Fault::from(&error)),
                Err(_) => Err(Fault {
                    code: LinkErrorCode::TimeoutError,
                    is_retriable: true,
                    detail: format!("the source did not answer within {limit_ms} ms"),
                }),
            }
        }));
    }

    pub(super) fn on_check(&mut self, result: Result<ClusterInfo, Fault>) {
        let now_ms = self.shared.now_ms();
        match result {
            Ok(cluster) => self.on_reached(cluster, now_ms),
            Err(fault) => self.on_not_reached(fault, now_ms),
        }
    }

    pub(super) fn on_reached(&mut self, cluster: ClusterInfo, now_ms: i64) {
        self.shared.inner().seen_at_ms = Some(now_ms);
        if !self.is_same_cluster(cluster.cluster_id.as_deref(), now_ms) {
            return;
        }
        if !self.is_verified {
            self.is_verified = true;
            self.next_reconcile = Instant::now();
        }
        let has_failed = self.shared.inner().state == LinkState::Failed;
        if has_failed {
            self.beside.spawn(Arc::clone(&self.shared).recover());
            return;
        }
        let state = self.health.reached();
        if self
            .refused_until
            .is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        let is_back = {
            let mut inner = self.shared.inner();
            inner.runs() && inner.set_state(state, LinkErrorCode::NoError, String::new(), now_ms)
        };
        if is_back {
            tracing::info!(link = %self.shared.name, "the source answers again");
            self.refresh_soon();
        }
    }

    /// Fails the link if the source is another one than the one that it was made for.
    pub(super) fn is_same_cluster(&mut self, found: Option<&str>, now_ms: i64) -> bool {
        let expected = self.shared.inner().record.source_cluster_id.clone();
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                let detail = format!(
                    "the source's cluster id is '{found}', but the link was created for \
                     '{expected}'. Set bootstrap.servers to that cluster, or fail the mirrors \
                     over and delete the link"
                );
                self.is_verified = false;
                self.fail_link(LinkErrorCode::Unknown, detail, now_ms);
                false
            }
            (None, Some(found)) => {
                let learning = Arc::clone(&self.shared).learn_cluster_id(found.to_owned());
                self.beside.spawn(learning);
                true
            }
            _ => true,
        }
    }

    pub(super) fn on_not_reached(&mut self, fault: Fault, now_ms: i64) {
        let (limits, fresh_ms) = {
            let inner = self.shared.inner();
            if !inner.runs() {
                return;
            }
            let config = &inner.config;
            let limits = HealthLimits {
                failures_max: config.availability_check_failures.max(1),
                retry_timeout_ms: config.retry_timeout_ms,
            };
            (
                limits,
                i64::try_from(config.availability_check_ms).unwrap_or(i64::MAX),
            )
        };
        // A source that still answers fetches is only slow to answer checks, and one that asks for patience is slow
        // on purpose.
        let is_patient = fault.code == LinkErrorCode::TimeoutError
            && self.shared.inner().source.asks_for_patience();
        let last_answer_ms = self.running.last_answer_ms();
        if is_patient || last_answer_ms.is_some_and(|at| now_ms - at <= fresh_ms) {
            if fault.code == LinkErrorCode::AuthenticationError {
                self.on_refused(fault);
                return;
            }
            self.health.reached();
            self.shared.inner().seen_at_ms = Some(now_ms);
            return;
        }
        match self.health.failed(&fault, now_ms, limits) {
            LinkState::Failed => {
                let next = if fault.code == LinkErrorCode::AuthenticationError {
                    "Once the source accepts the credentials, resume the link"
                } else {
                    "The link recovers automatically once the source answers"
                };
                let detail = format!("{}. {next}; or fail its mirrors over", fault.detail);
                self.fail_link(fault.code, detail, now_ms);
            }
            LinkState::Unavailable => self.show_unavailable(fault, now_ms),
            LinkState::Active | LinkState::Paused => {}
        }
    }

    /// A connection was refused because of the link's or the source's identity. Others may
    /// continue: the link reports it immediately, and continues with those.
    pub(super) fn on_refused(&mut self, fault: Fault) {
        let backoff_ms = {
            let inner = self.shared.inner();
            if !inner.runs() {
                return;
            }
            inner.config.reconnect_backoff_max_ms
        };
        let shown = REFUSAL_SHOWN.max(3 * Duration::from_millis(backoff_ms));
        self.refused_until = Some(Instant::now() + shown);
        self.show_unavailable(fault, self.shared.now_ms());
    }

    fn show_unavailable(&mut self, fault: Fault, now_ms: i64) {
        let mut inner = self.shared.inner();
        let detail = fault.detail;
        if inner.set_state(LinkState::Unavailable, fault.code, detail.clone(), now_ms) {
            let (link, error) = (&self.shared.name, fault.code);
            tracing::warn!(%link, %error, "the source is unavailable: {detail}");
            drop(inner);
            self.beside
                .spawn(Arc::clone(&self.shared).save_sights(true));
        }
    }

    pub(super) fn fail_link(&mut self, error: LinkErrorCode, detail: String, now_ms: i64) {
        {
            let mut inner = self.shared.inner();
            let is_known = inner.state == LinkState::Failed && inner.error == error;
            inner.set_state(LinkState::Failed, error, detail.clone(), now_ms);
            if is_known {
                return;
            }
        }
        tracing::error!(link = %self.shared.name, %error, "link failed: {detail}");
        let failure = LinkFailure {
            error,
            detail,
            since_ms: now_ms,
        };
        self.beside
            .spawn(Arc::clone(&self.shared).fail_link(failure));
        self.next_reconcile = Instant::now();
    }
}
