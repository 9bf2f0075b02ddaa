//! `carrick mirror …`: create, list, describe, pause, resume, promote, failover, report, verify.

pub(super) mod alter;
mod create;
mod follow;
mod report;
pub(super) mod rpo;
mod verify;

use std::collections::BTreeMap;

use carrick_link::report::RpoReport;
use carrick_link::verb::Verb;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde::Serialize;

use super::client::Client;
use super::error::CliResult;
use super::output::{Output, facts, lasting, plural, table, when};
use crate::http::model::mirror::{LagSummaryData, MirrorData, MirrorLag};
use crate::http::model::{Collection, escape};
use rpo::render;

/// What can be done with mirror topics.
#[derive(Debug, Subcommand)]
pub enum MirrorCommand {
    /// Mirror topics of a link's source
    Create(create::Create),
    /// List the mirrors and how far behind they are
    List {
        /// Only mirrors of this link
        #[arg(long)]
        link: Option<String>,
        /// Only mirrors in this status, for example ACTIVE or FAILED
        #[arg(long)]
        status: Option<String>,
    },
    /// Show one mirror: status, cause, next steps, lag per partition, report of the last failover
    Describe {
        /// The mirror topic
        topic: String,
    },
    /// Pause mirroring
    Pause(Choice),
    /// Resume mirroring
    Resume(Choice),
    /// Planned: wait until nothing is missing, then make the topics writable
    Promote(Promote),
    /// Unplanned: make the topics writable immediately with what is here, and report what is missing
    Failover(Choice),
    /// Show the stored reports of promotions and failovers: what was missing
    Report(report::Report),
    /// Fetch from the source again and compare batch by batch; exit code 1 on a difference
    Verify(verify::Verify),
}

/// Which mirrors of which link.
#[derive(Debug, Args)]
pub struct Choice {
    #[command(flatten)]
    mirrors: Mirrors,
    /// The mirrors' link
    #[arg(long)]
    link: String,
    /// Show what would happen, but change nothing
    #[arg(long)]
    dry_run: bool,
}

/// `mirror promote`
#[derive(Debug, Args)]
pub struct Promote {
    #[command(flatten)]
    choice: Choice,
    /// Cancel promotions that are still waiting; the mirrors keep running
    #[arg(long)]
    cancel: bool,
}

/// Exactly one way to select mirrors.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Mirrors {
    /// The mirror topics
    topics: Vec<String>,
    /// All mirrors whose whole name matches this regular expression
    #[arg(long)]
    pattern: Option<String>,
    /// All mirrors of the link that are not stopped
    #[arg(long)]
    all: bool,
}

/// Runs a mirror command.
///
/// # Errors
/// What the server refuses, a difference that was found, or that the server cannot be reached.
pub fn run(client: &Client, output: Output, command: MirrorCommand) -> CliResult {
    match command {
        MirrorCommand::Create(create) => create::run(client, output, create),
        MirrorCommand::List { link, status } => {
            let mirrors = list(client, link.as_deref(), status.as_deref())?;
            output.print(&mirrors, |mirrors| match mirrors.is_empty() {
                true => no_mirrors(link.as_deref(), status.as_deref()),
                false => render_list(mirrors),
            })
        }
        MirrorCommand::Describe { topic } => describe(client, output, &topic),
        MirrorCommand::Pause(choice) => alter::run(client, output, Verb::Pause, choice),
        MirrorCommand::Resume(choice) => alter::run(client, output, Verb::Resume, choice),
        MirrorCommand::Promote(Promote { choice, cancel }) => {
            let verb = if cancel {
                Verb::CancelPromotion
            } else {
                Verb::Promote
            };
            alter::run(client, output, verb, choice)
        }
        MirrorCommand::Failover(choice) => alter::run(client, output, Verb::Failover, choice),
        MirrorCommand::Report(report) => report::run(client, output, report),
        MirrorCommand::Verify(verify) => verify::run(client, output, &verify),
    }
}

/// A mirror, and once it has been cut the report that was kept.
#[derive(Serialize)]
struct Description {
    #[serde(flatten)]
    mirror: MirrorData,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<RpoReport>,
}

fn describe(client: &Client, output: Output, topic: &str) -> CliResult {
    let mirror = get(client, "-", topic)?;
    let report = match &*mirror.mirror_status {
        "STOPPED" => Some(report::get(client, topic)?),
        _ => None,
    };
    output.print(&Description { mirror, report }, |description| {
        let mut text = render_mirror(&description.mirror);
        if let Some(report) = &description.report {
            text.push_str("\n\n");
            text.push_str(&render(report));
        }
        text
    })
}

fn list(client: &Client, link: Option<&str>, status: Option<&str>) -> CliResult<Vec<MirrorData>> {
    let mut path = format!("/links/{}/mirrors", escape(link.unwrap_or("-")));
    if let Some(status) = status {
        path.push_str(&format!(
            "?mirror_status={}",
            escape(&status.to_uppercase())
        ));
    }
    let mirrors: Collection<MirrorData> = client.get(&path)?;
    Ok(mirrors.data)
}

/// One mirror; the link `-` means any link.
fn get(client: &Client, link: &str, topic: &str) -> CliResult<MirrorData> {
    client.get(&format!(
        "/links/{}/mirrors/{}",
        escape(link),
        escape(topic)
    ))
}

/// An approximate number of bytes, in words.
fn bytes_of(lags: &[MirrorLag]) -> String {
    let known: Option<u64> = lags
        .iter()
        .map(|lag| lag.lag_bytes_estimate_at_least)
        .try_fold(0, |sum: u64, bytes| Some(sum.saturating_add(bytes?)));
    match known {
        Some(0) if lags.iter().all(|lag| lag.lag.is_some()) => "0 B".to_owned(),
        Some(bytes) if lags.iter().all(|lag| lag.lag.is_some()) => {
            format!("~{}", HumanBytes(bytes))
        }
        _ => "unknown".to_owned(),
    }
}

/// The lag of a whole mirror in words.
fn lag_of(lags: &[MirrorLag]) -> String {
    let known: i64 = lags
        .iter()
        .filter_map(|lag| lag.lag_at_least)
        .fold(0, i64::saturating_add);
    if lags.iter().all(|lag| lag.lag.is_some()) {
        return known.to_string();
    }
    if lags.iter().all(|lag| lag.lag_at_least.is_none()) {
        return "unknown".to_owned();
    }
    format!("unknown, at least {known}")
}

/// The lag of a whole mirror in time: the lag of the partition furthest behind.
fn lag_time_of(lags: &[MirrorLag]) -> String {
    let worst = lags.iter().filter_map(|lag| lag.lag_ms).max();
    worst.map_or_else(|| "unknown".to_owned(), lasting)
}

/// The largest lag of several partitions in words.
pub(in crate::cli) fn summary_of(lag: &LagSummaryData, whose: &str) -> String {
    if lag.partitions == 0 {
        return "-".to_owned();
    }
    let records = match (lag.lag_max, lag.lag_max_at_least) {
        (Some(records), _) => plural(usize::try_from(records).unwrap_or(0), "record"),
        (None, Some(records)) => format!("unknown, at least {records} records"),
        (None, None) => "unknown".to_owned(),
    };
    let bytes = lag.lag_bytes_estimate_max.filter(|bytes| *bytes > 0);
    let bytes = bytes.map_or_else(String::new, |bytes| format!(", ~{}", HumanBytes(bytes)));
    let time = lag.lag_ms_max.map_or_else(|| "unknown".into(), lasting);
    let mut text = format!("{records}{bytes}, {time} {whose}");
    if lag.unknown_partitions > 0 {
        let (unknown, all) = (lag.unknown_partitions, lag.partitions);
        text.push_str(&format!("; {unknown} of {all} partitions unknown"));
    }
    if let Some(since_ms) = lag.unknown_since_ms {
        text.push_str(&format!(" since {}", when(since_ms)));
    }
    text
}

/// What to print for an empty list: that there are no mirrors, or none that match.
fn no_mirrors(link: Option<&str>, status: Option<&str>) -> String {
    let of_link = link.map_or_else(String::new, |link| format!(" of link {link}"));
    match status {
        Some(status) => format!("no mirrors{of_link} in status {}", status.to_uppercase()),
        None => {
            let link = link.unwrap_or("NAME");
            format!(
                "no mirrors{of_link}; create one with: carrick mirror create TOPIC --link {link}"
            )
        }
    }
}

fn render_list(mirrors: &[MirrorData]) -> String {
    table(
        [
            "TOPIC",
            "LINK",
            "SOURCE TOPIC",
            "PARTITIONS",
            "STATUS",
            "LAG",
            "LAG BYTES",
            "LAG TIME",
            "ERROR",
        ],
        mirrors.iter().map(|mirror| {
            let stopped = mirror.mirror_status == "STOPPED";
            let unless_stopped = |text: String| if stopped { "-".to_owned() } else { text };
            [
                mirror.mirror_topic_name.clone(),
                mirror.link_name.clone(),
                mirror.source_topic_name.clone(),
                mirror.num_partitions.to_string(),
                mirror.mirror_status.clone(),
                unless_stopped(lag_of(&mirror.mirror_lags)),
                unless_stopped(bytes_of(&mirror.mirror_lags)),
                unless_stopped(lag_time_of(&mirror.mirror_lags)),
                error_of(mirror),
            ]
        }),
    )
}

fn error_of(mirror: &MirrorData) -> String {
    match (
        &*mirror.mirror_topic_error,
        &mirror.mirror_topic_error_message,
    ) {
        ("NO_ERROR", _) => "-".to_owned(),
        (code, Some(message)) => format!("{code}: {message}"),
        (code, None) => code.to_owned(),
    }
}

/// The configs that are set on the topic so that it has the source's values.
fn kept_of(mirror: &MirrorData) -> String {
    let kept = mirror.kept_configs.iter().map(|config| {
        let (name, value, default) = (&config.name, &config.value, &config.default_value);
        format!("{name}={value}, the source's value (default here: {default})")
    });
    kept.collect::<Vec<_>>().join("; ")
}

fn render_mirror(mirror: &MirrorData) -> String {
    let next = if mirror.next_steps.is_empty() {
        "-".into()
    } else {
        mirror.next_steps.join(", ")
    };
    let mut text = facts(&[
        ("mirror topic", mirror.mirror_topic_name.clone()),
        ("link", mirror.link_name.clone()),
        ("source topic", mirror.source_topic_name.clone()),
        (
            "status",
            format!(
                "{} since {}",
                mirror.mirror_status,
                when(mirror.state_time_ms)
            ),
        ),
        ("error", error_of(mirror)),
        ("next steps", next),
    ]);
    if !mirror.kept_configs.is_empty() {
        text.push_str(&facts(&[("own configs", kept_of(mirror))]));
    }
    if mirror.mirror_lags.is_empty() {
        return text;
    }
    text.push_str(&facts(&[(
        "lag",
        summary_of(&mirror.lag_summary, "of the partition furthest behind"),
    )]));
    text.push('\n');
    let or_dash = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
    text.push_str(&table(
        [
            "PARTITION",
            "START",
            "END",
            "SOURCE HW",
            "SEEN",
            "LAG",
            "LAG BYTES",
            "LAG TIME",
            "UNKNOWN SINCE",
        ],
        mirror.mirror_lags.iter().map(|lag| {
            let one = std::slice::from_ref(lag);
            [
                lag.partition.to_string(),
                lag.mirror_log_start_offset.to_string(),
                lag.mirror_end_offset.to_string(),
                or_dash(lag.source_high_watermark),
                lag.source_seen_time_ms.map_or_else(|| "-".to_owned(), when),
                lag_of(one),
                bytes_of(one),
                lag_time_of(one),
                lag.unknown_since_ms.map_or_else(|| "-".to_owned(), when),
            ]
        }),
    ));
    for (problem, partitions) in problems(&mirror.mirror_lags) {
        text.push_str(&format!(
            "\n\npartition {}: {problem}",
            partitions.join(", ")
        ));
    }
    text
}

/// What goes wrong at present, each problem once with its partitions.
fn problems(lags: &[MirrorLag]) -> BTreeMap<&str, Vec<String>> {
    let mut problems: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for lag in lags {
        if let Some(problem) = &lag.problem {
            problems
                .entry(problem)
                .or_default()
                .push(lag.partition.to_string());
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::ResourceMetadata;

    pub(super) fn lag(lag: Option<i64>, exact: bool) -> MirrorLag {
        MirrorLag {
            partition: 0,
            lag: lag.filter(|_| exact),
            lag_at_least: lag,
            unknown_since_ms: lag.map(|_| 0).filter(|_| !exact),
            last_source_fetch_offset: Some(7),
            lag_ms: lag.map(|lag| lag * 10),
            lag_bytes_estimate: lag.filter(|_| exact).map(|lag| lag.unsigned_abs() * 100),
            lag_bytes_estimate_at_least: lag.map(|lag| lag.unsigned_abs() * 100),
            source_log_start_offset: Some(0),
            source_high_watermark: lag.map(|lag| 100 + lag),
            source_seen_time_ms: Some(0),
            mirror_log_start_offset: 0,
            mirror_end_offset: 100,
            mirrored_bytes: 1,
            records_lost_to_retention: 0,
            source_leader_id: Some(1),
            source_replica_id: Some(1),
            problem: None,
        }
    }

    pub(super) fn mirror(status: &str, lags: Vec<MirrorLag>) -> MirrorData {
        MirrorData {
            kind: MirrorData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            link_name: "west".to_owned(),
            mirror_topic_name: "orders".to_owned(),
            source_topic_name: "orders".to_owned(),
            num_partitions: 1,
            mirror_lags: lags,
            mirror_status: status.to_owned(),
            state_time_ms: 0,
            mirror_topic_error: "NO_ERROR".to_owned(),
            mirror_topic_error_message: None,
            stop_error_message: None,
            next_steps: vec!["pause".to_owned(), "promote".to_owned()],
            source_topic_id: None,
            kept_configs: Vec::new(),
            lag_summary: LagSummaryData::default(),
        }
    }

    #[test]
    fn a_known_lag_is_a_number_and_an_unknown_one_is_said_to_be_unknown() {
        assert_eq!(lag_of(&[lag(Some(3), true), lag(Some(4), true)]), "7");
        assert_eq!(
            lag_of(&[lag(Some(3), true), lag(Some(0), false)]),
            "unknown, at least 3"
        );
        assert_eq!(lag_of(&[lag(None, false)]), "unknown");
        let two = [lag(Some(3), true), lag(Some(4), true)];
        assert_eq!(bytes_of(&two), "~700 B");
        assert_eq!(bytes_of(&[lag(Some(3), false)]), "unknown");
    }

    #[test]
    fn a_summary_says_what_is_not_known_and_since_when() {
        let known = LagSummaryData {
            partitions: 4,
            lag_max: Some(3),
            lag_max_at_least: Some(3),
            lag_bytes_estimate_max: Some(2048),
            lag_ms_max: Some(1_500),
            ..LagSummaryData::default()
        };
        assert_eq!(
            summary_of(&known, "behind"),
            "3 records, ~2.00 KiB, 1.5 s behind"
        );
        let unknown = LagSummaryData {
            lag_max: None,
            lag_bytes_estimate_max: None,
            unknown_partitions: 1,
            unknown_since_ms: Some(0),
            ..known
        };
        assert_eq!(
            summary_of(&unknown, "behind"),
            "unknown, at least 3 records, 1.5 s behind; 1 of 4 partitions unknown since \
             1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn an_empty_list_says_what_was_asked_for() {
        assert_eq!(
            no_mirrors(Some("west"), Some("failed")),
            "no mirrors of link west in status FAILED"
        );
        assert_eq!(
            no_mirrors(Some("west"), None),
            "no mirrors of link west; create one with: carrick mirror create TOPIC --link west"
        );
        assert!(no_mirrors(None, None).contains("--link NAME"));
    }

    #[test]
    fn a_stopped_mirror_shows_no_lag() {
        let text = render_list(&[mirror("STOPPED", vec![lag(Some(3), false)])]);
        assert!(!text.contains("unknown"), "{text}");
    }

    #[test]
    fn a_problem_that_several_partitions_have_is_shown_once() {
        let mut lags = vec![lag(Some(0), true), lag(Some(0), true)];
        lags[1].partition = 1;
        for lag in &mut lags {
            lag.problem = Some("no route".to_owned());
        }
        let text = render_mirror(&mirror("ACTIVE", lags));
        assert!(text.ends_with("partition 0, 1: no route"), "{text}");
    }

    #[test]
    fn describe_shows_the_next_steps_and_every_partition() {
        let text = render_mirror(&mirror("ACTIVE", vec![lag(Some(3), true)]));
        assert!(text.contains("next steps:   pause, promote"), "{text}");
        assert!(text.contains("0          0      100  103"), "{text}");
        assert!(text.contains("30 ms"), "{text}");
    }
}
