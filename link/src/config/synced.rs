//! Which topic configs mirrors take from the source, by name.

/// Topic configs that are synced whatever `topic.config.sync.include` says, and immutable on a mirror.
pub(crate) const TOPIC_CONFIGS_ALWAYS_SYNCED: &[&str] = &[
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
];

/// Topic configs that `topic.config.sync.include` may name, and does by default. Those that are always synced
/// may be named too, to no effect.
pub(crate) const TOPIC_CONFIGS_SYNCED_BY_DEFAULT: &str = "compression.type,delete.retention.ms,\
     file.delete.delay.ms,flush.messages,flush.ms,index.interval.bytes,max.compaction.lag.ms,\
     min.cleanable.dirty.ratio,min.compaction.lag.ms,min.insync.replicas,preallocate,retention.bytes,\
     retention.ms,segment.bytes,segment.index.bytes,segment.jitter.ms,segment.ms,\
     unclean.leader.election.enable";
