//! How long a record is under way, from just before it is written to when a reader has it: one writer and any number
//! of readers in this process, on one clock, each with one connection and no client library between.
//!
//! Readers fetch as Kafka's own consumers do by default: one long poll at a time, one byte is enough.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use carrick_protocol::batch::{BatchBuilder, Batches, records};
use carrick_protocol::client::{decode_response, encode_request};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};

const FETCH_VERSION: i16 = 4;
const PRODUCE_VERSION: i16 = 7;
const LIST_OFFSETS_VERSION: i16 = 2;
const LATEST: i64 = -1;

const MAX_BYTES: i32 = 10 * 1024 * 1024;
const BATCH_MAX_BYTES: usize = 64 << 20;
/// The writer writes so often; with more records per second, more at a time.
const TICK: Duration = Duration::from_millis(1);
/// A reader that has heard nothing for so long has lost something.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is written: `seconds` long, `per_second` records of `record_bytes` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Records a second.
    pub per_second: u64,
    /// For how long.
    pub seconds: u64,
    /// Size of a record's value, at least 24.
    pub record_bytes: usize,
    /// Distinguishes this load's records from others.
    pub run: u64,
    /// Time zero of all who take part.
    pub clock: Instant,
}

impl Load {
    fn count(&self) -> u64 {
        self.per_second * self.seconds
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A topic at a broker that leads all of its partitions.
#[derive(Debug, Clone)]
pub struct Place {
    /// `host:port`.
    pub address: String,
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
}

/// Writes the load, round robin over the partitions, one request a tick; returns once all of it is acknowledged.
///
/// # Errors
/// When the connection breaks or the broker refuses a batch.
pub fn write(place: &Place, load: Load) -> Result<()> {
    let mut stream = connect(&place.address)?;
    let mut answers = stream.try_clone()?;
    let ticks_per_second = 1_000_000_000 / u64::try_from(TICK.as_nanos())?;
    let per_tick = load.per_second.div_ceil(ticks_per_second).max(1);
    let requests = load.count().div_ceil(per_tick);
    let interval = Duration::from_nanos(per_tick * 1_000_000_000 / load.per_second);
    let reading = std::thread::spawn(move || -> Result<()> {
        for _ in 0..requests {
            acknowledged(&mut answers)?;
        }
        Ok(())
    });
    let begin = Instant::now();
    for number in 0..requests {
        let due = begin + interval * u32::try_from(number)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let first = number * per_tick;
        let batch = batch(load, first..(first + per_tick).min(load.count()))?;
        let partition = i32::try_from(number % u64::try_from(place.partitions)?)?;
        stream.write_all(&produce(&place.topic, partition, batch)?)?;
    }
    reading
        .join()
        .map_err(|_| anyhow!("the reader of acknowledgements panicked"))?
}

fn batch(load: Load, numbers: std::ops::Range<u64>) -> Result<Bytes> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut value = vec![0; load.record_bytes];
    let mut builder = BatchBuilder::new();
    for number in numbers {
        for (at, field) in [load.run, number, load.now_ns()].into_iter().enumerate() {
            value[at * 8..at * 8 + 8].copy_from_slice(&field.to_be_bytes());
        }
        builder = builder.record(i64::try_from(now_ms)?, None, Some(&value));
    }
    Ok(builder.build().freeze())
}

fn produce(topic: &str, partition: i32, batch: Bytes) -> Result<Bytes> {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    Ok(encode_request(1, "latency", &request, PRODUCE_VERSION)?)
}

fn acknowledged(stream: &mut TcpStream) -> Result<()> {
    // A link's vocabulary has no Produce: the answer is decoded by hand, behind its correlation id.
    let mut frame = frame(stream)?.split_off(4);
    let response = ProduceResponse::decode(&mut frame, PRODUCE_VERSION)?;
    for partition in response
        .responses
        .iter()
        .flat_map(|t| &t.partition_responses)
    {
        ensure!(
            partition.error_code == 0,
            "a batch was refused: error {}",
            partition.error_code
        );
    }
    Ok(())
}

/// Where every partition of a place ends.
///
/// # Errors
/// When the broker cannot be connected to or does not tell.
pub fn ends_of(place: &Place) -> Result<Vec<i64>> {
    let ends = ends(&mut connect(&place.address)?, place)?;
    Ok(ends.into_values().collect())
}

/// A thread that reads what a load writes.
pub struct Reader {
    thread: JoinHandle<Result<Vec<u64>>>,
    is_over: Arc<AtomicBool>,
}

impl Reader {
    /// Reads the topic from its present end on.
    ///
    /// # Errors
    /// When the broker cannot be connected to or does not tell where the topic ends.
    pub fn start(place: &Place, load: Load) -> Result<Self> {
        let mut stream = connect(&place.address)?;
        let mut next = ends(&mut stream, place)?;
        let (place, is_over) = (place.clone(), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut latencies = vec![0; usize::try_from(load.count())?];
            let (mut left, mut heard) = (load.count(), Instant::now());
            while left > 0 && !over.load(Ordering::Relaxed) {
                let read = read(&mut stream, &place, load, &mut next, &mut latencies)?;
                left -= read;
                if read > 0 {
                    heard = Instant::now();
                }
                ensure!(
                    heard.elapsed() < SILENCE_MAX,
                    "{left} records have not come"
                );
            }
            Ok(latencies)
        });
        Ok(Self { thread, is_over })
    }

    /// How long each record took, in nanoseconds, by its number; waits for the last.
    ///
    /// # Errors
    /// What ended the reader early.
    pub fn finish(self) -> Result<Vec<u64>> {
        self.thread
            .join()
            .map_err(|_| anyhow!("a reader panicked"))?
    }

    /// Whether it has everything, or has failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it before it has everything.
    pub fn abandon(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

/// One long poll; how many of the load's records came.
fn read(
    stream: &mut TcpStream,
    place: &Place,
    load: Load,
    next: &mut BTreeMap<i32, i64>,
    latencies: &mut [u64],
) -> Result<u64> {
    stream.write_all(&fetch(&place.topic, next)?)?;
    let response = answer::<FetchRequest>(stream, FETCH_VERSION)?;
    let now_ns = load.now_ns();
    let mut count = 0;
    for partition in response.responses.into_iter().flat_map(|t| t.partitions) {
        if partition.error_code != 0 {
            bail!("a fetch was refused: error {}", partition.error_code);
        }
        for batch in Batches::new(&partition.records.unwrap_or_default()) {
            let batch = batch?;
            next.insert(partition.partition_index, batch.header.next_offset().0);
            for record in records(&batch, BATCH_MAX_BYTES)? {
                let value = record?.value.unwrap_or_default();
                let field = |at: usize| -> Option<u64> {
                    Some(u64::from_be_bytes(
                        value.get(at * 8..at * 8 + 8)?.try_into().ok()?,
                    ))
                };
                if field(0) != Some(load.run) {
                    continue;
                }
                let number = usize::try_from(field(1).context("no number")?)?;
                let sent_ns = field(2).context("no time")?;
                let latency = latencies.get_mut(number).context("an unknown number")?;
                count += u64::from(*latency == 0);
                *latency = now_ns.saturating_sub(sent_ns).max(1);
            }
        }
    }
    Ok(count)
}

fn fetch(topic: &str, next: &BTreeMap<i32, i64>) -> Result<Bytes> {
    let partitions = next.iter().map(|(index, offset)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(MAX_BYTES)
    });
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(partitions.collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(MAX_BYTES)
        .with_topics(vec![topic]);
    Ok(encode_request(1, "latency", &request, FETCH_VERSION)?)
}

/// Where every partition ends.
fn ends(stream: &mut TcpStream, place: &Place) -> Result<BTreeMap<i32, i64>> {
    let partitions = (0..place.partitions).map(|index| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(LATEST)
    });
    let topic = ListOffsetsTopic::default()
        .with_name(name(&place.topic))
        .with_partitions(partitions.collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    stream.write_all(&encode_request(
        1,
        "latency",
        &request,
        LIST_OFFSETS_VERSION,
    )?)?;
    let response = answer::<ListOffsetsRequest>(stream, LIST_OFFSETS_VERSION)?;
    let mut ends = BTreeMap::new();
    for partition in response.topics.into_iter().flat_map(|t| t.partitions) {
        ensure!(
            partition.error_code == 0,
            "{}: error {}",
            place.topic,
            partition.error_code
        );
        ends.insert(partition.partition_index, partition.offset);
    }
    Ok(ends)
}

fn answer<R: Request>(stream: &mut TcpStream, version: i16) -> Result<R::Response> {
    Ok(decode_response::<R>(frame(stream)?, version)?.1)
}

fn frame(stream: &mut TcpStream) -> Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut frame)?;
    Ok(Bytes::from(frame))
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// The value below which `percent` of `values` lie.
#[must_use]
pub fn percentile(values: &[i64], percent: usize) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).copied().unwrap_or(0)
}
