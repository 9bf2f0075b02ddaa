//! Every codec that the library has, both ways: what it wrote the Java client reads back the same, and what the Java
//! client wrote it reads the same, by a digest over timestamps, keys, values and headers.

use carrick_protocol::batch::BatchHeader;
use harness::{Carrick, Peer, Result, segments};
use serde_json::{Value, json};

use super::{Capability, now_ms};
use crate::library::Library;
use crate::matrix::Stage;

/// The ops are the codecs: a library may lack some.
pub const CAPABILITY: Capability = Capability {
    name: "codecs",
    ops: CODECS,
    run: each_codec_both_ways,
};

/// All that Kafka knows; the index is the codec's number on the wire.
const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: u64 = 300;

fn each_codec_both_ways(library: &Library, stage: &mut Stage) -> Result<()> {
    let carrick = Carrick::start()?;
    let bootstrap = carrick.bootstrap();
    let java = stage.java(&bootstrap)?;
    let mut peer = (library.start)(&bootstrap)?;
    for (number, codec) in CODECS.iter().enumerate() {
        if library.lacks(codec).is_some() {
            continue;
        }
        let ours = format!("by-it-{codec}");
        write(&mut peer, java, &ours, codec)?;
        check_on_disk(&carrick, &ours, number)?;
        let theirs = format!("by-java-{codec}");
        let written = write_by_java(java, &theirs, codec)?;
        check_read(&mut peer, &theirs, &written)?;
    }
    Ok(())
}

fn batch(topic: &str, codec: &str) -> Result<Value> {
    Ok(json!({
        "topic": topic, "partition": 0, "count": RECORDS, "min_bytes": 1, "max_bytes": 3000, "keys": 13,
        "tombstones": true, "compression": codec, "seed": 7, "timestamp_ms": now_ms()?,
    }))
}

/// The library writes; it, and the Java client, read.
fn write(peer: &mut Peer, java: &mut Peer, topic: &str, codec: &str) -> Result<()> {
    java.call("create_topic", json!({"topic": topic}))?;
    let written = peer.call("produce", batch(topic, codec)?)?;
    assert_eq!(written["acked"], RECORDS, "{codec}");
    assert_eq!(written["last_offset"], RECORDS - 1, "{codec}");
    check_read(java, topic, &written)?;
    check_read(peer, topic, &written)
}

fn write_by_java(java: &mut Peer, topic: &str, codec: &str) -> Result<Value> {
    java.call("create_topic", json!({"topic": topic}))?;
    java.call("produce", batch(topic, codec)?)
}

fn check_read(reader: &mut Peer, topic: &str, written: &Value) -> Result<()> {
    let read = reader.call("consume", json!({"topic": topic, "partition": 0}))?;
    let by = reader.library();
    assert_eq!(read["count"], RECORDS, "{by} reads all of {topic}");
    assert_eq!(
        read["content"], written["content"],
        "{by} reads of {topic} what was written"
    );
    Ok(())
}

/// The batches lie there as the library compressed them, so that the reading above was of that codec. Libraries leave
/// single batches alone that would not shrink.
fn check_on_disk(carrick: &Carrick, topic: &str, codec: usize) -> Result<()> {
    let batches = segments::batches(&carrick.partition_dir(topic, 0), 0, i64::MAX)?;
    let mut codecs = Vec::new();
    for (_, bytes) in &batches {
        codecs.push(BatchHeader::parse(bytes)?.compression()? as usize);
    }
    let expected = codecs.iter().all(|c| *c == codec || *c == 0);
    assert!(
        expected && codecs.contains(&codec),
        "{topic} has batches of codecs {codecs:?}"
    );
    Ok(())
}
