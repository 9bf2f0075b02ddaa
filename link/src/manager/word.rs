//! The source's word on topics that are mirrored, asked now.
//!
//! Metadata comes first: is it still the mirrored topic, and are all its partitions mirrored? Then
//! come the ends of all partitions, mirrored or not. Before a cut the metadata is fetched once more:
//! this proves that the ends are those of that topic and that it had no other partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::ids::{TopicName, TopicPartition};

use super::cut::SourceEnds;
use super::links::in_time;
use super::offsets::list_each;
use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::link::shared::LinkShared;
use crate::record::MirrorRecord;
use crate::report::UnmirroredPartition;
use crate::source::{OffsetSpec, SourceCluster, TopicSelection};
use crate::tasks::topics::{self, Verdict};

/// What the source says of each of some mirrors.
pub(crate) type Words = BTreeMap<TopicName, Word>;

/// What the source says of one mirrored topic.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    /// The mirror when the source was asked.
    pub(crate) record: MirrorRecord,
    /// Is it still that topic?
    pub(crate) verdict: Verdict,
    /// Where its partitions end, mirrored or not, in their order; `None` where it didn't tell.
    /// Empty unless it is that topic.
    pub(crate) ends: Vec<Option<i64>>,
    /// What partitions without a mirror hold.
    pub(crate) unmirrored: Vec<UnmirroredPartition>,
    /// Why it told nothing of a partition.
    untold: Option<LinkError>,
}

impl Word {
    /// Where the partitions end, if it is the topic that is mirrored, with no partition more, and
    /// nothing is missing from the answer.
    pub(super) fn whole(&self) -> Option<Vec<i64>> {
        let is_same = self.verdict == Verdict::Same;
        is_same.then(|| self.ends.iter().copied().collect())?
    }

    /// Why there is nothing to be known, or not all.
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
    pub(super) fn refusal(&self) -> Option<LinkError> {
        Some(LinkError::NotPromotable {
            topic: self.record.topic.clone(),
            reason: self.problem()?,
        })
    }
}

/// Asks the source, of the right cluster even if the link has not got round to looking who answers
/// there.
///
/// # Errors
/// `SourceUnavailable`, `WrongCluster`, `NotAMirror`.
pub(crate) async fn ask(shared: &LinkShared, topics: &[TopicName]) -> Result<Words, LinkError> {
    let mut words = judged(shared, topics).await?;
    let (source, config) = client(shared);
    // Kafka refuses a partition that one request names twice: ends first, then starts.
    let all = |word: &Word| 0..count_of(word);
    let ends = list(&*source, &config, &words, OffsetSpec::Latest, all).await?;
    let beyond = |word: &Word| word.record.partitions..count_of(word);
    let starts = list(&*source, &config, &words, OffsetSpec::Earliest, beyond).await?;
    let (mut ends, mut starts) = (ends.into_iter(), starts.into_iter());
    for word in words.values_mut() {
        let told: Vec<_> = ends.by_ref().take(all(word).len()).collect();
        word.untold = told.iter().find_map(|end| end.as_ref().err().cloned());
        word.ends = told.into_iter().map(Result::ok).collect();
        let unmirrored = beyond(word).map(|partition| {
            let end = usize::try_from(partition)
                .ok()
                .and_then(|at| *word.ends.get(at)?);
            let start = starts.next().and_then(Result::ok);
            UnmirroredPartition {
                partition,
                records: start.zip(end).map(|(start, end)| (end - start).max(0)),
            }
        });
        word.unmirrored = unmirrored.collect();
    }
    Ok(words)
}

/// Offsets of some partitions of all these topics, in their order; an error where one is not told.
async fn list(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    words: &Words,
    spec: OffsetSpec,
    partitions: impl Fn(&Word) -> std::ops::Range<i32>,
) -> Result<Vec<Result<i64, LinkError>>, LinkError> {
    let mut asked = Vec::new();
    for word in words.values() {
        let name = &word.record.source_topic;
        asked.extend(partitions(word).map(|index| TopicPartition::new(name.clone(), index)));
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

/// Where all of these end, if every one of them is the topic that is mirrored, with all partitions.
/// To be asked while the mirrors stand still.
pub(super) async fn confirm(
    shared: &LinkShared,
    topics: &[TopicName],
) -> Result<Option<SourceEnds>, LinkError> {
    let words = ask(shared, topics).await?;
    let Some(ends) = whole(&words) else {
        return Ok(None);
    };
    let again = judged(shared, topics).await?;
    let are_same = again.values().all(|word| word.verdict == Verdict::Same);
    Ok(are_same.then_some(ends))
}

/// Where all of these end, if each word is whole.
pub(super) fn whole(words: &Words) -> Option<SourceEnds> {
    let ends = words
        .iter()
        .map(|(topic, word)| Some((topic.clone(), word.whole()?)));
    ends.collect()
}

/// How many partitions the source has of the topic that is mirrored.
fn count_of(word: &Word) -> i32 {
    match word.verdict {
        Verdict::Same => word.record.partitions,
        Verdict::Grown(count) => count,
        _ => 0,
    }
}

fn client(shared: &LinkShared) -> (Arc<dyn SourceCluster>, Arc<LinkConfig>) {
    let inner = shared.inner();
    (Arc::clone(&inner.source), Arc::clone(&inner.config))
}

/// Fresh metadata of these mirrors' topics, judged; nothing is known of their ends yet.
pub(crate) async fn judged(shared: &LinkShared, topics: &[TopicName]) -> Result<Words, LinkError> {
    if topics.is_empty() {
        return Ok(Words::new());
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
    let metadata = in_time(&config, source.metadata(selection)).await?;
    if let (Some(expected), Some(found)) = (expected, &metadata.cluster.cluster_id)
        && expected != *found
    {
        let found = found.clone();
        return Err(LinkError::WrongCluster { expected, found });
    }
    let told: BTreeMap<_, _> = metadata.topics.iter().map(|it| (&it.name, it)).collect();
    let words = records.into_iter().map(|record| {
        let verdict = topics::judge(&record, told.get(&record.source_topic).copied());
        let word = Word {
            verdict,
            ends: Vec::new(),
            unmirrored: Vec::new(),
            untold: None,
            record,
        };
        (word.record.topic.clone(), word)
    });
    Ok(words.collect())
}
