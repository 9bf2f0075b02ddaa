//! `carrick mirror pause|resume|promote|failover`.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::{Choice, lag_of, list};
use crate::cli::client::{Client, Patience, escape};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::http::error::RETRIABLE;
use crate::http::model::Collection;
use crate::http::model::mirror::{AlterMirrorData, AlterMirrorsRequest, MirrorData};
use crate::mirror::report::{render, when};

const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What is done to the mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Stop mirroring for now.
    Pause,
    /// Go on.
    Resume,
    /// Planned hand-over.
    Promote,
    /// Give a promotion up.
    CancelPromote,
    /// Unplanned hand-over.
    Failover,
}

impl Verb {
    fn path(self) -> &'static str {
        match self {
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Promote => "promote",
            Verb::CancelPromote => "cancel-promote",
            Verb::Failover => "failover",
        }
    }

    fn done(self, dry_run: bool) -> &'static str {
        match (self, dry_run) {
            (Verb::Pause, false) => "paused",
            (Verb::Resume, false) => "resumed",
            (Verb::Promote, false) => "promoted: clients can write to it now",
            (Verb::CancelPromote, false) => "is no longer being promoted: it goes on mirroring",
            (Verb::CancelPromote, true) => "would no longer be promoted",
            (Verb::Failover, false) => "failed over: clients can write to it now",
            (Verb::Pause, true) => "would be paused",
            (Verb::Resume, true) => "would be resumed",
            (Verb::Promote, true) => "would be promoted",
            (Verb::Failover, true) => "would be failed over",
        }
    }
}

/// Runs the command. Each mirror has an outcome of its own; one refusal makes the command fail,
/// after all outcomes have been printed.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn run(client: &Client, output: Output, verb: Verb, choice: Choice) -> CliResult {
    let link = escape(&choice.link);
    let path = format!(
        "/links/{link}/mirrors:{}?validate_only={}",
        verb.path(),
        choice.dry_run
    );
    let body = body_of(&choice);
    let outcomes: Collection<AlterMirrorData> = if verb == Verb::Promote && !choice.dry_run {
        eprintln!(
            "ending this command does not end the promotion; that does: carrick mirror promote \
             --cancel … --link {}",
            choice.link
        );
        promote(client, &choice.link, &path, &body)?
    } else {
        client.post(&path, &body, Patience::Unlimited)?
    };
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
    let path = format!("/links/{}/mirrors:failover", escape(link));
    let body = AlterMirrorsRequest {
        mirror_topic_names: None,
        mirror_topic_name_pattern: None,
        all: true,
    };
    let outcomes: Collection<AlterMirrorData> = client.post(&path, &body, Patience::Unlimited)?;
    Ok(outcomes.data)
}

/// The reasons, and the way out that a promotion without source has.
fn refusal(refused: &[&AlterMirrorData], total: usize, verb: Verb, link: &str) -> CliError {
    let (action, count) = (verb.path(), refused.len());
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

/// Promotes, and shows the lag while the server waits for it to vanish.
fn promote(
    client: &Client,
    link: &str,
    path: &str,
    body: &AlterMirrorsRequest,
) -> CliResult<Collection<AlterMirrorData>> {
    let (sender, answer) = mpsc::sync_channel::<CliResult<Collection<AlterMirrorData>>>(1);
    let (poster, path, posted) = (client.another()?, path.to_owned(), body.clone());
    std::thread::spawn(move || {
        let _ = sender.send(poster.post(&path, &posted, Patience::Unlimited));
    });
    let mut progress = Progress::start("promoting");
    let mut most = 0;
    loop {
        match answer.recv_timeout(POLL_INTERVAL) {
            Ok(Ok(outcomes)) => {
                let all = outcomes
                    .data
                    .iter()
                    .all(|outcome| outcome.error_code.is_none());
                progress.finish(if all { "done" } else { "ended" });
                return Ok(outcomes);
            }
            Ok(Err(error)) => {
                progress.abandon();
                return Err(error);
            }
            Err(RecvTimeoutError::Timeout) => show(client, link, &mut progress, &mut most),
            Err(RecvTimeoutError::Disconnected) => {
                progress.abandon();
                return Err(CliError::Failed(
                    "the request ended without an answer".to_owned(),
                ));
            }
        }
    }
}

/// Topics that the progress names.
const NAMED_MAX: usize = 3;

/// Shows the lag of the mirrors under promotion; a look-up that fails is only not shown.
fn show(client: &Client, link: &str, progress: &mut Progress, most: &mut u64) {
    let Ok(mirrors) = list(client, Some(link), None) else {
        return;
    };
    let pending: Vec<MirrorData> = mirrors
        .into_iter()
        .filter(|mirror| {
            matches!(
                &*mirror.mirror_status,
                "PENDING_SYNCHRONIZE" | "PENDING_STOPPED"
            )
        })
        .collect();
    let behind: u64 = pending
        .iter()
        .map(records_left)
        .fold(0, u64::saturating_add);
    *most = behind.max(*most);
    progress.update(most.saturating_sub(behind), *most, &note(&pending));
}

/// Records that a mirror lacks at least.
fn records_left(mirror: &MirrorData) -> u64 {
    let at_least = mirror.lag_summary.lag_total_at_least.unwrap_or(0);
    u64::try_from(at_least).unwrap_or(0)
}

/// What is left, of which topics, and since when the source is away.
fn note(pending: &[MirrorData]) -> String {
    if pending.is_empty() {
        return "waiting".to_owned();
    }
    let lags: Vec<_> = pending
        .iter()
        .flat_map(|mirror| mirror.mirror_lags.clone())
        .collect();
    let mut text = format!(
        "{} pending, {} records behind",
        pending.len(),
        lag_of(&lags)
    );
    let mut behind: Vec<&MirrorData> = pending.iter().filter(|m| records_left(m) > 0).collect();
    behind.sort_by_key(|mirror| std::cmp::Reverse(records_left(mirror)));
    let named = behind.iter().take(NAMED_MAX).map(|mirror| {
        let left = records_left(mirror);
        format!("{} {left}", mirror.mirror_topic_name)
    });
    let named: Vec<String> = named.collect();
    if !named.is_empty() {
        let more = if behind.len() > NAMED_MAX {
            ", …"
        } else {
            ""
        };
        text.push_str(&format!(" ({}{more})", named.join(", ")));
    }
    let unknown_since = pending
        .iter()
        .filter_map(|m| m.lag_summary.unknown_since_ms)
        .min();
    if let Some(since_ms) = unknown_since {
        text.push_str(&format!(
            "; the source has not answered since {}",
            when(since_ms)
        ));
    }
    text
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
            None => text.push_str(&format!("mirror {name} {}\n", verb.done(dry_run))),
        }
        if let Some(report) = &outcome.report {
            text.push_str(&render(report));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::ResourceMetadata;

    fn outcome(name: &str, error: Option<&str>) -> AlterMirrorData {
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
    fn the_progress_names_the_topics_furthest_behind_and_a_silent_source() {
        let pending = |name: &str, left: i64, since: Option<i64>| {
            let mut mirror = crate::cli::mirror::tests::mirror("PENDING_STOPPED", Vec::new());
            mirror.mirror_topic_name = name.to_owned();
            mirror.mirror_lags = vec![crate::cli::mirror::tests::lag(Some(left), since.is_none())];
            mirror.lag_summary.lag_total_at_least = Some(left);
            mirror.lag_summary.unknown_since_ms = since;
            mirror
        };
        let all = [
            pending("a", 0, None),
            pending("b", 5, None),
            pending("c", 7, None),
        ];
        assert_eq!(note(&all), "3 pending, 12 records behind (c 7, b 5)");
        assert_eq!(
            note(&[pending("a", 2, Some(0))]),
            "1 pending, unknown, at least 2 records behind (a 2); the source has not answered \
             since 1970-01-01T00:00:00.000Z"
        );
        assert_eq!(note(&[]), "waiting");
    }

    #[test]
    fn a_dry_run_says_would() {
        let text = render_outcomes(&[outcome("a", None)], Verb::Failover, true);
        assert_eq!(text, "mirror a would be failed over\n");
    }
}
