//! The tasks that run promotions to their end, and the requests that wait for them.
//!
//! A promotion continues until its mirror is cut, cancelled or refused, whether or not anything
//! waits for it. Invariant: one task at a time does that for a mirror ([`Pursuit`]). A repeated
//! request for the same promotion waits for that task, so repeating it costs nothing.

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::TopicName;

use super::outcome::Outcomes;
use crate::error::LinkError;
use crate::ports::Obstacle;
use crate::shared::LinkShared;
use crate::state::MirrorStatus;

/// How long the answer to a failover may wait until the failover is stored.
const STORING_MAX: Duration = Duration::from_secs(5);

/// Obstacles that pass within this time do not stop a promotion, milliseconds.
const OBSTACLE_MAX_MS: i64 = 2_000;

/// How often to check that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The right to run some promotions to their end; released on drop.
pub(super) struct Pursuit {
    shared: Arc<LinkShared>,
    topics: Vec<TopicName>,
}

impl Pursuit {
    /// Claims the unclaimed ones of `topics`; the others are the second value.
    pub(super) fn begin(
        shared: &Arc<LinkShared>,
        topics: Vec<TopicName>,
    ) -> (Self, Vec<TopicName>) {
        let mut inner = shared.inner();
        let (topics, others) = topics.into_iter().partition(|topic| {
            let mirror = inner.mirrors.get_mut(topic);
            mirror.is_none_or(|mirror| !std::mem::replace(&mut mirror.is_pursued, true))
        });
        drop(inner);
        let shared = Arc::clone(shared);
        (Self { shared, topics }, others)
    }

    pub(super) fn topics(&self) -> &[TopicName] {
        &self.topics
    }

    /// Shows the outcomes.
    pub(super) fn show(self, outcomes: &Outcomes) {
        note(&self.shared, outcomes);
    }
}

impl Drop for Pursuit {
    fn drop(&mut self) {
        let mut inner = self.shared.inner();
        for topic in &self.topics {
            if let Some(mirror) = inner.mirrors.get_mut(topic) {
                mirror.is_pursued = false;
            }
        }
    }
}

/// Whether a task promotes one of these.
pub(super) fn are_pursued(shared: &LinkShared, topics: &[TopicName]) -> bool {
    let inner = shared.inner();
    let mut mirrors = topics.iter().filter_map(|topic| inner.mirrors.get(topic));
    mirrors.any(|mirror| mirror.is_pursued)
}

/// Shows why mirrors were not cut.
pub(super) fn note(shared: &LinkShared, outcomes: &Outcomes) {
    let mut inner = shared.inner();
    for (topic, outcome) in outcomes {
        if let Some(mirror) = inner.mirrors.get_mut(topic) {
            mirror.not_cut = outcome.as_ref().err().cloned();
        }
    }
}

/// Clears the reason: it is tried again.
pub(super) fn forget(shared: &LinkShared, topics: &[TopicName]) {
    let mut inner = shared.inner();
    for topic in topics {
        if let Some(mirror) = inner.mirrors.get_mut(topic) {
            mirror.not_cut = None;
        }
    }
}

/// Why the last attempt didn't cut it.
pub(super) fn not_cut(shared: &LinkShared, topic: &TopicName) -> Option<LinkError> {
    shared.inner().mirrors.get(topic)?.not_cut.clone()
}

/// Those among `topics` that can't be brought up to date because of this side, and why. An obstacle
/// that may be transient has [`OBSTACLE_MAX_MS`] to pass.
pub(super) fn blocked(shared: &LinkShared, topics: &[TopicName]) -> Outcomes {
    let now_ms = shared.now_ms();
    let obstacle = |topic: &TopicName| {
        let obstacles = shared.ports.target.obstacles(topic);
        let mut obstacles = obstacles.into_iter();
        let is_in_the_way = |obstacle: &Obstacle| {
            obstacle.is_lasting || now_ms - obstacle.since_ms >= OBSTACLE_MAX_MS
        };
        let (partition, obstacle) = obstacles.find(|(_, obstacle)| is_in_the_way(obstacle))?;
        let blocked = LinkError::Blocked {
            topic: topic.clone(),
            partition,
            detail: obstacle.detail,
        };
        Some((topic.clone(), Err(blocked)))
    };
    topics.iter().filter_map(obstacle).collect()
}

/// Returns after `wait`; never, if that is `None`.
pub(super) async fn elapsed(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Returns after `wait` and once the cuts of all these are ordered or done in the store; for the
/// latter it waits at most [`STORING_MAX`].
pub(super) async fn elapsed_and_stored(
    shared: &LinkShared,
    topics: &[TopicName],
    wait: Option<Duration>,
) {
    elapsed(wait).await;
    let is_stored = || {
        let inner = shared.inner();
        let mut mirrors = topics.iter().filter_map(|topic| inner.mirrors.get(topic));
        mirrors.all(|mirror| is_cut_or_pending(mirror.record.status))
    };
    let stored = async {
        while !is_stored() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // After the timeout the answer shows the present state.
    let _ = tokio::time::timeout(STORING_MAX, stored).await;
}

fn is_cut_or_pending(status: MirrorStatus) -> bool {
    matches!(status, MirrorStatus::PendingStopped | MirrorStatus::Stopped)
}

/// The outcomes of operations that continue after nothing waits for them any more.
pub(super) fn under_way(shared: &LinkShared, topics: &[TopicName]) -> Outcomes {
    let inner = shared.inner();
    let outcome = |topic: &TopicName| {
        let Some(mirror) = inner.mirrors.get(topic) else {
            return Err(LinkError::NotAMirror(topic.to_string()));
        };
        match &mirror.not_cut {
            Some(error) => Err(error.clone()),
            None if is_cut_or_pending(mirror.record.status) => Ok(None),
            None => Err(LinkError::UnderWay {
                topic: topic.clone(),
            }),
        }
    };
    let outcomes = topics.iter().map(|topic| (topic.clone(), outcome(topic)));
    outcomes.collect()
}
