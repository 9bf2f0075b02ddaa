//! The metadata watch: is the source topic still the one that is mirrored, and has it grown?

use carrick_protocol::error_code::ErrorCode;

use crate::record::MirrorRecord;
use crate::source::{SourceTopic, answered};
use crate::state::MirrorError;

/// A topic that the source doesn't know must be missing for this long. So a broker that has just
/// started and doesn't know its topics yet doesn't fail a mirror, and a topic that is immediately
/// created again isn't reported as deleted.
pub(crate) const MISSING_MAX_MS: i64 = 5_000;

/// What the source's metadata says about a mirrored topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as it was.
    Same,
    /// It has more partitions: this many.
    Grown(i32),
    /// The source doesn't know it.
    Missing,
    /// The source gives no clear answer at the moment: why.
    Unclear(String),
    /// It is no longer the mirrored topic.
    Failed(MirrorError, String),
}

/// Judges one topic's answer; `None` if the answer left it out.
pub(crate) fn judge(record: &MirrorRecord, topic: Option<&SourceTopic>) -> Verdict {
    let Some(topic) = topic else {
        return Verdict::Unclear("the source left the topic out of its answer".into());
    };
    match topic.error {
        ErrorCode::NONE => {}
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            return Verdict::Missing;
        }
        error => return Verdict::Unclear(answered(error, "DESCRIBE the topic")),
    }
    let (ours, theirs) = (record.source_topic_id, topic.id);
    if !ours.is_zero() && !theirs.is_zero() && ours != theirs {
        let detail = format!(
            "the source's topic '{}' has the id {theirs} now, not {ours}: it was deleted and \
             created again. Fail over to keep what is mirrored, or delete the mirror topic and \
             mirror the new one",
            record.source_topic
        );
        return Verdict::Failed(MirrorError::SourceTopicIdChanged, detail);
    }
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    match count.cmp(&record.partitions) {
        std::cmp::Ordering::Equal => Verdict::Same,
        std::cmp::Ordering::Greater => Verdict::Grown(count),
        // Partitions never go, so that this is what a broker knew before the topic grew.
        std::cmp::Ordering::Less if !ours.is_zero() && ours == theirs => Verdict::Unclear(format!(
            "the source returned only {count} of the {} partitions that it had before",
            record.partitions
        )),
        std::cmp::Ordering::Less => {
            let detail = format!(
                "the source's topic '{}' has {count} partitions, {} were mirrored: it was \
                 created again. Fail over to keep what is mirrored, or delete the mirror topic \
                 and mirror the new one",
                record.source_topic, record.partitions
            );
            Verdict::Failed(MirrorError::SourcePartitionsDecreased, detail)
        }
    }
}

/// The failure of a topic that stays missing.
pub(crate) fn missing(record: &MirrorRecord) -> (MirrorError, String) {
    let detail = format!(
        "the source doesn't know the topic '{}' any more: it may have been deleted, or the link \
         may no longer describe it. `resume` if it exists again, `failover` to keep what is \
         mirrored",
        record.source_topic
    );
    (MirrorError::SourceTopicMayBeDeleted, detail)
}
