//! Commits, and going on after restarts: of the broker by `kill -9` and by SIGTERM, and of the client by a crash.

use harness::{Carrick, Result};
use serde_json::json;

use super::{Capability, Member, produce, wait_committed, wait_shared};
use crate::library::Library;
use crate::matrix::Stage;

pub const CAPABILITY: Capability = Capability {
    name: "resume",
    ops: &["commit"],
    run: go_on_after_restarts,
};

const PARTITIONS: usize = 4;

fn go_on_after_restarts(library: &Library, stage: &mut Stage) -> Result<()> {
    let mut carrick = Carrick::start()?;
    let bootstrap = carrick.bootstrap();
    let java = stage.java(&bootstrap)?;
    java.call(
        "create_topic",
        json!({"topic": "orders", "partitions": PARTITIONS}),
    )?;
    let first = Member::join(library, &carrick, "g", "orders", None)?;
    let mut members = vec![first];
    wait_shared(&mut members, PARTITIONS)?;
    produce(java, "orders", 4, 100)?;
    wait_committed(java, "g", "orders", PARTITIONS, 100)?;
    let explicit = json!({
        "group": "by-hand", "topic": "orders", "partition": 2, "offset": 42, "metadata": "a note",
    });
    let commits = library.lacks("commit").is_none();
    if commits {
        members[0].peer.call("commit", explicit)?;
    }

    carrick.kill();
    carrick.restart()?;
    wait_committed(java, "g", "orders", PARTITIONS, 100)?;
    produce(java, "orders", 4, 25)?;
    wait_committed(java, "g", "orders", PARTITIONS, 125)?;

    members.clear();
    produce(java, "orders", 4, 10)?;
    carrick.stop()?;
    carrick.restart()?;
    members.push(Member::join(library, &carrick, "g", "orders", None)?);
    wait_committed(java, "g", "orders", PARTITIONS, 135)?;
    members[0].state()?;
    let consumed = members[0].consumed;
    assert_eq!(
        consumed, 40,
        "it goes on where the group was, and reads nothing again"
    );
    if commits {
        let wanted = json!({"group": "by-hand", "topic": "orders", "partition": 2});
        for peer in [&mut members[0].peer, java] {
            let found = peer.call("committed", wanted.clone())?;
            let (by, offset) = (peer.library(), &found["offset"]);
            assert_eq!(*offset, 42, "{by} is told the offset");
            // confluent-kafka-python sends the text with C's closing zero.
            let metadata = found["metadata"].as_str().unwrap_or_default();
            let metadata = metadata.trim_end_matches('\0');
            assert_eq!(metadata, "a note", "{by} is told the metadata");
        }
    }
    Ok(())
}
