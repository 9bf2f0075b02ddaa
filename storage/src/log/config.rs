//! Limits and rules of one log, in Kafka's terms.

/// Limits for rolling, indexing and retention of a log. `Log::set_config` changes them at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would grow past this.
    pub segment_max_bytes: u32,
    /// `segment.ms`: a segment is rolled when it spans more than this.
    pub segment_max_age_ms: i64,
    /// `segment.jitter.ms`: up to this much earlier, drawn for each segment.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: largest size of an index file.
    pub index_max_bytes: u32,
    /// `retention.ms`; `None` keeps records of any age.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` keeps any amount.
    pub retention_bytes: Option<i64>,
    /// `file.delete.delay.ms`. Files are unlinked immediately and live on while readers hold them,
    /// so the delay has no effect on readers; kept for `DescribeConfigs`.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`: state of an idle producer is forgotten after this.
    pub producer_expiration_ms: i64,
    /// Idempotent producers whose state is kept; those that were silent the longest make room.
    pub producers_max: usize,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        LogConfig {
            segment_max_bytes: 1 << 30,
            segment_max_age_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_max_bytes: 10 << 20,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            file_delete_delay_ms: 60_000,
            producer_expiration_ms: 24 * 3_600_000,
            producers_max: 100_000,
        }
    }
}
