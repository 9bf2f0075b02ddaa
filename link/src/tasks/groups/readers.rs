//! Groups that read at the source while the mirrors of their topics are cut.

use std::collections::BTreeMap;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicName};

use super::{GROUPS_MAX, GROUPS_PER_STEP, SHARE, ask};
use crate::report::SourceReaders;
use crate::shared::LinkShared;
use crate::source::SourceError;

/// How long the source may take to say who reads.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Groups that a report names.
const NAMED_MAX: usize = 100;

/// The groups that read the topics of some mirrors at the source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers {
    by_topic: BTreeMap<TopicName, Vec<GroupId>>,
    /// Groups with members that have committed nothing: what they read is not known.
    without_commits: Vec<GroupId>,
    problem: Option<String>,
}

impl Readers {
    /// Asks the source which groups have members and have committed offsets of these topics, or none
    /// at all.
    pub(crate) async fn of(link: &LinkShared, topics: &[TopicName]) -> Self {
        match tokio::time::timeout(ANSWER_MAX, asked(link, topics)).await {
            Ok(Ok(readers)) => readers,
            Ok(Err(error)) => Self::unknown(error.to_string()),
            Err(_) => Self::unknown(format!("it did not answer within {ANSWER_MAX:?}")),
        }
    }

    fn unknown(why: String) -> Self {
        Self {
            problem: Some(format!(
                "it is not known which groups read at the source: {why}"
            )),
            ..Self::default()
        }
    }

    /// Those of one mirror.
    pub(crate) fn of_topic(&self, topic: &TopicName) -> SourceReaders {
        let groups = self.by_topic.get(topic).map_or(&[][..], |it| it);
        SourceReaders {
            count: groups.len(),
            groups: named(groups),
            without_commits: named(&self.without_commits),
            problem: self.problem.clone(),
        }
    }
}

fn named(groups: &[GroupId]) -> Vec<String> {
    let first = groups.iter().take(NAMED_MAX);
    first.map(ToString::to_string).collect()
}

async fn asked(link: &LinkShared, topics: &[TopicName]) -> Result<Readers, SourceError> {
    let (source, config, by_source) = {
        let inner = link.inner();
        let mirrors = topics.iter().filter_map(|topic| inner.mirrors.get(topic));
        let by_source: BTreeMap<TopicName, TopicName> = mirrors
            .map(|it| (it.record.source_topic.clone(), it.record.topic.clone()))
            .collect();
        (inner.source.clone(), inner.config.clone(), by_source)
    };
    let listing = source.groups().await?;
    let mut readers = Readers::default();
    let mut problems: Vec<String> = Vec::new();
    for (broker, error) in &listing.silent {
        problems.push(format!("broker {broker}: {error}"));
    }
    let is_old = !listing.groups.is_empty() && listing.groups.iter().all(|it| it.state.is_empty());
    if is_old {
        problems.push("its version does not say which groups have members".to_owned());
    }
    let mut active: Vec<GroupId> = listing
        .groups
        .iter()
        .filter(|group| group.has_members() && group.group_type != SHARE)
        .map(|group| group.id.clone())
        .collect();
    if active.len() > GROUPS_MAX {
        problems.push(format!(
            "only {GROUPS_MAX} of {} groups were checked",
            active.len()
        ));
        active.truncate(GROUPS_MAX);
    }
    for step in active.chunks(GROUPS_PER_STEP) {
        for answer in ask(&*source, &config, step).await? {
            if answer.error != ErrorCode::NONE {
                problems.push(format!("group {}: {}", answer.group, answer.error));
                continue;
            }
            if answer.commits.is_empty() {
                readers.without_commits.push(answer.group.clone());
            }
            let mut read: Vec<&TopicName> = answer
                .commits
                .iter()
                .filter_map(|commit| by_source.get(&commit.partition.topic))
                .collect();
            read.sort();
            read.dedup();
            for topic in read {
                let groups = readers.by_topic.entry(topic.clone()).or_default();
                groups.push(answer.group.clone());
            }
        }
    }
    if let Some(first) = problems.first() {
        let more = match problems.len() {
            1 => String::new(),
            count => format!("; and {} more", count - 1),
        };
        readers.problem = Readers::unknown(format!("{first}{more}")).problem;
    }
    Ok(readers)
}
