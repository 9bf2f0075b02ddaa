//! Verification: reads both sides in parallel and compares them batch by batch.

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::{Batch, BatchHeader, Batches};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};

use super::{LinkManager, cleaned};
use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::lookup::offsets::list;
use crate::lookup::within;
use crate::record::MirrorRecord;
use crate::shared::LinkShared;
use crate::source::fetch::{FetchLimits, FetchPosition, FetchRequest};
use crate::source::{FetchConnection, OffsetSpec, SourceCluster, SourceTopic, TopicSelection};
use crate::verify::{
    BatchSummary, Difference, PartitionVerify, VerifyOptions, VerifyOutcome, VerifyProgress,
    VerifyReport,
};

/// Bytes to read from each side at a time, and for one sample.
const READ_BYTES: u32 = 4 << 20;
const SAMPLE_BYTES: u32 = 256 << 10;

/// How long the source may take to find something, milliseconds, and after how many empty answers
/// there is nothing.
const READ_WAIT_MS: u32 = 5_000;
const EMPTY_READS_MAX: u32 = 3;

/// The last Fetch version with topic names.
const FETCH_VERSION_WITH_NAMES: i16 = 12;

impl LinkManager {
    /// Compares a mirror with its source, batch by batch. Works while it mirrors.
    ///
    /// # Errors
    /// `NotAMirror`, `SourceUnavailable`, `SourceTopic`, `Target`.
    pub async fn verify(
        &self,
        topic: &str,
        options: VerifyOptions,
        progress: &mut (dyn FnMut(VerifyProgress) + Send),
    ) -> Result<VerifyReport, LinkError> {
        self.refuse_when_stopping()?;
        let (shared, record) = self.mirror_record(topic)?;
        refuse_nonsense(&record, &options)?;
        let (source, config) = {
            let inner = shared.inner();
            (Arc::clone(&inner.source), Arc::clone(&inner.config))
        };
        let is_compacted = {
            let name = record.topic.clone();
            let configs = shared
                .blocking(move |ports| ports.catalog.configs(&name))
                .await??;
            configs
                .iter()
                .any(|(name, value)| name == "cleanup.policy" && value.contains("compact"))
        };
        let topic = describe(&*source, &config, &record).await?;
        let mut report = VerifyReport {
            topic: record.topic.to_string(),
            source_topic: record.source_topic.to_string(),
            outcome: VerifyOutcome::NothingCompared,
            identical: false,
            batches: 0,
            bytes: 0,
            partitions: Vec::new(),
        };
        for partition in 0..record.partitions {
            if options.partition.is_some_and(|only| only != partition) {
                continue;
            }
            let sides = Sides {
                shared: &shared,
                local: TopicPartition::new(record.topic.clone(), partition),
                remote: TopicPartition::new(record.source_topic.clone(), partition),
                topic: &topic,
                connection: connect(&*source, &config, &topic, partition).await?,
            };
            let mut done = sides.range(&*source, &config, &options).await?;
            let before = report.bytes;
            let mut tell = |done: &PartitionVerify, offset: Offset| {
                progress(VerifyProgress {
                    partition,
                    offset: offset.0,
                    end: done.to,
                    bytes: before + done.bytes,
                });
            };
            sides
                .compare(&mut done, options.sample, is_compacted, &mut tell)
                .await?;
            report.batches += done.batches;
            report.bytes += done.bytes;
            report.partitions.push(done);
        }
        report.outcome = VerifyOutcome::of(&report.partitions);
        report.identical = report.outcome == VerifyOutcome::Identical;
        Ok(report)
    }

    fn mirror_record(&self, topic: &str) -> Result<(Arc<LinkShared>, MirrorRecord), LinkError> {
        let name = TopicName::new(topic).map_err(|_| LinkError::NotAMirror(topic.to_owned()))?;
        for link in self.links.read().values() {
            if let Some(mirror) = link.inner().mirrors.get(&name) {
                return Ok((Arc::clone(link), mirror.record.clone()));
            }
        }
        Err(LinkError::NotAMirror(topic.to_owned()))
    }
}

/// Refuses options that would compare nothing: the result would look identical.
fn refuse_nonsense(record: &MirrorRecord, options: &VerifyOptions) -> Result<(), LinkError> {
    let all = 0..record.partitions;
    if let Some(partition) = options.partition.filter(|only| !all.contains(only)) {
        return Err(LinkError::InvalidName(format!(
            "'{}' has no partition {partition}, it has {} of them",
            record.topic, record.partitions
        )));
    }
    match (options.from, options.to) {
        (Some(from), Some(to)) if from >= to => Err(LinkError::InvalidName(format!(
            "there are no offsets from {from} to before {to}"
        ))),
        _ => Ok(()),
    }
}

/// The source topic, if it is still the mirrored one.
async fn describe(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    record: &MirrorRecord,
) -> Result<SourceTopic, LinkError> {
    let name = &record.source_topic;
    let asking = source.metadata(TopicSelection::Names(vec![name.clone()]));
    let metadata = within(config, asking).await?;
    let topic = metadata
        .topics
        .into_iter()
        .find(|topic| topic.name == *name)
        .ok_or_else(|| LinkError::NoSuchSourceTopic(name.clone()))?;
    match topic.error {
        ErrorCode::NONE => {}
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
            return Err(LinkError::NoSuchSourceTopic(name.clone()));
        }
        error => {
            let error = error.to_string();
            return Err(LinkError::SourceTopic {
                topic: name.clone(),
                error,
            });
        }
    }
    let (ours, theirs) = (record.source_topic_id, topic.id);
    if !ours.is_zero() && !theirs.is_zero() && ours != theirs {
        let error = format!("another topic of that name: its id is {theirs}, not {ours}");
        return Err(LinkError::SourceTopic {
            topic: name.clone(),
            error,
        });
    }
    Ok(topic)
}

async fn connect(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    topic: &SourceTopic,
    partition: i32,
) -> Result<Arc<dyn FetchConnection>, LinkError> {
    let found = topic
        .partitions
        .iter()
        .find(|found| found.partition == partition);
    let Some(leader) = found.and_then(|found| found.leader) else {
        return Err(LinkError::SourceTopic {
            topic: topic.name.clone(),
            error: format!("no leader for partition {partition}"),
        });
    };
    within(config, source.fetch_connection(leader, u32::MAX)).await
}

/// One partition on both sides.
struct Sides<'a> {
    shared: &'a LinkShared,
    local: TopicPartition,
    remote: TopicPartition,
    topic: &'a SourceTopic,
    connection: Arc<dyn FetchConnection>,
}

impl Sides<'_> {
    /// The part of the requested range that both sides hold.
    async fn range(
        &self,
        source: &dyn SourceCluster,
        config: &LinkConfig,
        options: &VerifyOptions,
    ) -> Result<PartitionVerify, LinkError> {
        let asked = [self.remote.clone()];
        let mut bounds = [0, 0];
        for (spec, bound) in [OffsetSpec::Earliest, OffsetSpec::Latest]
            .into_iter()
            .zip(&mut bounds)
        {
            let answers = list(source, config, &asked, spec).await?;
            *bound = answers
                .first()
                .and_then(|(_, offset)| *offset)
                .map_or(0, |offset| offset.0);
        }
        let local = self.local.clone();
        let ends = self
            .shared
            .blocking(move |ports| ports.local.ends(&local))
            .await??;
        let from = bounds[0]
            .max(ends.log_start.0)
            .max(options.from.unwrap_or(0));
        let to = bounds[1]
            .min(ends.end.0)
            .min(options.to.unwrap_or(i64::MAX));
        Ok(PartitionVerify {
            partition: self.local.partition,
            from,
            to: to.max(from),
            batches: 0,
            bytes: 0,
            compacted_batches: 0,
            compacted_records: 0,
            difference: None,
        })
    }

    async fn compare(
        &self,
        done: &mut PartitionVerify,
        sample: Option<u32>,
        is_compacted: bool,
        tell: &mut (dyn FnMut(&PartitionVerify, Offset) + Send),
    ) -> Result<(), LinkError> {
        let (from, to) = (done.from, done.to);
        let mut at = Offset(from);
        match sample {
            None => {
                while at.0 < to && done.difference.is_none() {
                    at = self.compare_run(done, at, READ_BYTES, is_compacted).await?;
                    tell(done, at);
                }
            }
            Some(spots) => {
                let spots = i64::from(spots.max(1));
                for spot in 0..spots {
                    let spread = i128::from(to - from) * i128::from(spot) / i128::from(spots);
                    at = at.max(Offset(from + i64::try_from(spread).unwrap_or(0)));
                    if at.0 >= to || done.difference.is_some() {
                        break;
                    }
                    at = self
                        .compare_run(done, at, SAMPLE_BYTES, is_compacted)
                        .await?;
                    tell(done, at);
                }
            }
        }
        Ok(())
    }

    /// Compares the results of one read on each side; returns where to continue.
    async fn compare_run(
        &self,
        done: &mut PartitionVerify,
        at: Offset,
        max_bytes: u32,
        is_compacted: bool,
    ) -> Result<Offset, LinkError> {
        let local = self.local.clone();
        let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let reading = self
            .shared
            .blocking(move |ports| ports.local.read(&local, at, limit));
        let mirror = reading.await??;
        let source = self.fetch(at, max_bytes).await?;
        let mut walk = Walk {
            at,
            end: Offset(done.to),
            is_compacted,
        };
        walk.run(done, &source, &mirror);
        Ok(walk.at)
    }

    /// Whole batches of the source from the one that holds `at`; empty if there is nothing from
    /// there on.
    async fn fetch(&self, at: Offset, max_bytes: u32) -> Result<Bytes, LinkError> {
        let version = self.connection.fetch_version();
        let version = if self.topic.id.is_zero() {
            version.min(FETCH_VERSION_WITH_NAMES)
        } else {
            version
        };
        let position = FetchPosition {
            topic_id: self.topic.id,
            fetch_offset: at,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes,
        };
        for _ in 0..EMPTY_READS_MAX {
            let request = FetchRequest {
                version,
                limits: FetchLimits {
                    max_wait_ms: READ_WAIT_MS,
                    min_bytes: 1,
                    max_bytes,
                },
                session_id: 0,
                session_epoch: -1,
                partitions: vec![(self.remote.clone(), position)],
                forgotten: Vec::new(),
                rack: Arc::from(""),
            };
            self.shared.throttle.admitted().await;
            let response = self.connection.fetch(request).await?;
            let refused = |error: ErrorCode| LinkError::SourceTopic {
                topic: self.remote.topic.clone(),
                error: format!("{error} to a fetch of partition {}", self.remote.partition),
            };
            if response.error != ErrorCode::NONE {
                return Err(refused(response.error));
            }
            let Some(answer) = response.partitions.into_iter().next() else {
                continue;
            };
            if answer.data.error != ErrorCode::NONE {
                return Err(refused(answer.data.error));
            }
            if !answer.data.records.is_empty() {
                self.shared.throttle.charge(answer.data.records.len());
                return Ok(answer.data.records);
            }
        }
        Ok(Bytes::new())
    }
}

/// Walks along two runs of batches.
struct Walk {
    at: Offset,
    end: Offset,
    is_compacted: bool,
}

impl Walk {
    /// Compares as far as both runs reach; a side that is empty has nothing up to the end.
    fn run(&mut self, done: &mut PartitionVerify, source: &Bytes, mirror: &Bytes) {
        let mut theirs = self.batches(source);
        let mut ours = self.batches(mirror);
        let (no_theirs, no_ours) = (theirs.peek().is_none(), ours.peek().is_none());
        while self.at < self.end && done.difference.is_none() {
            match (theirs.peek().copied(), ours.peek().copied()) {
                (Some(a), Some(b)) if a.header.base_offset == b.header.base_offset => {
                    self.both(done, &a, &b);
                    theirs.next();
                    ours.next();
                }
                (Some(a), Some(b)) if a.header.base_offset < b.header.base_offset => {
                    self.one(done, Some(&a), None);
                    theirs.next();
                }
                (Some(_), Some(b)) => {
                    self.one(done, None, Some(&b));
                    ours.next();
                }
                (None, Some(b)) if no_theirs => {
                    self.one(done, None, Some(&b));
                    ours.next();
                }
                (Some(a), None) if no_ours => {
                    self.one(done, Some(&a), None);
                    theirs.next();
                }
                (None, None) if no_theirs && no_ours => self.at = self.end,
                // One run has ended: read both sides again from here.
                _ => return,
            }
        }
    }

    /// Whole batches that reach past `at` and begin below the end.
    fn batches<'a>(
        &self,
        run: &'a Bytes,
    ) -> std::iter::Peekable<impl Iterator<Item = Batch<'a>> + use<'a>> {
        let (at, end) = (self.at, self.end);
        Batches::new(run)
            .map_while(Result::ok)
            .skip_while(move |batch| batch.header.next_offset() <= at)
            .take_while(move |batch| batch.header.base_offset < end)
            .peekable()
    }

    fn both(&mut self, done: &mut PartitionVerify, theirs: &Batch<'_>, ours: &Batch<'_>) {
        self.at = ours.header.next_offset().max(theirs.header.next_offset());
        if theirs.bytes == ours.bytes {
            done.batches += 1;
            done.bytes += ours.bytes.len() as u64;
            return;
        }
        let what = if self.is_compacted && theirs.header.crc != ours.header.crc {
            match cleaned::compare(theirs, ours) {
                Ok(records) => {
                    done.compacted_batches += 1;
                    done.compacted_records += records;
                    return;
                }
                Err(what) => what,
            }
        } else {
            what_differs(&theirs.header, &ours.header)
        };
        done.difference = Some(Difference {
            offset: ours.header.base_offset.0,
            what,
            source: Some(summary(&theirs.header)),
            mirror: Some(summary(&ours.header)),
        });
    }

    /// A batch that only one side holds.
    fn one(
        &mut self,
        done: &mut PartitionVerify,
        theirs: Option<&Batch<'_>>,
        ours: Option<&Batch<'_>>,
    ) {
        let Some(batch) = theirs.or(ours) else { return };
        self.at = self.at.max(batch.header.next_offset());
        if self.is_compacted {
            done.compacted_batches += 1;
            return;
        }
        let side = if theirs.is_some() { "source" } else { "mirror" };
        done.difference = Some(Difference {
            offset: batch.header.base_offset.0,
            what: format!("only the {side} has a batch there"),
            source: theirs.map(|batch| summary(&batch.header)),
            mirror: ours.map(|batch| summary(&batch.header)),
        });
    }
}

fn what_differs(theirs: &BatchHeader, ours: &BatchHeader) -> String {
    let mut parts = Vec::new();
    if theirs.size_bytes() != ours.size_bytes() {
        parts.push("length");
    }
    if theirs.crc != ours.crc {
        parts.push("CRC");
    }
    if theirs.leader_epoch != ours.leader_epoch {
        parts.push("leader epoch");
    }
    if parts.is_empty() {
        parts.push("bytes under the same CRC: one side is damaged");
    }
    parts.join(", ")
}

fn summary(header: &BatchHeader) -> BatchSummary {
    BatchSummary {
        base_offset: header.base_offset.0,
        last_offset: header.last_offset().0,
        length_bytes: header.size_bytes() as u64,
        crc: header.crc,
        leader_epoch: header.leader_epoch.0,
    }
}
