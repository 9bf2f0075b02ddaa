//! The table of topic configs: all names of Kafka's `LogConfig`.

use crate::config::def::Kind::{Boolean, Double, Int, List, Long, String};
use crate::config::def::{Check, ConfigDef, Kind, def};

/// A broker property that gives a topic config its default.
#[derive(Debug, Clone, Copy)]
pub struct Synonym {
    /// The broker property.
    pub name: &'static str,
    /// Its unit, in the topic config's unit (hours to ms).
    pub factor: i64,
}

/// A topic config.
#[derive(Debug, Clone, Copy)]
pub struct TopicConfigDef {
    /// Name, type, default, check and doc.
    pub def: ConfigDef,
    /// The broker properties that give its default; the first that is set wins.
    pub synonyms: &'static [Synonym],
    /// Kafka knows it but does not show it.
    pub hidden: bool,
}

const fn topic(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    check: Check,
    synonyms: &'static [Synonym],
    doc: &'static str,
) -> TopicConfigDef {
    let hidden = default.is_none();
    TopicConfigDef {
        def: def(name, kind, default, check, doc),
        synonyms,
        hidden,
    }
}

const fn of(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 60_000,
    }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 3_600_000,
    }
}

/// Every topic config, by name.
#[rustfmt::skip]
pub static TOPIC_CONFIGS: &[TopicConfigDef] = &[
    topic("cleanup.policy", List, Some("delete"), Check::ListOf(&["compact", "delete"]),
        &[of("log.cleanup.policy")],
        "How old segments are treated: delete, compact or both."),
    topic("compression.gzip.level", Int, Some("-1"), Check::Between(-1, 9),
        &[of("compression.gzip.level")],
        "gzip compression level, if compression.type is gzip; -1 for its default."),
    topic("compression.lz4.level", Int, Some("9"), Check::Between(1, 17),
        &[of("compression.lz4.level")],
        "Known, without effect: lz4 has one level here."),
    topic("compression.type", String, Some("producer"),
        Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        &[of("compression.type")],
        "The codec in which batches are stored; producer keeps the producer's codec."),
    topic("compression.zstd.level", Int, Some("3"), Check::Between(-131_072, 22),
        &[of("compression.zstd.level")],
        "zstd compression level, if compression.type is zstd."),
    topic("delete.retention.ms", Long, Some("86400000"), Check::AtLeast(0),
        &[of("log.cleaner.delete.retention.ms")],
        "How long tombstones of a compacted topic are kept."),
    topic("file.delete.delay.ms", Long, Some("60000"), Check::AtLeast(0),
        &[of("log.segment.delete.delay.ms")],
        "Known, without effect: files are unlinked immediately, and open readers keep their data."),
    topic("flush.messages", Long, Some("9223372036854775807"), Check::AtLeast(1),
        &[of("log.flush.interval.messages")],
        "Not set: acks=all waits for fsync. Above 1: flushed in the background, after this many \
         records."),
    topic("flush.ms", Long, Some("9223372036854775807"), Check::AtLeast(0),
        &[of("log.flush.interval.ms"), of("log.flush.scheduler.interval.ms")],
        "Not set: acks=all waits for fsync. Set: flushed in the background at this interval."),
    topic("follower.replication.throttled.replicas", List, Some(""), Check::Any,
        &[],
        "Known, without effect: there is one replica."),
    topic("index.interval.bytes", Int, Some("4096"), Check::AtLeast(0),
        &[of("log.index.interval.bytes")],
        "Bytes between two entries of the offset and time indexes."),
    topic("internal.segment.bytes", Int, None, Check::AtLeast(1),
        &[],
        "Like segment.bytes, but may be smaller. For tests."),
    topic("leader.replication.throttled.replicas", List, Some(""), Check::Any,
        &[],
        "Known, without effect: there is one replica."),
    topic("local.retention.bytes", Long, Some("-2"), Check::AtLeast(-2),
        &[of("log.local.retention.bytes")],
        "Known, without effect: there is no tiered storage."),
    topic("local.retention.ms", Long, Some("-2"), Check::AtLeast(-2),
        &[of("log.local.retention.ms")],
        "Known, without effect: there is no tiered storage."),
    topic("max.compaction.lag.ms", Long, Some("9223372036854775807"), Check::AtLeast(1),
        &[of("log.cleaner.max.compaction.lag.ms")],
        "Maximum time that a record of a compacted topic stays uncompacted."),
    topic("max.message.bytes", Int, Some("1048588"), Check::AtLeast(0),
        &[of("message.max.bytes")],
        "Largest batch that is accepted. Mirrored batches are exempt."),
    topic("message.timestamp.after.max.ms", Long, Some("3600000"), Check::AtLeast(0),
        &[of("log.message.timestamp.after.max.ms")],
        "How far ahead of the broker's clock a timestamp may be."),
    topic("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), Check::AtLeast(0),
        &[of("log.message.timestamp.before.max.ms")],
        "How far behind the broker's clock a timestamp may be."),
    topic("message.timestamp.type", String, Some("CreateTime"),
        Check::OneOf(&["CreateTime", "LogAppendTime"]),
        &[of("log.message.timestamp.type")],
        "CreateTime keeps the producer's timestamps, LogAppendTime replaces them with the \
         broker's."),
    topic("min.cleanable.dirty.ratio", Double, Some("0.5"), Check::Ratio,
        &[of("log.cleaner.min.cleanable.ratio")],
        "A compacted log is compacted once this share of it is uncompacted."),
    topic("min.compaction.lag.ms", Long, Some("0"), Check::AtLeast(0),
        &[of("log.cleaner.min.compaction.lag.ms")],
        "Minimum time that a record of a compacted topic stays uncompacted."),
    topic("min.insync.replicas", Int, Some("1"), Check::AtLeast(1),
        &[of("min.insync.replicas")],
        "Known, without effect: there is one replica."),
    topic("preallocate", Boolean, Some("false"), Check::Any,
        &[of("log.preallocate")],
        "Known, without effect: segments are never preallocated."),
    topic("remote.log.copy.disable", Boolean, Some("false"), Check::Any,
        &[],
        "Known, without effect: there is no tiered storage."),
    topic("remote.log.delete.on.disable", Boolean, Some("false"), Check::Any,
        &[],
        "Known, without effect: there is no tiered storage."),
    topic("remote.storage.enable", Boolean, Some("false"),
        Check::Only("false", "there is no tiered storage"),
        &[],
        "Must be false: there is no tiered storage."),
    topic("retention.bytes", Long, Some("-1"), Check::Any,
        &[of("log.retention.bytes")],
        "If a partition is larger than this, its oldest segments are deleted; -1 for no limit."),
    topic("retention.ms", Long, Some("604800000"), Check::AtLeast(-1),
        &[of("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")],
        "Segments whose newest record is older than this are deleted; -1 for no limit."),
    topic("segment.bytes", Int, Some("1073741824"), Check::AtLeast(1_048_576),
        &[of("log.segment.bytes")],
        "A segment is rolled before it grows past this."),
    topic("segment.index.bytes", Int, Some("10485760"), Check::AtLeast(4),
        &[of("log.index.size.max.bytes")],
        "Maximum size of an index file."),
    topic("segment.jitter.ms", Long, Some("0"), Check::AtLeast(0),
        &[of("log.roll.jitter.ms"), hours("log.roll.jitter.hours")],
        "A segment is rolled up to this much earlier than segment.ms says, at random."),
    topic("segment.ms", Long, Some("604800000"), Check::AtLeast(1),
        &[of("log.roll.ms"), hours("log.roll.hours")],
        "A segment is rolled when its records span more than this."),
    topic("unclean.leader.election.enable", Boolean, Some("false"), Check::Any,
        &[of("unclean.leader.election.enable")],
        "Known, without effect: there is one replica."),
];
