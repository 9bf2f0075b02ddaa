//! Links and mirrors as they are shown.

use carrick_protocol::ids::TopicName;

use crate::description::{
    BeyondCuts, LagSummary, LinkDescription, MirrorDescription, PartitionLag,
};
use crate::ports::TopicCatalog;
use crate::report::AfterCut;
use crate::shared::{Inner, LinkShared, Mirror};
use crate::state::{LinkState, MirrorError, MirrorStatus};
use crate::topic_configs;
use crate::verb::CutKind;

/// Figures of a silent source count as current for two long polls and this, milliseconds.
const FRESH_BEYOND_POLLS_MS: i64 = 1_000;

/// The age up to which figures of this link count as current, milliseconds.
pub(crate) fn fresh_ms(inner: &Inner) -> i64 {
    2 * i64::from(inner.config.fetch_wait_max_ms) + FRESH_BEYOND_POLLS_MS
}

pub(crate) fn link(shared: &LinkShared) -> LinkDescription {
    let inner = shared.inner();
    let is_live = |mirror: &&Mirror| mirror.record.status != MirrorStatus::Stopped;
    let bootstrap: Vec<String> = inner
        .config
        .bootstrap_servers
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    let (now_ms, fresh_ms) = (shared.now_ms(), fresh_ms(&inner));
    let mut lag = LagSummary::default();
    let mut blocked = Blocked::default();
    for mirror in inner.mirrors.values() {
        for partition in lags(mirror, now_ms, fresh_ms) {
            lag.add(&partition);
            blocked.add(mirror, &partition);
        }
    }
    let problem = blocked.problem().or_else(|| match inner.state {
        LinkState::Active => inner.no_metadata.clone(),
        _ => None,
    });
    LinkDescription {
        lag,
        beyond_cuts: beyond_cuts(&inner),
        name: shared.name.to_string(),
        link_id: inner.record.id.to_string(),
        source_cluster_id: inner.record.source_cluster_id.clone(),
        bootstrap: bootstrap.join(","),
        state: inner.state,
        error: inner.error,
        error_detail: inner.error_detail.clone(),
        problem,
        since_ms: inner.since_ms,
        source_seen_at_ms: inner.seen_at_ms,
        created_ms: inner.record.created_ms,
        mirror_count: inner.mirrors.values().filter(is_live).count(),
        groups: shared.groups.count(),
        topics: inner.mirrors.keys().map(ToString::to_string).collect(),
        tasks: inner
            .tasks
            .iter()
            .map(|task| task.describe(inner.state, inner.since_ms))
            .collect(),
    }
}

/// Records that the source holds beyond the cuts, for the cuts that were checked.
fn beyond_cuts(inner: &Inner) -> Vec<BeyondCuts> {
    let beyond = inner.mirrors.values().filter_map(|mirror| {
        let after_cut = mirror.after_cut.as_ref()?;
        Some(BeyondCuts {
            topic: mirror.record.topic.to_string(),
            records: after_cut.records(),
            seen_at_ms: after_cut.seen_at_ms,
        })
    });
    beyond.collect()
}

/// A mirror as `describe` shows it, without what only the catalog knows ([`with_configs`]).
pub(crate) fn mirror(inner: &Inner, mirror: &Mirror, now_ms: i64) -> MirrorDescription {
    let record = &mirror.record;
    let status = record.status.under(inner.state);
    let status_since_ms = if status == record.status {
        record.status_since_ms
    } else {
        inner.since_ms.max(record.status_since_ms)
    };
    let fresh_ms = fresh_ms(inner);
    let lags = lags(mirror, now_ms, fresh_ms);
    let mut blocked = Blocked::default();
    lags.iter().for_each(|lag| blocked.add(mirror, lag));
    let (error, error_detail) = match blocked.problem() {
        Some(problem) if record.error == MirrorError::NoError => (MirrorError::Unknown, problem),
        _ => (record.error, error_detail(inner, mirror, status)),
    };
    MirrorDescription {
        link: record.link.to_string(),
        topic: record.topic.to_string(),
        source_topic: record.source_topic.to_string(),
        source_topic_id: Some(record.source_topic_id)
            .filter(|id| !id.is_zero())
            .map(|id| id.to_string()),
        num_partitions: record.partitions,
        status,
        status_since_ms,
        error,
        error_detail,
        stop_error: mirror.not_cut.as_ref().map(ToString::to_string),
        next_steps: next_steps(status, mirror, inner.state),
        created_ms: record.created_ms,
        lag: LagSummary::of(&lags),
        lags,
        records_beyond_cut: mirror.after_cut.as_ref().map(AfterCut::records),
        kept_configs: Vec::new(),
    }
}

/// Adds the configs of its topic. Call it without a link's lock: it asks the catalog.
pub(crate) fn with_configs(
    mut mirror: MirrorDescription,
    catalog: &dyn TopicCatalog,
) -> MirrorDescription {
    if let Ok(topic) = TopicName::new(&mirror.topic) {
        mirror.kept_configs = topic_configs::kept(catalog, &topic);
    }
    mirror
}

/// Partitions that can't be written here.
#[derive(Default)]
struct Blocked {
    count: usize,
    first: Option<String>,
}

impl Blocked {
    fn add(&mut self, mirror: &Mirror, lag: &PartitionLag) {
        if !lag.is_blocked {
            return;
        }
        self.count += 1;
        let (topic, partition) = (&mirror.record.topic, lag.partition);
        let detail = lag.problem.as_deref().unwrap_or_default();
        self.first
            .get_or_insert_with(|| format!("{topic}-{partition}: {detail}"));
    }

    fn problem(self) -> Option<String> {
        let first = self.first?;
        Some(match self.count {
            1 => format!("1 partition can't be written here: {first}"),
            count => format!("{count} partitions can't be written here, the first is {first}"),
        })
    }
}

/// The reason for its status: its own error, the link's, or what its promotion waits for.
fn error_detail(inner: &Inner, mirror: &Mirror, status: MirrorStatus) -> String {
    let record = &mirror.record;
    let is_waiting = record.pending_cut == Some(CutKind::Promote) && !mirror.is_cut_begun;
    let waits_for = match inner.state {
        LinkState::Unavailable => Some(format!("the source: {}", inner.error_detail)),
        _ => mirror.waits_for.clone(),
    };
    match waits_for {
        Some(what) if is_waiting => format!("the promotion waits for {what}"),
        _ if record.error_detail.is_empty() && status != record.status => {
            inner.error_detail.clone()
        }
        _ => record.error_detail.clone(),
    }
}

/// Every partition of a mirror; none of a cut one.
fn lags(mirror: &Mirror, now_ms: i64, fresh_ms: i64) -> Vec<PartitionLag> {
    if mirror.record.status == MirrorStatus::Stopped {
        return Vec::new();
    }
    let cells = (0..).zip(&mirror.statuses);
    cells
        .map(|(partition, cell)| cell.with(|status| status.describe(partition, now_ms, fresh_ms)))
        .collect()
}

/// The verbs and other steps that are possible now.
fn next_steps(status: MirrorStatus, mirror: &Mirror, link: LinkState) -> Vec<String> {
    let record = &mirror.record;
    let steps: &[&str] = match (status, record.error) {
        (MirrorStatus::Active, _) => &["pause", "promote", "failover"],
        (MirrorStatus::Paused, _) => &["resume", "failover"],
        (MirrorStatus::LinkPaused, _) => &["resume the link", "failover"],
        (MirrorStatus::LinkFailed, _) => &[
            "fix what the link's error describes",
            "resume the link",
            "failover",
        ],
        (MirrorStatus::SourceUnavailable, _) => &["wait for the source", "failover"],
        (MirrorStatus::PendingStopped, _) if mirror.is_cut_begun => {
            &["failover (finishes the cut)"]
        }
        (MirrorStatus::PendingStopped, _) if record.pending_cut == Some(CutKind::Failover) => {
            &["failover", "resume (cancels the failover)"]
        }
        (MirrorStatus::PendingStopped, _) if link == LinkState::Active => {
            &["wait for lag 0", "cancel the promotion", "failover"]
        }
        (MirrorStatus::PendingStopped | MirrorStatus::PendingSynchronize, _) => {
            &["cancel the promotion", "failover"]
        }
        (
            MirrorStatus::Failed,
            MirrorError::SourceTopicIdChanged | MirrorError::SourcePartitionsDecreased,
        ) => &["failover", "delete the topic and mirror again"],
        (MirrorStatus::Failed, MirrorError::UnexpectedTruncation) => {
            &["resume (removes here what the source has lost)", "failover"]
        }
        (MirrorStatus::Failed, _) => &["resume", "failover", "delete the topic and mirror again"],
        (MirrorStatus::PendingMirror, _) => &["failover"],
        (MirrorStatus::Stopped, _) => &[],
    };
    steps.iter().map(|step| (*step).to_owned()).collect()
}
