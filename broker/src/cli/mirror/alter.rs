//! `carrick mirror pause|resume|promote|failover`.

use carrick_link::verb::{CutKind, Verb};

use super::rpo::{render, total};
use super::{Choice, follow};
use crate::cli::client::{Client, Patience};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::http::error::RETRIABLE;
use crate::http::limits::WAIT_MAX_SECONDS;
use crate::http::model::mirror::{AlterMirrorData, AlterMirrorsRequest};
use crate::http::model::{Collection, escape};

/// Mirrors that have caught up are promoted within this; of the others the lag is shown.
const PROMOTE_WAIT_SECONDS: u64 = 2;

/// How long the server waits for the cut before it answers; after that this command polls it.
fn wait_seconds(kind: CutKind) -> u64 {
    match kind {
        CutKind::Promote => PROMOTE_WAIT_SECONDS,
        CutKind::Failover => WAIT_MAX_SECONDS,
    }
}

/// What is printed behind the mirror's name.
fn done(verb: Verb, dry_run: bool) -> &'static str {
    match (verb, dry_run) {
        (Verb::Pause, false) => "paused",
        (Verb::Resume, false) => "resumed",
        (Verb::Promote, false) => "promoted: clients can write to it now",
        (Verb::CancelPromotion, false) => "is no longer being promoted: it continues mirroring",
        (Verb::CancelPromotion, true) => "would no longer be promoted",
        (Verb::Failover, false) => "failed over: clients can write to it now",
        (Verb::Pause, true) => "would be paused",
        (Verb::Resume, true) => "would be resumed",
        (Verb::Promote, true) => "would be promoted",
        (Verb::Failover, true) => "would be failed over",
    }
}

/// Runs the command. Each mirror has its own outcome; one refusal makes the command fail, after all
/// outcomes have been printed.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn run(client: &Client, output: Output, verb: Verb, choice: Choice) -> CliResult {
    let link = escape(&choice.link);
    let path = format!(
        "/links/{link}/mirrors:{}?validate_only={}",
        verb.name(),
        choice.dry_run
    );
    let body = body_of(&choice);
    let mut outcomes: Collection<AlterMirrorData> = match verb.cut() {
        Some(kind) if !choice.dry_run => {
            let wait = wait_seconds(kind);
            client.post(&format!("{path}&wait={wait}"), &body, Patience::Short)?
        }
        _ => client.post(&path, &body, Patience::Short)?,
    };
    if !choice.dry_run {
        follow::follow(client, &choice.link, verb, &mut outcomes.data)?;
    }
    output.print(&outcomes.data, |outcomes| {
        render_outcomes(outcomes, verb, choice.dry_run)
    })?;
    let refused: Vec<&AlterMirrorData> = outcomes
        .data
        .iter()
        .filter(|outcome| outcome.error_code.is_some())
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(refusal(&refused, outcomes.data.len(), verb, &choice.link))
}

/// Fails all mirrors of a link over, as before it is deleted.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn fail_over_all(client: &Client, link: &str) -> CliResult<Vec<AlterMirrorData>> {
    let path = format!(
        "/links/{}/mirrors:failover?wait={WAIT_MAX_SECONDS}",
        escape(link)
    );
    let body = AlterMirrorsRequest {
        mirror_topic_names: None,
        mirror_topic_name_pattern: None,
        all: true,
    };
    let mut outcomes: Collection<AlterMirrorData> = client.post(&path, &body, Patience::Short)?;
    follow::follow(client, link, Verb::Failover, &mut outcomes.data)?;
    Ok(outcomes.data)
}

/// The reasons, and the way out that a promotion without source has.
fn refusal(refused: &[&AlterMirrorData], total: usize, verb: Verb, link: &str) -> CliError {
    let (action, count) = (verb.name(), refused.len());
    let mut text = format!("{action} refused for {count} of {total} mirrors:");
    for outcome in refused {
        let reason = outcome
            .error_message
            .as_deref()
            .unwrap_or("no reason given");
        text.push_str(&format!("\n  {}: {reason}", outcome.mirror_topic_name));
    }
    let no_source = refused
        .iter()
        .any(|outcome| outcome.error_code == Some(RETRIABLE));
    if verb == Verb::Promote && no_source {
        text.push_str(&format!(
            "\n  if the source is lost: carrick mirror failover TOPIC --link {link}"
        ));
    }
    CliError::Failed(text)
}

fn body_of(choice: &Choice) -> AlterMirrorsRequest {
    let mirrors = &choice.mirrors;
    AlterMirrorsRequest {
        mirror_topic_names: (!mirrors.topics.is_empty()).then(|| mirrors.topics.clone()),
        mirror_topic_name_pattern: mirrors.pattern.clone(),
        all: mirrors.all,
    }
}

/// Each mirror's outcome on a line, with its report.
pub fn render_outcomes(outcomes: &[AlterMirrorData], verb: Verb, dry_run: bool) -> String {
    if outcomes.is_empty() {
        return "nothing to do: the link has no mirrors that are not stopped".to_owned();
    }
    let mut text = String::new();
    for outcome in outcomes {
        let name = &outcome.mirror_topic_name;
        match &outcome.error_message {
            Some(_) => text.push_str(&format!("mirror {name} refused\n")),
            None => text.push_str(&format!("mirror {name} {}\n", done(verb, dry_run))),
        }
        if let Some(report) = &outcome.report {
            text.push_str(&render(report));
        }
    }
    let reports: Vec<_> = outcomes
        .iter()
        .filter_map(|it| it.report.as_ref())
        .collect();
    if reports.len() > 1 {
        let (count, total) = (reports.len(), total(&reports));
        text.push_str(&format!("all {count} topics: {total}\n"));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::model::ResourceMetadata;

    pub(in crate::cli::mirror) fn outcome(name: &str, error: Option<&str>) -> AlterMirrorData {
        AlterMirrorData {
            kind: AlterMirrorData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            mirror_topic_name: name.to_owned(),
            error_code: error.map(|_| 40002),
            error_message: error.map(str::to_owned),
            mirror_lags: Vec::new(),
            messages_truncated: None,
            partition_level_truncation_data: Vec::new(),
            mirror_status: None,
            report: None,
        }
    }

    #[test]
    fn every_mirror_has_its_own_line() {
        let outcomes = [outcome("a", None), outcome("b", Some("it is STOPPED"))];
        let text = render_outcomes(&outcomes, Verb::Pause, false);
        assert_eq!(text, "mirror a paused\nmirror b refused\n");
    }

    #[test]
    fn a_promotion_without_source_names_the_way_out() {
        let mut lost = outcome("a", Some("the source does not answer"));
        lost.error_code = Some(RETRIABLE);
        let said = refusal(&[&lost], 1, Verb::Promote, "west").to_string();
        assert!(said.contains("a: the source does not answer"), "{said}");
        assert!(
            said.contains("carrick mirror failover TOPIC --link west"),
            "{said}"
        );
        let stopped = outcome("a", Some("it is STOPPED"));
        let said = refusal(&[&stopped], 1, Verb::Promote, "west").to_string();
        assert!(!said.contains("failover"), "{said}");
    }

    #[test]
    fn several_reports_have_a_total() {
        let report = |topic: &str, missing: i64, exact: bool| -> AlterMirrorData {
            let report = serde_json::json!({
                "topic": topic, "link": "west", "source_topic": topic, "kind": "FAILOVER",
                "made_at_ms": 0, "dry_run": true,
                "partitions": [{
                    "partition": 0, "mirror_end": 100, "last_mirrored_offset": 99,
                    "last_mirrored_timestamp_ms": 0, "source_high_watermark": 100 + missing,
                    "source_seen_at_ms": 0, "missing_records": missing, "missing_ms": 0,
                    "exact": exact, "lost_to_retention": 0, "open_transactions": 0
                }]
            });
            let report = serde_json::from_value(report).expect("a report");
            AlterMirrorData {
                report: Some(report),
                ..outcome(topic, None)
            }
        };
        let exact = [report("a", 3, true), report("b", 4, true)];
        let text = render_outcomes(&exact, Verb::Failover, true);
        assert!(
            text.ends_with("\nall 2 topics: 7 records missing\n"),
            "{text}"
        );
        let unsure = [report("a", 3, true), report("b", 4, false)];
        let text = render_outcomes(&unsure, Verb::Failover, true);
        assert!(
            text.contains("\nall 2 topics: at least 7 records missing; "),
            "{text}"
        );
        assert!(text.ends_with("(1 of 2 partitions)\n"), "{text}");
        let text = render_outcomes(&exact[..1], Verb::Failover, true);
        assert!(!text.contains("all 1 topics"), "{text}");
    }

    #[test]
    fn a_dry_run_says_would() {
        let text = render_outcomes(&[outcome("a", None)], Verb::Failover, true);
        assert_eq!(text, "mirror a would be failed over\n");
    }
}
