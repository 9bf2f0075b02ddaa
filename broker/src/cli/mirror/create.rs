//! `carrick mirror create`, and waiting until a new mirror has caught up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::{get, kept_of};
use crate::cli::client::{Client, Patience};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::settings::{name_value, to_body};
use crate::http::model::mirror::{CreateMirrorRequest, MirrorData};
use crate::http::model::mirror_creation::{CreateMirrorsData, CreateMirrorsRequest};
use crate::http::model::{Collection, escape};

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Mirrors that are printed one by one; of more only the number.
const LISTED_MAX: usize = 20;

/// `mirror create`
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    sources: Sources,
    /// The link to mirror over
    #[arg(long)]
    link: String,
    /// A different name for the mirror; only with a single topic
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pattern", "all", "dry_run"])]
    mirror_topic: Option<String>,
    /// mirror.start.offset.spec, or a topic config that is not synced from the source
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = name_value)]
    configs: Vec<(String, String)>,
    /// Show what would be created, but create nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until the mirrors hold everything that the source holds now
    #[arg(long)]
    wait: bool,
    /// Stop waiting after this many seconds; the mirrors continue
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    wait_timeout: Option<u64>,
}

/// Exactly one way to select topics of the source.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Sources {
    /// Topics at the source
    topics: Vec<String>,
    /// All source topics that are not mirrored yet and whose whole name matches this regular
    /// expression
    #[arg(long)]
    pattern: Option<String>,
    /// All source topics that are not mirrored yet
    #[arg(long)]
    all: bool,
}

/// Creates the mirrors in one step. If any are refused, the command fails after it has created the
/// others.
///
/// # Errors
/// The server refuses something, or a mirror fails while the command waits for it.
pub fn run(client: &Client, output: Output, create: Create) -> CliResult {
    let (created, refused) = if create.mirror_topic.is_some() {
        (vec![create_renamed(client, &create)?], Vec::new())
    } else {
        let all = create_all(client, &create)?;
        all.into_iter().partition(|one| one.error_code.is_none())
    };
    if create.dry_run {
        output.print(&created, |created| summary(created, "would be created"))?;
    } else {
        let names: Vec<String> = created
            .into_iter()
            .map(|one| one.mirror_topic_name)
            .collect();
        let (mirrors, done) = if create.wait && !names.is_empty() {
            let timeout = create.wait_timeout.map(Duration::from_secs);
            let mirrors = wait(client, &create.link, names, timeout)?;
            (mirrors, "created and caught up")
        } else {
            (read(client, &create.link, &names)?, "created")
        };
        output.print(&mirrors, |mirrors| summary(mirrors, done))?;
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(refusal(&refused))
}

fn create_all(client: &Client, create: &Create) -> CliResult<Vec<CreateMirrorsData>> {
    let sources = &create.sources;
    let body = CreateMirrorsRequest {
        source_topic_names: (!sources.topics.is_empty()).then(|| sources.topics.clone()),
        source_topic_name_pattern: sources.pattern.clone(),
        all: sources.all,
        configs: to_body(create.configs.iter().cloned()),
    };
    let path = format!(
        "/links/{}/mirrors:create?validate_only={}",
        escape(&create.link),
        create.dry_run
    );
    let created: Collection<CreateMirrorsData> = client.post(&path, &body, Patience::Long)?;
    Ok(created.data)
}

fn create_renamed(client: &Client, create: &Create) -> CliResult<CreateMirrorsData> {
    let ([topic], Some(name)) = (&*create.sources.topics, &create.mirror_topic) else {
        return Err(CliError::Usage(
            "--mirror-topic works only with a single topic".to_owned(),
        ));
    };
    let body = CreateMirrorRequest {
        source_topic_name: topic.clone(),
        mirror_topic_name: Some(name.clone()),
        replication_factor: None,
        configs: to_body(create.configs.iter().cloned()),
    };
    client.post_quietly(&format!("/links/{}/mirrors", escape(&create.link)), &body)?;
    let mirror = get(client, &create.link, name)?;
    Ok(CreateMirrorsData {
        kind: CreateMirrorsData::KIND.to_owned(),
        metadata: mirror.metadata,
        source_topic_name: mirror.source_topic_name,
        mirror_topic_name: mirror.mirror_topic_name,
        error_code: None,
        error_message: None,
        num_partitions: Some(mirror.num_partitions),
        mirror_status: Some(mirror.mirror_status),
    })
}

/// The mirrors of these names, in their order.
fn read(client: &Client, link: &str, names: &[String]) -> CliResult<Vec<MirrorData>> {
    if let [name] = names {
        return Ok(vec![get(client, link, name)?]);
    }
    let all = super::list(client, Some(link), None)?.into_iter();
    let mut by_name: BTreeMap<String, MirrorData> = all
        .map(|mirror| (mirror.mirror_topic_name.clone(), mirror))
        .collect();
    let gone = |name: &str| CliError::Failed(format!("mirror {name} was deleted in the meantime"));
    let mut mirror = |name: &String| by_name.remove(name).ok_or_else(|| gone(name));
    names.iter().map(&mut mirror).collect()
}

/// A mirror as the summary shows it.
trait Shown {
    fn name(&self) -> &str;
    fn partitions(&self) -> i64;
    /// Its own configs that its source topic doesn't have, in words.
    fn kept_configs(&self) -> String {
        String::new()
    }
}

impl Shown for MirrorData {
    fn name(&self) -> &str {
        &self.mirror_topic_name
    }
    fn partitions(&self) -> i64 {
        i64::from(self.num_partitions)
    }
    fn kept_configs(&self) -> String {
        kept_of(self)
    }
}

impl Shown for CreateMirrorsData {
    fn name(&self) -> &str {
        &self.mirror_topic_name
    }
    fn partitions(&self) -> i64 {
        i64::from(self.num_partitions.unwrap_or(0))
    }
}

fn summary(mirrors: &[impl Shown], done: &str) -> String {
    if mirrors.len() > LISTED_MAX || mirrors.is_empty() {
        let partitions: i64 = mirrors.iter().map(Shown::partitions).sum();
        return format!("{} mirrors {done}, partitions: {partitions}", mirrors.len());
    }
    let line = |mirror| {
        let (name, partitions) = (Shown::name(mirror), Shown::partitions(mirror));
        let kept = match Shown::kept_configs(mirror) {
            kept if kept.is_empty() => kept,
            kept => format!("\n  own configs: {kept}"),
        };
        format!("mirror {name} {done}, partitions: {partitions}{kept}")
    };
    mirrors.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn refusal(refused: &[CreateMirrorsData]) -> CliError {
    let mut text = format!("refused for {} topics:", refused.len());
    for one in refused {
        let reason = one.error_message.as_deref().unwrap_or("no reason given");
        text.push_str(&format!("\n  {}: {reason}", one.source_topic_name));
    }
    CliError::Failed(text)
}

/// What the mirrors have to hold before the wait ends: set when the source is first seen, so that a
/// source that is written to all the time does not make it endless.
#[derive(Default)]
struct Goal {
    ends: BTreeMap<(String, i32), i64>,
}

/// How far the mirrors are on the way to their goal.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    done: u64,
    total: u64,
    bytes: u64,
    reached: bool,
}

impl Goal {
    fn standing(&mut self, mirrors: &[MirrorData]) -> Standing {
        let mut standing = Standing {
            done: 0,
            total: 0,
            bytes: 0,
            reached: true,
        };
        for mirror in mirrors {
            standing.reached &= mirror.mirror_lags.len() >= mirror.num_partitions.max(1) as usize;
            for lag in &mirror.mirror_lags {
                standing.bytes += lag.mirrored_bytes;
                let key = (mirror.mirror_topic_name.clone(), lag.partition);
                if !self.ends.contains_key(&key)
                    && let (true, Some(end)) = (lag.lag.is_some(), lag.source_high_watermark)
                {
                    self.ends.insert(key.clone(), end);
                }
                let Some(&end) = self.ends.get(&key) else {
                    standing.reached = false;
                    continue;
                };
                let start = lag.source_log_start_offset.unwrap_or(0).min(end);
                let at = lag.mirror_end_offset.clamp(start, end);
                standing.total += end.abs_diff(start);
                standing.done += at.abs_diff(start);
                standing.reached &= lag.mirror_end_offset >= end;
            }
        }
        standing
    }
}

fn wait(
    client: &Client,
    link: &str,
    names: Vec<String>,
    timeout: Option<Duration>,
) -> CliResult<Vec<MirrorData>> {
    let begun = Instant::now();
    let mut goal = Goal::default();
    let mut progress = Progress::start(format!("mirroring {}", short(&names)));
    loop {
        let mirrors = read(client, link, &names)?;
        if let Some(error) = mirrors.iter().find_map(hopeless) {
            progress.abandon();
            return Err(error);
        }
        let standing = goal.standing(&mirrors);
        let seconds = begun.elapsed().as_secs_f64().max(0.001);
        let rate = HumanBytes((standing.bytes as f64 / seconds) as u64);
        let note = format!(
            "{}/{} records, {} at {rate}/s{}",
            HumanCount(standing.done),
            HumanCount(standing.total),
            HumanBytes(standing.bytes),
            mirrors.iter().find_map(trouble).unwrap_or_default(),
        );
        if standing.reached {
            progress.finish(&format!("caught up: {note}"));
            return Ok(mirrors);
        }
        progress.update(standing.done, standing.total, &note);
        if timeout.is_some_and(|timeout| begun.elapsed() >= timeout) {
            progress.abandon();
            return Err(CliError::Failed(format!(
                "not caught up within {} s ({note}); the mirrors continue, see: carrick mirror \
                 list",
                begun.elapsed().as_secs()
            )));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The names if they are few, their number otherwise.
pub(super) fn short(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [..] if names.len() <= 3 => names.join(", "),
        _ => format!("{} topics", names.len()),
    }
}

/// Why a mirror will not catch up without help.
fn hopeless(mirror: &MirrorData) -> Option<CliError> {
    let name = &mirror.mirror_topic_name;
    match &*mirror.mirror_status {
        "FAILED" | "LINK_FAILED" | "PAUSED" | "LINK_PAUSED" | "STOPPED" | "PENDING_STOPPED" => {
            let cause = mirror
                .mirror_topic_error_message
                .as_deref()
                .unwrap_or("see its link");
            Some(CliError::Failed(format!(
                "mirror {name} is {}: {cause}; more: carrick mirror describe {name}",
                mirror.mirror_status
            )))
        }
        _ => None,
    }
}

/// What holds a mirror up at present.
fn trouble(mirror: &MirrorData) -> Option<String> {
    let problem = mirror
        .mirror_lags
        .iter()
        .find_map(|lag| lag.problem.clone());
    match (problem, &*mirror.mirror_status) {
        (Some(problem), _) => Some(format!(" ({}: {problem})", mirror.mirror_topic_name)),
        (None, "SOURCE_UNAVAILABLE") => Some(" (the source does not answer)".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::ResourceMetadata;
    use crate::http::model::mirror::LagSummaryData;

    fn mirror(end: i64, source: Option<i64>) -> MirrorData {
        let mut lag = crate::cli::mirror::tests::lag(source.map(|hw| hw - end), source.is_some());
        lag.mirror_end_offset = end;
        lag.source_high_watermark = source;
        MirrorData {
            kind: MirrorData::KIND.to_owned(),
            metadata: ResourceMetadata::default(),
            link_name: "west".to_owned(),
            mirror_topic_name: "orders".to_owned(),
            source_topic_name: "orders".to_owned(),
            num_partitions: 1,
            mirror_lags: vec![lag],
            mirror_status: "ACTIVE".to_owned(),
            state_time_ms: 0,
            mirror_topic_error: "NO_ERROR".to_owned(),
            mirror_topic_error_message: None,
            stop_error_message: None,
            next_steps: Vec::new(),
            source_topic_id: None,
            kept_configs: Vec::new(),
            lag_summary: LagSummaryData::default(),
        }
    }

    #[test]
    fn the_wait_ends_at_what_the_source_held_when_first_seen() {
        let mut goal = Goal::default();
        assert!(!goal.standing(&[mirror(0, None)]).reached);
        let standing = goal.standing(&[mirror(40, Some(100))]);
        assert_eq!(
            (standing.done, standing.total, standing.reached),
            (40, 100, false)
        );
        // The source is written to meanwhile: the goal stays.
        assert!(goal.standing(&[mirror(100, Some(500))]).reached);
    }

    #[test]
    fn a_mirror_without_partitions_yet_has_not_caught_up() {
        let mut none = mirror(0, None);
        none.mirror_lags.clear();
        assert!(!Goal::default().standing(&[none]).reached);
    }

    #[test]
    fn an_empty_source_is_caught_up_at_once() {
        assert!(Goal::default().standing(&[mirror(0, Some(0))]).reached);
    }

    #[test]
    fn a_failed_mirror_ends_the_wait_with_its_cause() {
        let mut failed = mirror(0, None);
        failed.mirror_status = "FAILED".to_owned();
        failed.mirror_topic_error_message = Some("the source topic is gone".to_owned());
        let error = hopeless(&failed).expect("no hope");
        assert!(error.to_string().contains("the source topic is gone"));
        assert!(hopeless(&mirror(0, None)).is_none());
    }
}
