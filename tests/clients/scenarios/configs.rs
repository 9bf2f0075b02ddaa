//! Administration of configs: describe and alter a topic's. The Java client sees what the library did.

use harness::{Carrick, Result};
use serde_json::json;

use super::Capability;
use crate::library::Library;
use crate::matrix::Stage;

pub const CAPABILITY: Capability = Capability {
    name: "configs",
    ops: &["describe_configs", "alter_configs", REFUSAL],
    run: describe_and_alter,
};

/// That a value which the broker refuses comes back as an error.
const REFUSAL: &str = "refusal of a value";

fn describe_and_alter(library: &Library, stage: &mut Stage) -> Result<()> {
    let carrick = Carrick::start()?;
    let java = stage.java(&carrick.bootstrap())?;
    let mut peer = (library.start)(&carrick.bootstrap())?;
    let topic = json!({"topic": "orders"});
    java.call("create_topic", topic.clone())?;
    let before = peer.call("describe_configs", topic.clone())?;
    assert_eq!(before["configs"]["cleanup.policy"], "delete");
    assert_eq!(before["configs"]["retention.ms"], "604800000");

    let wanted = json!({"retention.ms": "7200000", "max.message.bytes": "500000"});
    peer.call(
        "alter_configs",
        json!({"topic": "orders", "configs": wanted}),
    )?;
    for reader in [&mut peer, java] {
        let after = reader.call("describe_configs", topic.clone())?;
        let by = reader.library();
        for name in ["retention.ms", "max.message.bytes"] {
            let (is, should) = (&after["configs"][name], &wanted[name]);
            assert_eq!(is, should, "{by} sees {name}");
        }
    }
    let bad = json!({"topic": "orders", "configs": {"retention.ms": "soon"}});
    let refused = peer.try_call("alter_configs", bad)?.is_err();
    assert!(refused || library.lacks(REFUSAL).is_some());
    let after = java.call("describe_configs", topic)?;
    assert_eq!(after["configs"]["retention.ms"], "7200000");
    Ok(())
}
