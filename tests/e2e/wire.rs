//! Versions that the codec lacks, byte for byte against the releases of kafka-clients that speak them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use bytes::Bytes;
use carrick_protocol::frame::{RequestBody, encode_response};
use carrick_protocol::ids::TopicId;
use carrick_protocol::kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use carrick_protocol::kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use carrick_protocol::kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use carrick_protocol::kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use carrick_protocol::kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use carrick_protocol::kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use carrick_protocol::kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, GroupId, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    WriteTxnMarkersRequest,
};
use carrick_protocol::kafka_protocol::protocol::{Request, StrBytes};
use carrick_protocol::newer;
use harness::Result;
use harness::kafka::client_jars;
use harness::process::repository;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// The releases, and messages of each kind.
const RELEASES: [&str; 2] = ["4.3.1", "4.4.0"];
const SAMPLES: usize = 40;

/// A message as its definition has it, and a check of the bytes that a release writes for it.
struct Sample {
    name: &'static str,
    version: i16,
    /// The first release that has this version.
    since: &'static str,
    json: Value,
    check: Box<dyn Fn(Bytes) -> Result<()>>,
}

/// A request that is read back from the bytes.
fn request<R: Request + PartialEq + std::fmt::Debug + 'static>(
    name: &'static str,
    version: i16,
    json: Value,
    expected: R,
) -> Sample {
    let check = move |body: Bytes| {
        let read: R = RequestBody::check(R::KEY, version, body)?.decode()?;
        ensure!(read == expected, "{read:?} instead of {expected:?}");
        Ok(())
    };
    let check = Box::new(check);
    Sample {
        name,
        version,
        since: RELEASES[0],
        json,
        check,
    }
}

fn text(random: &mut StdRng) -> String {
    let length = [0, 1, 7, 126, 127, 300][random.random_range(0..6)];
    let letters = ["a", "ä", "日", "-"];
    (0..length)
        .map(|_| letters[random.random_range(0..letters.len())])
        .collect()
}

fn maybe(random: &mut StdRng) -> Option<String> {
    random.random_bool(0.5).then(|| text(random))
}

fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn many<T>(random: &mut StdRng, mut item: impl FnMut(&mut StdRng) -> T) -> Vec<T> {
    let count = random.random_range(0..4);
    (0..count).map(|_| item(random)).collect()
}

fn commit(random: &mut StdRng) -> Sample {
    let (group, member, instance) = (text(random), text(random), maybe(random));
    let epoch: i32 = random.random();
    let topics = many(random, |random| {
        let id = TopicId::random();
        let partitions = many(random, |random| {
            let (at, offset, epoch): (i32, i64, i32) = random.random();
            let note = maybe(random);
            let json = json!({"partitionIndex": at, "committedOffset": offset,
                "committedLeaderEpoch": epoch, "committedMetadata": note});
            let wire = OffsetCommitRequestPartition::default()
                .with_partition_index(at)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(epoch)
                .with_committed_metadata(note.as_deref().map(wire));
            (json, wire)
        });
        let (json, wire): (Vec<_>, Vec<_>) = partitions.into_iter().unzip();
        let topic = OffsetCommitRequestTopic::default()
            .with_topic_id(id.0)
            .with_partitions(wire);
        (
            json!({"topicId": id.to_string(), "partitions": json}),
            topic,
        )
    });
    let (topics, wire_topics): (Vec<_>, Vec<_>) = topics.into_iter().unzip();
    let json = json!({"groupId": group, "generationIdOrMemberEpoch": epoch, "memberId": member,
        "groupInstanceId": instance, "topics": topics});
    let expected = OffsetCommitRequest::default()
        .with_group_id(GroupId(wire(&group)))
        .with_generation_id_or_member_epoch(epoch)
        .with_member_id(wire(&member))
        .with_group_instance_id(instance.as_deref().map(wire))
        .with_topics(wire_topics);
    request("OffsetCommitRequest", 10, json, expected)
}

fn fetch(random: &mut StdRng) -> Sample {
    let groups = many(random, |random| {
        let (group, member, epoch) = (text(random), maybe(random), random.random::<i32>());
        let all = random.random_bool(0.3);
        let topics = many(random, |random| {
            let id = TopicId::random();
            let at = many(random, StdRng::random::<i32>);
            let json = json!({"topicId": id.to_string(), "partitionIndexes": at});
            let topic = OffsetFetchRequestTopics::default()
                .with_topic_id(id.0)
                .with_partition_indexes(at);
            (json, topic)
        });
        let (json, wire_topics): (Vec<_>, Vec<_>) = topics.into_iter().unzip();
        let json = json!({"groupId": group, "memberId": member, "memberEpoch": epoch,
            "topics": if all { Value::Null } else { Value::from(json) }});
        let wire_group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(wire(&group)))
            .with_member_id(member.as_deref().map(wire))
            .with_member_epoch(epoch)
            .with_topics((!all).then_some(wire_topics));
        (json, wire_group)
    });
    let (groups, wire_groups): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    let stable = random.random_bool(0.5);
    let json = json!({"groups": groups, "requireStable": stable});
    let expected = OffsetFetchRequest::default()
        .with_groups(wire_groups)
        .with_require_stable(stable);
    request("OffsetFetchRequest", 10, json, expected)
}

fn markers(random: &mut StdRng) -> Sample {
    let versions: Vec<i8> = many(random, StdRng::random::<i8>);
    let markers = versions.iter().map(|version| {
        let names = [text(random)];
        let topics = names.map(|name| json!({"name": name, "partitionIndexes": [0, 7]}));
        json!({"producerId": random.random::<i64>(), "producerEpoch": random.random::<i16>(),
            "transactionResult": random.random::<bool>(), "topics": topics,
            "coordinatorEpoch": random.random::<i32>(), "transactionVersion": version})
    });
    let json = json!({"markers": markers.collect::<Vec<_>>()});
    let check = move |body: Bytes| {
        let body = RequestBody::check(WriteTxnMarkersRequest::KEY, 2, body)?;
        let read: WriteTxnMarkersRequest = body.decode()?;
        let said: Vec<i8> = read
            .markers
            .iter()
            .map(newer::transaction_version)
            .collect();
        ensure!(said == versions, "{said:?} instead of {versions:?}");
        Ok(())
    };
    Sample {
        name: "WriteTxnMarkersRequest",
        version: 2,
        since: RELEASES[0],
        json,
        check: Box::new(check),
    }
}

/// A response that must come out as the release writes it.
fn response(name: &'static str, version: i16, json: Value, mine: Bytes) -> Sample {
    let check = move |body: Bytes| {
        // Length, correlation id and the header's tagged fields.
        let mine = mine.slice(9..);
        ensure!(mine == body, "{mine:02x?} instead of {body:02x?}");
        Ok(())
    };
    Sample {
        name,
        version,
        since: RELEASES[0],
        json,
        check: Box::new(check),
    }
}

fn committed(random: &mut StdRng) -> Result<Sample> {
    let (id, code) = (TopicId::random(), random.random::<i16>());
    let json = json!({"throttleTimeMs": 3, "topics": [{"topicId": id.to_string(),
        "partitions": [{"partitionIndex": 1, "errorCode": code}]}]});
    let partition = OffsetCommitResponsePartition::default()
        .with_partition_index(1)
        .with_error_code(code);
    let topic = OffsetCommitResponseTopic::default()
        .with_topic_id(id.0)
        .with_partitions(vec![partition]);
    let mine = OffsetCommitResponse::default()
        .with_throttle_time_ms(3)
        .with_topics(vec![topic]);
    let mine = encode_response(1, 1, &mine, 10)?;
    Ok(response("OffsetCommitResponse", 10, json, mine))
}

fn fetched(random: &mut StdRng) -> Result<Sample> {
    let (id, offset, note) = (TopicId::random(), random.random::<i64>(), text(random));
    let json = json!({"throttleTimeMs": 3, "groups": [{"groupId": "g", "errorCode": 5,
        "topics": [{"topicId": id.to_string(), "partitions": [{"partitionIndex": 1,
            "committedOffset": offset, "committedLeaderEpoch": 2, "metadata": note,
            "errorCode": 100}]}]}]});
    let partition = OffsetFetchResponsePartitions::default()
        .with_partition_index(1)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(2)
        .with_metadata(Some(wire(&note)))
        .with_error_code(100);
    let topic = OffsetFetchResponseTopics::default()
        .with_topic_id(id.0)
        .with_partitions(vec![partition]);
    let group = OffsetFetchResponseGroup::default()
        .with_group_id(GroupId(wire("g")))
        .with_error_code(5)
        .with_topics(vec![topic]);
    let mine = OffsetFetchResponse::default()
        .with_throttle_time_ms(3)
        .with_groups(vec![group]);
    let mine = encode_response(1, 1, &mine, 10)?;
    Ok(response("OffsetFetchResponse", 10, json, mine))
}

fn commit_in_transaction(random: &mut StdRng) -> Sample {
    let (name, group, member, instance) = (text(random), text(random), text(random), maybe(random));
    let (producer, epoch, generation): (i64, i16, i32) = random.random();
    let topics = many(random, |random| {
        let id = TopicId::random();
        let (at, offset, leader_epoch): (i32, i64, i32) = random.random();
        let note = maybe(random);
        let json = json!({"topicId": id.to_string(), "partitions": [{"partitionIndex": at,
            "committedOffset": offset, "committedLeaderEpoch": leader_epoch,
            "committedMetadata": note}]});
        (json, (id, (at, offset, leader_epoch, note)))
    });
    let (topics, expected): (Vec<_>, Vec<_>) = topics.into_iter().unzip();
    let json = json!({"transactionalId": name, "groupId": group, "producerId": producer,
        "producerEpoch": epoch, "generationIdOrMemberEpoch": generation, "memberId": member,
        "groupInstanceId": instance, "topics": topics});
    let check = move |body: Bytes| {
        let body = RequestBody::check(TxnOffsetCommitRequest::KEY, 6, body)?;
        let read: TxnOffsetCommitRequest = body.decode()?;
        let said = (read.transactional_id.as_str(), read.group_id.as_str());
        ensure!(said == (&*name, &*group), "{said:?}");
        let said = (read.producer_id.0, read.producer_epoch, read.generation_id);
        ensure!(said == (producer, epoch, generation), "{said:?}");
        let said = (&*read.member_id, read.group_instance_id.as_deref());
        ensure!(said == (&*member, instance.as_deref()), "{said:?}");
        let topics = read.topics.iter().flat_map(|topic| {
            let id = TopicId(newer::topic_id(topic));
            topic.partitions.iter().map(move |part| {
                let note = part.committed_metadata.as_ref().map(ToString::to_string);
                let place = (part.partition_index, part.committed_offset);
                (id, (place.0, place.1, part.committed_leader_epoch, note))
            })
        });
        let said: Vec<_> = topics.collect();
        ensure!(said == expected, "{said:?} instead of {expected:?}");
        Ok(())
    };
    Sample {
        name: "TxnOffsetCommitRequest",
        version: 6,
        since: "4.4.0",
        json,
        check: Box::new(check),
    }
}

fn committed_in_transaction(random: &mut StdRng) -> Result<Sample> {
    let topics = many(random, |random| {
        let (id, code) = (TopicId::random(), random.random::<i16>());
        let json = json!({"topicId": id.to_string(),
            "partitions": [{"partitionIndex": 1, "errorCode": code}]});
        let partition = TxnOffsetCommitResponsePartition::default()
            .with_partition_index(1)
            .with_error_code(code);
        let topic = TxnOffsetCommitResponseTopic::default().with_partitions(vec![partition]);
        (json, newer::with_topic_id(topic, id.0))
    });
    let (topics, wire_topics): (Vec<_>, Vec<_>) = topics.into_iter().unzip();
    let json = json!({"throttleTimeMs": 3, "topics": topics});
    let mine = TxnOffsetCommitResponse::default()
        .with_throttle_time_ms(3)
        .with_topics(wire_topics);
    let mine = encode_response(1, 1, &mine, 6)?;
    let sample = response("TxnOffsetCommitResponse", 6, json, mine);
    Ok(Sample {
        since: "4.4.0",
        ..sample
    })
}

fn deletion(random: &mut StdRng) -> Sample {
    let groups = many(random, text);
    let names = groups.iter().map(|group| GroupId(wire(group)));
    let expected = DeleteGroupsRequest::default().with_groups_names(names.collect());
    let json = json!({"groupsNames": groups});
    Sample {
        since: "4.4.0",
        ..request("DeleteGroupsRequest", 3, json, expected)
    }
}

fn deleted(random: &mut StdRng) -> Result<Sample> {
    let results = many(random, |random| {
        // Names are keys of a map at the client.
        let group = format!("{}{}", text(random), random.random::<u64>());
        let (code, message) = (random.random::<i16>(), maybe(random));
        let json = json!({"groupId": group, "errorCode": code, "errorMessage": message});
        let result = DeletableGroupResult::default()
            .with_group_id(GroupId(wire(&group)))
            .with_error_code(code);
        let result = match message {
            Some(message) => newer::with_error_message(result, message),
            None => result,
        };
        (json, result)
    });
    let (results, wire_results): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let json = json!({"throttleTimeMs": 3, "results": results});
    let mine = DeleteGroupsResponse::default()
        .with_throttle_time_ms(3)
        .with_results(wire_results);
    let mine = encode_response(1, 1, &mine, 3)?;
    let sample = response("DeleteGroupsResponse", 3, json, mine);
    Ok(Sample {
        since: "4.4.0",
        ..sample
    })
}

/// What a release writes, one body per line of `asked`.
fn ask(release: &'static str, asked: &str) -> Result<Vec<Bytes>> {
    let jars = client_jars(release)?;
    let source = repository().join("tests/harness/java/wire/Wire.java");
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-cp", &jars]).arg(source);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = command.spawn()?;
    let mut input = peer.stdin.take().context("standard input")?;
    let asked = asked.to_owned();
    let asking = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let answer = peer.wait_with_output()?;
    ensure!(answer.status.success(), "Wire.java failed on {release}");
    asking.join().ok().context("the asking thread")??;
    let lines = String::from_utf8(answer.stdout)?;
    lines.lines().map(from_hex).collect()
}

fn from_hex(line: &str) -> Result<Bytes> {
    let digits: Vec<u32> = line.chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]));
    Ok(bytes.collect::<std::result::Result<Vec<u8>, _>>()?.into())
}

#[test]
fn newer_versions_are_read_and_written_as_kafkas_clients_do() -> Result<()> {
    let mut random = StdRng::seed_from_u64(10);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        samples.extend([
            commit(&mut random),
            fetch(&mut random),
            markers(&mut random),
            committed(&mut random)?,
            fetched(&mut random)?,
            commit_in_transaction(&mut random),
            committed_in_transaction(&mut random)?,
            deletion(&mut random),
            deleted(&mut random)?,
        ]);
    }
    for release in RELEASES {
        let samples: Vec<_> = samples
            .iter()
            .filter(|sample| sample.since <= release)
            .collect();
        let mut asked = String::new();
        for sample in &samples {
            writeln!(asked, "{} {} {}", sample.name, sample.version, sample.json)?;
        }
        let bodies = ask(release, &asked)?;
        ensure!(bodies.len() == samples.len(), "{release} answered in part");
        for (sample, body) in samples.iter().zip(bodies) {
            let told = (sample.check)(body);
            told.with_context(|| format!("{release}: {} {}", sample.name, sample.json))?;
        }
    }
    Ok(())
}
