//! The yardstick of `mirror_catchup`: Fetch v4 over one connection, read and thrown away. Nothing can pull a topic
//! from the same source much faster than this.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Result, bail};
use bytes::Bytes;
use carrick_protocol::batch::Batches;
use carrick_protocol::client::{decode_response, encode_request};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

const VERSION: i16 = 4;
/// As a link asks: the source's own limits decide.
const MAX_BYTES: i32 = 10 * 1024 * 1024;

/// What was read.
#[derive(Debug, Clone, Copy)]
pub struct Discarded {
    /// Bytes of record batches.
    pub batch_bytes: u64,
}

/// Reads every partition of `topic` from 0 to its end (`ends`, by partition) at the one broker at `address`.
///
/// # Errors
/// When the connection breaks or the broker answers with an error.
pub fn fetch_and_discard(address: &str, topic: &str, ends: &[i64]) -> Result<Discarded> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut left: BTreeMap<i32, (i64, i64)> = (0..).zip(ends.iter().map(|end| (0, *end))).collect();
    let mut batch_bytes = 0;
    while !left.is_empty() {
        let response = exchange(&mut stream, &request(topic, &left))?;
        for partition in response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            if partition.error_code != 0 {
                bail!(
                    "partition {}: error {}",
                    partition.partition_index,
                    partition.error_code
                );
            }
            let records = partition.records.unwrap_or_default();
            let Some((next, end)) = left.get_mut(&partition.partition_index) else {
                continue;
            };
            for batch in Batches::new(&records) {
                let batch = batch?;
                *next = batch.header.next_offset().0;
                batch_bytes += batch.bytes.len() as u64;
            }
            if *next >= *end {
                left.remove(&partition.partition_index);
            }
        }
    }
    Ok(Discarded { batch_bytes })
}

fn request(topic: &str, left: &BTreeMap<i32, (i64, i64)>) -> FetchRequest {
    let partitions = left.iter().map(|(index, (next, _))| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*next)
            .with_partition_max_bytes(MAX_BYTES)
    });
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(MAX_BYTES)
        .with_topics(vec![topic])
}

fn exchange(
    stream: &mut TcpStream,
    request: &FetchRequest,
) -> Result<kafka_protocol::messages::FetchResponse> {
    stream.write_all(&encode_request(1, "raw-fetch", request, VERSION)?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut frame)?;
    Ok(decode_response::<FetchRequest>(Bytes::from(frame), VERSION)?.1)
}
