//! `GET /metrics`: Prometheus' text format.
//!
//! Two sources: the recorder behind the `metrics` facade, to which the rest of the broker reports
//! (requests, latencies, bytes), and the link manager, which is asked at each scrape. The latter's
//! values are written here and not through the recorder, so that the series of a mirror end with
//! the mirror. An unknown value has no sample: a lag is never 0 because it is unknown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use carrick_link::description::{LagSummary, LinkDescription, MirrorDescription, PartitionLag};
use carrick_link::state::MirrorStatus;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::error::ApiError;
use super::model::name_of;
use super::{App, recorded};
use crate::access::Operation;
use crate::partition::ProblemKind;
use crate::problems::Tally;

/// Upper bounds of the buckets of every `…_seconds` histogram.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The process's recorder, installed at the first call. Several brokers in one process (in tests)
/// share it.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let suffix = Matcher::Suffix("_seconds".to_owned());
            let builder = PrometheusBuilder::new();
            let builder = match builder.set_buckets_for_metric(suffix, &SECONDS_BUCKETS) {
                Ok(builder) => builder,
                // Only an empty list of buckets is refused.
                Err(_) => PrometheusBuilder::new(),
            };
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed: /metrics shows less");
            }
            recorded::describe();
            handle
        })
        .clone()
}

/// What the process itself counts, while it starts.
pub async fn scrape_process() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        recorder().render(),
    )
}

/// `GET /metrics`: needs Describe on the cluster, unless `rest.metrics.public` says otherwise.
///
/// # Errors
/// 403.
pub async fn scrape(app: App) -> Result<impl IntoResponse, ApiError> {
    if !app.are_metrics_public {
        app.door.cluster(Operation::Describe)?;
    }
    let mut text = app.recorder.render();
    let mirrors = app.links.mirrors(None, None).unwrap_or_default();
    text.push_str(&render(&app.links.links(), &mirrors));
    text.push_str(&transactions(app.transactions.open()));
    text.push_str(&problems(&app.problems.now(), app.problems.free_bytes()));
    Ok((
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    ))
}

/// Families of samples, each rendered with its help and type once.
#[derive(Default)]
struct Families(BTreeMap<&'static str, Family>);

struct Family {
    kind: &'static str,
    help: &'static str,
    samples: String,
}

impl Families {
    fn add(&mut self, (name, kind, help): About, labels: &[(&str, &str)], value: f64) {
        let family = self.0.entry(name).or_insert_with(|| Family {
            kind,
            help,
            samples: String::new(),
        });
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(family.samples, "{name}{{{}}} {value}", labels.join(","));
    }

    fn render(self) -> String {
        let mut text = String::new();
        for (name, family) in self.0 {
            let Family {
                kind,
                help,
                samples,
            } = family;
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}\n"
            );
        }
        text
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn transactions(open: usize) -> String {
    let mut families = Families::default();
    let about = (
        "carrick_transactions_open",
        "gauge",
        "Transactions that have begun and not ended.",
    );
    families.add(about, &[], open as f64);
    families.render()
}

/// Every kind of problem, including kinds without any.
fn problems(now: &BTreeMap<ProblemKind, Tally>, free_bytes: Option<u64>) -> String {
    let mut families = Families::default();
    let about = (
        "carrick_problems",
        "gauge",
        "Partitions, or the broker itself, with a problem, by kind.",
    );
    for kind in ProblemKind::ALL {
        let count = now.get(&kind).map_or(0, |tally| tally.count);
        families.add(about, &[("kind", kind.name())], count as f64);
    }
    if let Some(free) = free_bytes {
        let about = (
            "carrick_data_dir_free_bytes",
            "gauge",
            "Free bytes on the data folder's file system.",
        );
        families.add(about, &[], free as f64);
    }
    families.render()
}

fn add_tasks(families: &mut Families, link: &LinkDescription) {
    let about = (
        "carrick_link_task_state",
        "gauge",
        "1 for the state that a task of a link is in, and its error.",
    );
    for task in &link.tasks {
        let (state, error) = (name_of(&task.state), name_of(&task.error));
        let labels = [
            ("link", &*link.name),
            ("task", &*task.name),
            ("state", &*state),
            ("error", &*error),
        ];
        families.add(about, &labels, 1.0);
    }
}

fn render(links: &[LinkDescription], mirrors: &[MirrorDescription]) -> String {
    let mut families = Families::default();
    for link in links {
        let (state, error) = (name_of(&link.state), name_of(&link.error));
        let about = (
            "carrick_link_state",
            "gauge",
            "1 for the state that a link is in, and its error.",
        );
        let labels = [
            ("link", &*link.name),
            ("state", &*state),
            ("error", &*error),
        ];
        families.add(about, &labels, 1.0);
        let about = (
            "carrick_link_mirrors",
            "gauge",
            "Mirror topics of a link, not stopped.",
        );
        families.add(about, &[("link", &*link.name)], link.mirror_count as f64);
        if let Some(seen_ms) = link.source_seen_at_ms {
            let about = (
                "carrick_link_source_seen_timestamp_seconds",
                "gauge",
                "When the source last answered.",
            );
            families.add(about, &[("link", &*link.name)], seen_ms as f64 / 1000.0);
        }
        add_tasks(&mut families, link);
        add_summary(
            &mut families,
            &LINK_LAG,
            &[("link", &*link.name)],
            &link.lag,
        );
    }
    for mirror in mirrors {
        let (status, error) = (name_of(&mirror.status), name_of(&mirror.error));
        let about = (
            "carrick_mirror_state",
            "gauge",
            "1 for the status of a mirror topic, and its error.",
        );
        let labels = [
            ("link", &*mirror.link),
            ("topic", &*mirror.topic),
            ("status", &*status),
            ("error", &*error),
        ];
        families.add(about, &labels, 1.0);
        if mirror.status != MirrorStatus::Stopped {
            let labels = [("link", &*mirror.link), ("topic", &*mirror.topic)];
            let about = (
                "carrick_mirror_topic_blocked_partitions",
                "gauge",
                "Partitions of a mirror topic that can't be written here.",
            );
            let blocked = mirror.lags.iter().filter(|lag| lag.is_blocked).count();
            families.add(about, &labels, blocked as f64);
            add_summary(&mut families, &TOPIC_LAG, &labels, &mirror.lag);
        }
        add_beyond_cut(&mut families, mirror);
        for lag in &mirror.lags {
            add_partition(&mut families, mirror, lag);
        }
    }
    families.render()
}

/// Records that the source holds beyond the cut; no sample before the first check.
fn add_beyond_cut(families: &mut Families, mirror: &MirrorDescription) {
    let about = (
        "carrick_mirror_source_records_beyond_cut",
        "gauge",
        "Records that the source holds beyond a mirror's cut; nothing mirrors them.",
    );
    let labels = [("link", &*mirror.link), ("topic", &*mirror.topic)];
    if let Some(records) = mirror.records_beyond_cut {
        families.add(about, &labels, records as f64);
    }
}

/// Name, type and help of a family.
type About = (&'static str, &'static str, &'static str);

/// The families of a summary: largest lag in records, its lower bound, in bytes, in seconds; number
/// of partitions whose lag is unknown.
type SummaryFamilies = [About; 5];

const LINK_LAG: SummaryFamilies = [
    (
        "carrick_link_lag_records_max",
        "gauge",
        "Largest lag of a link's mirror partitions.",
    ),
    (
        "carrick_link_lag_records_max_at_least",
        "gauge",
        "Lower bound for the largest lag of a link's mirror partitions, also while the source is \
         unavailable.",
    ),
    (
        "carrick_link_lag_bytes_estimate_max",
        "gauge",
        "Largest lag of a link's mirror partitions in bytes, estimated.",
    ),
    (
        "carrick_link_lag_seconds_max",
        "gauge",
        "Largest lag of a link's mirror partitions in seconds.",
    ),
    (
        "carrick_link_lag_unknown_partitions",
        "gauge",
        "Mirror partitions of a link whose lag is unknown.",
    ),
];

const TOPIC_LAG: SummaryFamilies = [
    (
        "carrick_mirror_topic_lag_records_max",
        "gauge",
        "Largest lag of a mirror topic's partitions.",
    ),
    (
        "carrick_mirror_topic_lag_records_max_at_least",
        "gauge",
        "Lower bound for the largest lag of a mirror topic's partitions, also while the source \
         is unavailable.",
    ),
    (
        "carrick_mirror_topic_lag_bytes_estimate_max",
        "gauge",
        "Largest lag of a mirror topic's partitions in bytes, estimated.",
    ),
    (
        "carrick_mirror_topic_lag_seconds_max",
        "gauge",
        "Largest lag of a mirror topic's partitions in seconds.",
    ),
    (
        "carrick_mirror_topic_lag_unknown_partitions",
        "gauge",
        "Partitions of a mirror topic whose lag is unknown.",
    ),
];

fn add_summary(
    families: &mut Families,
    about: &SummaryFamilies,
    labels: &[(&str, &str)],
    lag: &LagSummary,
) {
    let is_known = lag.unknown_partitions == 0;
    let records = lag.records_max.map(|records| records as f64);
    let bytes = lag.bytes_estimate_max.map(|bytes| bytes as f64);
    let values = [
        records.filter(|_| is_known),
        records,
        bytes.filter(|_| is_known),
        lag.ms_max.map(|ms| ms as f64 / 1000.0),
        Some(lag.unknown_partitions as f64),
    ];
    for (about, value) in about.iter().zip(values) {
        if let Some(value) = value {
            families.add(*about, labels, value);
        }
    }
}

fn add_partition(families: &mut Families, mirror: &MirrorDescription, lag: &PartitionLag) {
    let partition = lag.partition.to_string();
    let labels = [
        ("link", &*mirror.link),
        ("topic", &*mirror.topic),
        ("partition", &*partition),
    ];
    let mut add = |about, value: Option<f64>| {
        if let Some(value) = value {
            families.add(about, &labels, value);
        }
    };
    add_lag(&mut add, lag);
    add_position(&mut add, lag);
}

/// How far a partition is behind; no sample for unknown values.
fn add_lag(add: &mut dyn FnMut(About, Option<f64>), lag: &PartitionLag) {
    let records = lag.lag_records.map(|records| records as f64);
    let about = (
        "carrick_mirror_lag_records",
        "gauge",
        "Records that a mirror partition lacks.",
    );
    add(about, records.filter(|_| lag.is_current));
    let about = (
        "carrick_mirror_lag_records_at_least",
        "gauge",
        "Lower bound for the records that a mirror partition lacks, also while the source is \
         unavailable.",
    );
    add(about, records);
    let about = (
        "carrick_mirror_lag_seconds",
        "gauge",
        "Upper bound for the age of the first record that a mirror partition lacks.",
    );
    add(about, lag.lag_ms.map(|ms| ms as f64 / 1000.0));
    let about = (
        "carrick_mirror_lag_bytes_estimate",
        "gauge",
        "Bytes that a mirror partition lacks, estimated from the size of its recent records.",
    );
    let bytes = lag.lag_bytes_estimate.map(|bytes| bytes as f64);
    add(about, bytes.filter(|_| lag.is_current));
    let about = (
        "carrick_mirror_lag_unknown_since_timestamp_seconds",
        "gauge",
        "Since when a partition's lag has been unknown; no sample while it is known.",
    );
    let unknown_since_ms = lag.seen_at_ms.filter(|_| !lag.is_current);
    add(about, unknown_since_ms.map(|ms| ms as f64 / 1000.0));
}

/// A partition's end, what was seen of its source, and what has arrived.
fn add_position(add: &mut dyn FnMut(About, Option<f64>), lag: &PartitionLag) {
    let about = (
        "carrick_mirror_end_offset",
        "gauge",
        "End of a mirror partition.",
    );
    add(about, Some(lag.mirror_end as f64));
    let about = (
        "carrick_mirror_source_high_watermark",
        "gauge",
        "The source's high watermark as last seen.",
    );
    add(about, lag.source_high_watermark.map(|offset| offset as f64));
    let about = (
        "carrick_mirror_source_seen_timestamp_seconds",
        "gauge",
        "When the source last answered for a partition.",
    );
    add(about, lag.seen_at_ms.map(|ms| ms as f64 / 1000.0));
    let about = (
        "carrick_mirror_bytes_total",
        "counter",
        "Bytes mirrored since the start.",
    );
    add(about, Some(lag.bytes_total as f64));
    let about = (
        "carrick_mirror_lost_to_retention_records_total",
        "counter",
        "Records that the source deleted before they could be mirrored, since the start.",
    );
    add(about, Some(lag.lost_to_retention as f64));
}

#[cfg(test)]
mod tests {
    use carrick_link::state::MirrorError;

    use super::*;

    fn mirror(lag: PartitionLag) -> MirrorDescription {
        MirrorDescription {
            link: "we\"st".to_owned(),
            topic: "orders".to_owned(),
            source_topic: "orders".to_owned(),
            source_topic_id: None,
            num_partitions: 1,
            status: MirrorStatus::Active,
            status_since_ms: 0,
            error: MirrorError::NoError,
            error_detail: String::new(),
            stop_error: None,
            next_steps: Vec::new(),
            created_ms: 0,
            records_beyond_cut: None,
            lag: LagSummary::of([&lag]),
            lags: vec![lag],
            kept_configs: Vec::new(),
        }
    }

    fn lag(is_current: bool) -> PartitionLag {
        PartitionLag {
            partition: 3,
            lag_records: Some(7),
            lag_ms: Some(1500),
            lag_bytes_estimate: Some(700),
            is_current,
            last_source_fetch_offset: Some(93),
            source_high_watermark: Some(100),
            source_log_start: Some(0),
            mirror_start: 0,
            mirror_end: 93,
            seen_at_ms: Some(2000),
            bytes_total: 1234,
            lost_to_retention: 0,
            source_leader: Some(1),
            source_replica: Some(1),
            problem: None,
            is_blocked: false,
        }
    }

    const LABELS: &str = r#"{link="we\"st",topic="orders",partition="3"}"#;

    #[test]
    fn lag_is_shown_in_records_and_seconds_and_labels_are_escaped() {
        let text = render(&[], &[mirror(lag(true))]);
        assert!(
            text.contains(&format!("\ncarrick_mirror_lag_records{LABELS} 7\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("\ncarrick_mirror_lag_seconds{LABELS} 1.5\n")),
            "{text}"
        );
        assert!(
            text.contains("# TYPE carrick_mirror_bytes_total counter\n"),
            "{text}"
        );
    }

    #[test]
    fn a_lag_that_nobody_knows_has_no_sample() {
        let text = render(&[], &[mirror(lag(false))]);
        assert!(!text.contains("carrick_mirror_lag_records{"), "{text}");
        assert!(!text.contains("bytes_estimate"), "{text}");
        for sample in [
            format!("carrick_mirror_lag_records_at_least{LABELS} 7"),
            format!("carrick_mirror_lag_unknown_since_timestamp_seconds{LABELS} 2"),
        ] {
            assert!(text.contains(&format!("\n{sample}\n")), "{text}");
        }
    }

    #[test]
    fn a_topic_s_lag_is_its_largest_and_counts_the_partitions_that_nobody_knows() {
        let labels = r#"{link="we\"st",topic="orders"}"#;
        let text = render(&[], &[mirror(lag(true))]);
        for sample in [
            "records_max 7",
            "bytes_estimate_max 700",
            "seconds_max 1.5",
            "unknown_partitions 0",
        ] {
            let (name, value) = sample.split_once(' ').unwrap();
            let line = format!("\ncarrick_mirror_topic_lag_{name}{labels} {value}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        let text = render(&[], &[mirror(lag(false))]);
        assert!(!text.contains("topic_lag_records_max{"), "{text}");
        assert!(
            text.contains(&format!("topic_lag_unknown_partitions{labels} 1\n")),
            "{text}"
        );
    }

    #[test]
    fn every_sort_of_problem_has_a_sample() {
        let tally = Tally {
            count: 3,
            ..Tally::default()
        };
        let now = BTreeMap::from([(ProblemKind::DiskFull, tally)]);
        let text = problems(&now, Some(7));
        for sample in [
            "carrick_problems{kind=\"disk_full\"} 3",
            "carrick_problems{kind=\"offline\"} 0",
            "carrick_data_dir_free_bytes{} 7",
        ] {
            assert!(text.contains(&format!("\n{sample}\n")), "{text}");
        }
    }

    #[test]
    fn records_beyond_a_cut_have_a_sample_once_they_were_looked_for() {
        let name = "carrick_mirror_source_records_beyond_cut";
        let mut cut = mirror(lag(true));
        cut.status = MirrorStatus::Stopped;
        assert!(!render(&[], std::slice::from_ref(&cut)).contains(name));
        cut.records_beyond_cut = Some(353);
        let text = render(&[], &[cut]);
        let labels = r#"{link="we\"st",topic="orders"}"#;
        assert!(text.contains(&format!("\n{name}{labels} 353\n")), "{text}");
    }

    #[test]
    fn a_family_is_described_once() {
        let text = render(&[], &[mirror(lag(true)), mirror(lag(true))]);
        assert_eq!(
            text.matches("# TYPE carrick_mirror_end_offset").count(),
            1,
            "{text}"
        );
    }
}
