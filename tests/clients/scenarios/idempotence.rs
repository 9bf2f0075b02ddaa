//! An idempotent producer whose answers get lost: every record is in the log once, in order.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use carrick_protocol::batch::BatchHeader;
use harness::process::free_ports;
use harness::proxy::Proxy;
use harness::{Carrick, Result, segments};
use serde_json::json;

use super::{Capability, LIMIT, now_ms};
use crate::library::Library;
use crate::matrix::Stage;

pub const CAPABILITY: Capability = Capability {
    name: "idempotence",
    ops: &[],
    run: lost_answers_duplicate_nothing,
};

const RECORDS: u64 = 3000;
/// The sending is spread over this time, so that connections break in the middle of it.
const SPREAD_MS: u64 = 3000;
const CUTS: u32 = 4;
/// Between two cuts. Long enough for any library to connect again and to get something acknowledged.
const BETWEEN: Duration = Duration::from_millis(600);
/// A produce answer is longer: the cut falls into the middle of an answer to records that are in the log.
const BYTES_OF_AN_ANSWER: i64 = 20;

fn lost_answers_duplicate_nothing(library: &Library, stage: &mut Stage) -> Result<()> {
    let [front] = free_ports()?;
    let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{front}");
    let carrick = Carrick::start_with(&[&advertised])?;
    let proxy = Proxy::start(front, &carrick.bootstrap())?;
    let java = stage.java(&carrick.bootstrap())?;
    java.call("create_topic", json!({"topic": "once"}))?;
    let mut peer = (library.start)(&proxy.address())?;
    let log = carrick.partition_dir("once", 0);
    let fields = json!({
        "topic": "once", "partition": 0, "count": RECORDS, "keys": 13, "idempotent": true,
        "spread_ms": SPREAD_MS, "timestamp_ms": now_ms()?,
    });
    let written = thread::scope(|scope| {
        scope.spawn(|| {
            // A connection that breaks before it was ever used is a different case: some libraries
            // then give up.
            let limit = Instant::now() + LIMIT;
            while !has_records(&log) && Instant::now() < limit {
                thread::sleep(Duration::from_millis(20));
            }
            for _ in 0..CUTS {
                proxy.cut_after_each(&[BYTES_OF_AN_ANSWER]);
                thread::sleep(BETWEEN);
            }
        });
        peer.call("produce", fields)
    })?;
    assert!(proxy.cuts() > 0, "no connection was cut");
    assert_eq!(written["acked"], RECORDS);
    let read = java.call("consume", json!({"topic": "once", "partition": 0}))?;
    assert_eq!(read["count"], RECORDS, "each record is there once");
    assert_eq!(read["content"], written["content"], "and in order");
    for (base, bytes) in segments::batches(&log, 0, i64::MAX)? {
        let named = BatchHeader::parse(&bytes)?.has_producer();
        assert!(named, "the batch at {base} has a producer id");
    }
    Ok(())
}

fn has_records(log: &Path) -> bool {
    segments::batches(log, 0, i64::MAX).is_ok_and(|batches| !batches.is_empty())
}
