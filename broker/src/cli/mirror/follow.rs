//! Promotions and failovers in progress: polls the server until they end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use carrick_link::report::RpoReport;
use carrick_link::verb::Verb;

use super::{get, lag_of, list, report};
use crate::cli::client::Client;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::when;
use crate::cli::progress::Progress;
use crate::http::error::BAD_REQUEST;
use crate::http::model::mirror::{AlterMirrorData, MirrorData};

const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long to wait for a server that can't be reached: it may be restarting, and then resumes what
/// was in progress.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const PENDING: &str = "PENDING_STOPPED";

/// Waits until none of `outcomes` is in progress any more, and completes them.
///
/// # Errors
/// The server can't be reached for a while.
pub fn follow(
    client: &Client,
    link: &str,
    verb: Verb,
    outcomes: &mut [AlterMirrorData],
) -> CliResult {
    let mut waiting: BTreeMap<String, &mut AlterMirrorData> = outcomes
        .iter_mut()
        .filter(|outcome| outcome.mirror_status.as_deref() == Some(PENDING))
        .map(|outcome| (outcome.mirror_topic_name.clone(), outcome))
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let label = match verb {
        Verb::Failover => "failing over",
        _ => {
            eprintln!(
                "stopping this command does not stop the promotion; to cancel it: carrick mirror \
                 promote --cancel … --link {link}"
            );
            "promoting"
        }
    };
    let mut progress = Progress::start(label);
    let (mut most, mut heard) = (0, Instant::now());
    while !waiting.is_empty() {
        match look(client, link, &mut waiting) {
            Ok(pending) => {
                heard = Instant::now();
                show(&pending, &mut progress, &mut most);
            }
            Err(error @ CliError::Unreachable { .. }) if heard.elapsed() >= SILENCE_MAX => {
                progress.abandon();
                return Err(error);
            }
            Err(CliError::Unreachable { .. }) => {}
            Err(error) => {
                progress.abandon();
                return Err(error);
            }
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    drop(waiting);
    let is_refused = outcomes.iter().any(|outcome| outcome.error_code.is_some());
    progress.finish(if is_refused { "ended" } else { "done" });
    Ok(())
}

/// Takes out and completes those that are over; the mirrors of the others.
fn look(
    client: &Client,
    link: &str,
    waiting: &mut BTreeMap<String, &mut AlterMirrorData>,
) -> CliResult<Vec<MirrorData>> {
    let mut pending = list(client, Some(link), Some(PENDING))?;
    pending.retain(|mirror| {
        is_waiting_still(mirror) && waiting.contains_key(&mirror.mirror_topic_name)
    });
    let names: BTreeSet<&str> = pending.iter().map(|m| &*m.mirror_topic_name).collect();
    let over = waiting.keys().filter(|name| !names.contains(&***name));
    let over: Vec<String> = over.cloned().collect();
    for name in over {
        let end = match get(client, "-", &name) {
            Ok(mirror) if is_waiting_still(&mirror) => continue,
            Ok(mirror) if mirror.mirror_status == "STOPPED" => Ok(report::get(client, &name)?),
            Ok(mirror) => Err(why_not_stopped(&mirror)),
            Err(CliError::Failed(message)) => Err(message),
            Err(error) => return Err(error),
        };
        if let Some(outcome) = waiting.remove(&name) {
            complete(outcome, end);
        }
    }
    Ok(pending)
}

fn is_waiting_still(mirror: &MirrorData) -> bool {
    mirror.mirror_status == PENDING && mirror.stop_error_message.is_none()
}

fn why_not_stopped(mirror: &MirrorData) -> String {
    mirror
        .stop_error_message
        .clone()
        .unwrap_or_else(|| format!("it was cancelled: the mirror is {}", mirror.mirror_status))
}

/// Shows the lags of the mirrors in progress.
fn show(pending: &[MirrorData], progress: &mut Progress, most: &mut u64) {
    let behind: u64 = pending
        .iter()
        .map(records_left)
        .fold(0, u64::saturating_add);
    *most = behind.max(*most);
    progress.update(most.saturating_sub(behind), *most, &note(pending));
}

fn complete(outcome: &mut AlterMirrorData, end: Result<RpoReport, String>) {
    outcome.mirror_lags.clear();
    match end {
        Ok(report) => {
            outcome.mirror_status = Some("STOPPED".to_owned());
            outcome.report = Some(report);
        }
        Err(message) => {
            outcome.mirror_status = None;
            outcome.error_code = Some(BAD_REQUEST);
            outcome.error_message = Some(message);
        }
    }
}

/// Topics that the progress names.
const NAMED_MAX: usize = 3;

/// Records that a mirror lacks at least.
fn records_left(mirror: &MirrorData) -> u64 {
    let at_least = mirror.lag_summary.lag_total_at_least.unwrap_or(0);
    u64::try_from(at_least).unwrap_or(0)
}

/// How much is left, for which topics, and since when the source has not answered.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
