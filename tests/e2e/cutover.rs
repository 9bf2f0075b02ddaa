//! A planned promotion with clients that were not stopped at the source: what they do is said, and what was
//! acknowledged before the cut is here.

use harness::{Result, wait_until};
use serde_json::{Value, json};

use crate::world::{EVERY_GROUP, LIMIT, LINK, World, range};

impl World {
    fn write_orders(&mut self, partition: i32, count: i32) -> Result<()> {
        let fields = json!({"topic": "orders", "partition": partition, "count": count});
        self.source.call("produce", fields).map(drop)
    }

    /// A mirror of 540 records, which the group `billing` reads at the source; its offsets are synced.
    fn mirror_of_a_topic_in_use(&mut self) -> Result<()> {
        self.topic("orders", 1, json!({}))?;
        self.write_orders(0, 500)?;
        let configs = [
            "consumer.offset.sync.enable=true",
            "consumer.offset.sync.ms=1000",
            EVERY_GROUP,
        ];
        self.carrick.link(LINK, &self.kafka.bootstrap(), &configs)?;
        self.carrick.mirror(LINK, &["orders"])?;
        let member = json!({"name": "m", "topic": "orders", "group": "billing"});
        self.source.call("member_start", member)?;
        wait_until("the member to have read all", LIMIT, || {
            let state = self.source.call("member_state", json!({"name": "m"}))?;
            Ok(match state["consumed"] == json!(500) {
                true => Ok(()),
                false => Err(state.to_string()),
            })
        })?;
        self.write_orders(0, 40)?;
        self.wait_caught_up("orders", 1)
    }

    fn kept_report(&self) -> Result<Value> {
        Ok(self.carrick.cli(&["mirror", "report", "orders"])?[0].clone())
    }
}

#[test]
fn clients_that_go_on_at_the_source_are_named_before_the_cut_and_watched_after_it() -> Result<()> {
    let mut world = World::start()?;
    world.mirror_of_a_topic_in_use()?;

    let promote = ["mirror", "promote", "orders", "--link", LINK];
    let dry = world
        .carrick
        .cli(&[&promote[..], &["--dry-run"]].concat())?;
    println!("{dry}");
    let report = &dry[0]["report"];
    assert_eq!(report["readers"]["groups"], json!(["billing"]));
    assert!(report["writes"]["records"].as_i64() >= Some(40), "{report}");

    // The topic grows, and the new partition takes records, a moment before the promotion.
    world
        .source
        .call("create_partitions", json!({"topic": "orders", "total": 2}))?;
    world.write_orders(1, 50)?;
    let outcome = world.carrick.cli(&promote)?;
    println!("{outcome}");
    let report = &outcome[0]["report"];
    let partitions = report["partitions"].as_array().cloned().unwrap_or_default();
    assert_eq!(partitions.len(), 2, "{report}");
    for partition in &partitions {
        let said = (&partition["exact"], &partition["missing_records"]);
        assert_eq!(said, (&json!(true), &json!(0)), "{report}");
    }
    assert_eq!(report["unmirrored"], json!([]));
    assert_eq!(report["readers"]["groups"], json!(["billing"]));
    assert_eq!(range(&mut world.destination, "orders", 0)?, (0, 540));
    assert_eq!(range(&mut world.destination, "orders", 1)?, (0, 50));

    // What is written there now is said to be only there, and the group's offsets come up to the cut.
    world.write_orders(0, 7)?;
    let report = wait_until("the records beyond the cut to be seen", LIMIT, || {
        let report = world.kept_report()?;
        let expected = json!([{"partition": 0, "records": 7}]);
        Ok(match report["after_cut"]["partitions"] == expected {
            true => Ok(report),
            false => Err(report.to_string()),
        })
    })?;
    let link = world.carrick.cli(&["link", "describe", LINK])?;
    let beyond = &link["link"]["beyond_cuts"][0];
    assert_eq!(beyond["records"], json!(7), "{link}");
    wait_until("the group to be at the cut", LIMIT, || {
        let offsets = world
            .destination
            .call("group_offsets", json!({"group": "billing"}))?;
        // The member read on to 547. It has not heard of the new partition yet.
        Ok(match offsets["offsets"]["orders-0"] == json!(540) {
            true => Ok(()),
            false => Err(offsets.to_string()),
        })
    })?;
    world.source.call("member_stop", json!({"name": "m"}))?;

    world.carrick.cli(&["link", "delete", LINK])?;
    let kept = world.kept_report()?;
    assert_eq!(kept["partitions"], report["partitions"]);
    assert_eq!(
        kept["after_cut"]["partitions"],
        report["after_cut"]["partitions"]
    );
    Ok(())
}
