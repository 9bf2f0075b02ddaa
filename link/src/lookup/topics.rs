//! What the source now reports about mirrored topics.
//!
//! Metadata comes first: is it still the mirrored topic, and are all its partitions mirrored? Then
//! come the ends of all partitions, mirrored or not. Before a cut the metadata is fetched once
//! more. This proves that the ends belong to that topic and that it had no other partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::ids::{TopicName, TopicPartition};

use super::offsets::list_each;
use super::verdict::{self, Verdict};
use super::within;
use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::record::MirrorRecord;
use crate::report::UnmirroredPartition;
use crate::shared::LinkShared;
use crate::source::{OffsetSpec, SourceCluster, TopicSelection};

/// Where the partitions of a topic end at the source, by topic.
pub(crate) type SourceEnds = BTreeMap<TopicName, Vec<i64>>;

/// The source's answer about each of some mirrors, by the mirror's name here.
pub(crate) type Answers = BTreeMap<TopicName, Answer>;

/// The source's answer about one mirrored topic.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The mirror as it was when the source was asked.
    pub(crate) record: MirrorRecord,
    /// Is it still that topic?
    pub(crate) verdict: Verdict,
    /// Where its partitions end, mirrored or not, in their order; `None` where the source gave no
    /// offset. Empty unless it is that topic.
    pub(crate) ends: Vec<Option<i64>>,
    /// What partitions without a mirror hold.
    pub(crate) unmirrored: Vec<UnmirroredPartition>,
    /// Why it gave no offset for a partition.
    untold: Option<LinkError>,
}

impl Answer {
    /// Where the partitions end, if it is the mirrored topic, has no new partition, and nothing is
    /// missing from the answer.
    pub(crate) fn whole(&self) -> Option<Vec<i64>> {
        let is_same = self.verdict == Verdict::Same;
        is_same.then(|| self.ends.iter().copied().collect())?
    }

    /// Why the answer is missing or incomplete.
    pub(crate) fn problem(&self) -> Option<String> {
        let name = &self.record.source_topic;
        match &self.verdict {
            Verdict::Same | Verdict::Grown(_) => self.untold.as_ref().map(ToString::to_string),
            Verdict::Missing => Some(format!(
                "the source no longer has topic '{name}', or the link may not describe it"
            )),
            Verdict::Unclear(why) => Some(format!("the state of '{name}' is unknown: {why}")),
            Verdict::Failed(_, detail) => Some(detail.clone()),
        }
    }

    /// Why the mirror can't be promoted as things are.
    pub(crate) fn refusal(&self) -> Option<LinkError> {
        Some(LinkError::NotPromotable {
            topic: self.record.topic.clone(),
            reason: self.problem()?,
        })
    }
}

/// Asks the source. Checks the cluster id too: the link may not have checked it yet.
///
/// # Errors
/// `SourceUnavailable`, `WrongCluster`, `NotAMirror`.
pub(crate) async fn ask(shared: &LinkShared, topics: &[TopicName]) -> Result<Answers, LinkError> {
    let mut answers = judged(shared, topics).await?;
    let (source, config) = client(shared);
    // Kafka refuses a partition that one request names twice: ends first, then starts.
    let all = |answer: &Answer| 0..count_of(answer);
    let ends = list(&*source, &config, &answers, OffsetSpec::Latest, all).await?;
    let beyond = |answer: &Answer| answer.record.partitions..count_of(answer);
    let starts = list(&*source, &config, &answers, OffsetSpec::Earliest, beyond).await?;
    let (mut ends, mut starts) = (ends.into_iter(), starts.into_iter());
    for answer in answers.values_mut() {
        let told: Vec<_> = ends.by_ref().take(all(answer).len()).collect();
        answer.untold = told.iter().find_map(|end| end.as_ref().err().cloned());
        answer.ends = told.into_iter().map(Result::ok).collect();
        let unmirrored = beyond(answer).map(|partition| {
            let end = usize::try_from(partition)
                .ok()
                .and_then(|at| *answer.ends.get(at)?);
            let start = starts.next().and_then(Result::ok);
            UnmirroredPartition {
                partition,
                records: start.zip(end).map(|(start, end)| (end - start).max(0)),
            }
        });
        answer.unmirrored = unmirrored.collect();
    }
    Ok(answers)
}

/// Offsets of some partitions of all these topics, in their order; an error for a partition whose
/// offset the source does not give.
async fn list(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    topics: &Answers,
    spec: OffsetSpec,
    partitions: impl Fn(&Answer) -> std::ops::Range<i32>,
) -> Result<Vec<Result<i64, LinkError>>, LinkError> {
    let mut asked = Vec::new();
    for topic in topics.values() {
        let name = &topic.record.source_topic;
        asked.extend(partitions(topic).map(|index| TopicPartition::new(name.clone(), index)));
    }
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let answers = list_each(source, config, asked, spec).await?;
    let told = answers
        .into_iter()
        .map(|(_, offset)| Ok(offset?.map_or(0, |offset| offset.0)));
    Ok(told.collect())
}

/// Where all of these end, if every one of them is the mirrored topic, with all partitions mirrored.
/// Call it while the mirrors are held.
pub(crate) async fn confirm(
    shared: &LinkShared,
    topics: &[TopicName],
) -> Result<Option<SourceEnds>, LinkError> {
    let answers = ask(shared, topics).await?;
    let Some(ends) = whole(&answers) else {
        return Ok(None);
    };
    let again = judged(shared, topics).await?;
    let are_same = again.values().all(|answer| answer.verdict == Verdict::Same);
    Ok(are_same.then_some(ends))
}

/// Where all of these end, if no answer is incomplete.
pub(crate) fn whole(answers: &Answers) -> Option<SourceEnds> {
    let ends = answers
        .iter()
        .map(|(topic, answer)| Some((topic.clone(), answer.whole()?)));
    ends.collect()
}

/// How many partitions the mirrored topic has at the source; 0 if it is not that topic.
fn count_of(answer: &Answer) -> i32 {
    match answer.verdict {
        Verdict::Same => answer.record.partitions,
        Verdict::Grown(count) => count,
        _ => 0,
    }
}

fn client(shared: &LinkShared) -> (Arc<dyn SourceCluster>, Arc<LinkConfig>) {
    let inner = shared.inner();
    (Arc::clone(&inner.source), Arc::clone(&inner.config))
}

/// Fresh metadata of these mirrors' topics, with the verdict on each. Ends are not asked for.
pub(crate) async fn judged(
    shared: &LinkShared,
    topics: &[TopicName],
) -> Result<Answers, LinkError> {
    if topics.is_empty() {
        return Ok(Answers::new());
    }
    let (source, config) = client(shared);
    let (records, expected) = {
        let inner = shared.inner();
        let record = |topic: &TopicName| {
            let mirror = inner.mirrors.get(topic);
            let mirror = mirror.ok_or_else(|| LinkError::NotAMirror(topic.to_string()))?;
            Ok(mirror.record.clone())
        };
        let records: Result<Vec<MirrorRecord>, LinkError> = topics.iter().map(record).collect();
        (records?, inner.record.source_cluster_id.clone())
    };
    let names = records.iter().map(|record| record.source_topic.clone());
    let selection = TopicSelection::Names(names.collect());
    let metadata = within(&config, source.metadata(selection)).await?;
    if let (Some(expected), Some(found)) = (expected, &metadata.cluster.cluster_id)
        && expected != *found
    {
        let found = found.clone();
        return Err(LinkError::WrongCluster { expected, found });
    }
    let told: BTreeMap<_, _> = metadata.topics.iter().map(|it| (&it.name, it)).collect();
    let answers = records.into_iter().map(|record| {
        let verdict = verdict::judge(&record, told.get(&record.source_topic).copied());
        let answer = Answer {
            verdict,
            ends: Vec::new(),
            unmirrored: Vec::new(),
            untold: None,
            record,
        };
        (answer.record.topic.clone(), answer)
    });
    Ok(answers.collect())
}
