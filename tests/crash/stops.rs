//! Carrick ends by itself, without a goodbye, at every step of a promotion and of a failover (`carrick_link::cut`),
//! and comes to the same end at the next start: the same bytes, the same markers, the same report, writable, with epochs
//! above the source's and producer ids above the mirrored ones.
//!
//! A step that both kinds pass is crashed at in one of them, the next such step in the other; `CRASH_STOPS=all` takes
//! both.

use carrick_link::cut::CutStep;
use carrick_link::verb::CutKind;
use carrick_protocol::batch::Batches;
use harness::{Carrick, Kafka, Peer, Result, segments, wait_until};
use serde_json::{Value, json};

use super::LIMIT;

const LINK: &str = "dr";

/// Two topics that are cut together: transactions are in the first, and none in the second.
struct Case {
    kind: CutKind,
    /// `None`: nothing is crashed, which shows what the end is.
    step: Option<CutStep>,
    topics: [String; 2],
}

impl Case {
    fn new(kind: CutKind, step: Option<CutStep>) -> Self {
        let step_name = step.map_or("none".to_owned(), |step| format!("{step:?}"));
        let topics = ["tx", "plain"].map(|content| format!("{kind:?}-{step_name}-{content}"));
        Self { kind, step, topics }
    }

    fn command(&self) -> Vec<&str> {
        let action = match self.kind {
            CutKind::Promote => "promote",
            CutKind::Failover => "failover",
        };
        vec![
            "mirror",
            action,
            &self.topics[0],
            &self.topics[1],
            "--link",
            LINK,
        ]
    }
}

/// Every step at least once, after what happens without a crash.
fn cases() -> Vec<Case> {
    let kinds = [CutKind::Promote, CutKind::Failover];
    let mut cases: Vec<Case> = kinds.map(|kind| Case::new(kind, None)).into();
    let is_all = std::env::var("CRASH_STOPS").is_ok_and(|value| value == "all");
    let mut turn = 0;
    for step in CutStep::ALL {
        let mut of: Vec<CutKind> = kinds.into_iter().filter(|kind| step.is_of(*kind)).collect();
        if of.len() == 2 && !is_all {
            of.remove(turn % 2);
            turn += 1;
        }
        cases.extend(of.into_iter().map(|kind| Case::new(kind, Some(step))));
    }
    cases
}

/// What must be the same however it came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    /// Behind the mirrored data of the first topic: offset and producer of each marker.
    markers: Vec<(i64, i64)>,
    reports: Vec<Value>,
    /// What a `read_committed` reader gets of the first topic, the local records included.
    committed: Value,
    /// Where local records begin, by topic.
    first_local: [Value; 2],
}

struct World {
    kafka: Kafka,
    carrick: Carrick,
    destination: Peer,
    /// Where each of the two kinds of topic ends at the source.
    ends: [i64; 2],
}

impl World {
    fn start(cases: &[Case]) -> Result<Self> {
        let kafka = Kafka::start()?;
        let mut source = Peer::java(&kafka.bootstrap())?;
        for case in cases {
            fill(&mut source, case)?;
        }
        let carrick = Carrick::start()?;
        carrick.link(LINK, &kafka.bootstrap(), &[])?;
        let topics: Vec<&str> = cases
            .iter()
            .flat_map(|case| case.topics.iter().map(String::as_str))
            .collect();
        carrick.mirror(LINK, &topics)?;
        let mut ends = [0; 2];
        for (end, topic) in ends.iter_mut().zip(&cases[0].topics) {
            let range = source.call("offsets", json!({"topic": topic}))?;
            *end = range["end"].as_i64().unwrap_or(-1);
        }
        for case in cases {
            for (end, topic) in ends.iter().zip(&case.topics) {
                carrick.wait_caught_up(topic, &[*end], LIMIT)?;
            }
        }
        let destination = Peer::java(&carrick.bootstrap())?;
        Ok(Self {
            kafka,
            carrick,
            destination,
            ends,
        })
    }

    /// Stops the mirrors of a case, with a crash on the way if it says so.
    fn stop(&mut self, case: &Case) -> Result<()> {
        let Some(step) = case.step else {
            self.carrick.cli(&case.command())?;
            return Ok(());
        };
        let step = format!("{step:?}");
        self.carrick.stop()?;
        self.carrick.restart_to_crash_at(&step)?;
        for (end, topic) in self.ends.iter().zip(&case.topics) {
            self.carrick.wait_caught_up(topic, &[*end], LIMIT)?;
        }
        let output = self.carrick.cli_output(&case.command())?;
        assert!(!output.status.success(), "{step}: it answered");
        self.carrick.wait_ended(LIMIT)?;
        let crash = format!("crashing here, as requested step={step}");
        let crashes = self.carrick.log().matches(&crash).count();
        assert!(crashes > 0, "{step}: it has ended elsewhere");
        self.carrick.restart()?;
        for topic in &case.topics {
            wait_until(&format!("{topic} is stopped"), LIMIT, || {
                let status = self.carrick.describe_mirror(topic)?["mirror_status"].clone();
                Ok(if status == "STOPPED" {
                    Ok(())
                } else {
                    Err(status.to_string())
                })
            })?;
        }
        Ok(())
    }

    fn end_of(&mut self, case: &Case) -> Result<End> {
        let mut end = End {
            markers: Vec::new(),
            reports: Vec::new(),
            committed: Value::Null,
            first_local: [Value::Null, Value::Null],
        };
        for (index, topic) in case.topics.iter().enumerate() {
            let mirrored_to = self.ends[index];
            let source = self.kafka.partition_dir(1, topic, 0);
            let here = self.carrick.partition_dir(topic, 0);
            let compared = segments::compare(&source, &here, 0, mirrored_to)?;
            assert!(compared.bytes > 0, "{topic}");
            end.reports.push(self.report(topic)?);
            let acked = self
                .destination
                .call("produce", json!({"topic": topic, "count": 4}))?;
            end.first_local[index] = acked["first_offset"].clone();
            let mirrored = segments::batches(&here, 0, mirrored_to)?;
            let local = segments::batches(&here, mirrored_to, i64::MAX)?;
            let markers = check_local(&mirrored, &local)?;
            if index == 0 {
                end.markers = markers;
            } else {
                assert!(markers.is_empty(), "{topic}: {markers:?}");
            }
        }
        let fields = json!({"topic": case.topics[0], "isolation": "read_committed"});
        end.committed = self.destination.call("consume", fields)?["count"].clone();
        Ok(end)
    }

    /// The kept report, without its times, and without what depends on whether the source could be asked in time.
    fn report(&self, topic: &str) -> Result<Value> {
        let cluster = get(&format!("{}/kafka/v3/clusters", self.carrick.url()))?;
        let cluster = cluster["data"][0]["cluster_id"]
            .as_str()
            .unwrap_or_default();
        let url = format!(
            "{}/kafka/v3/clusters/{cluster}/links/{LINK}/mirrors/{topic}/report",
            self.carrick.url()
        );
        let mut report = get(&url)?;
        let asked = ["writes", "readers", "source_problem", "after_cut"];
        for name in ["topic", "source_topic", "made_at_ms"]
            .into_iter()
            .chain(asked)
        {
            report[name].take();
        }
        for partition in report["partitions"].as_array_mut().into_iter().flatten() {
            let missing = partition["missing_records"].take();
            let exact = partition["exact"].take();
            assert!(missing == 0 || exact == false, "{topic}: {missing} {exact}");
            for time in [
                "source_seen_at_ms",
                "missing_ms",
                "last_mirrored_timestamp_ms",
            ] {
                partition[time].take();
            }
            partition["source_high_watermark"].take();
        }
        Ok(report)
    }
}

fn get(url: &str) -> Result<Value> {
    Ok(ureq::get(url).call()?.body_mut().read_json()?)
}

/// At the source: a committed transaction, plain records, and two transactions that stay open; or plain records.
fn fill(source: &mut Peer, case: &Case) -> Result<()> {
    let [tx, plain] = &case.topics;
    for topic in [tx, plain] {
        source.call("create_topic", json!({"topic": topic}))?;
        source.call("produce", json!({"topic": topic, "count": 5}))?;
    }
    for (id, outcome) in [("done", "commit"), ("cut-1", "open"), ("cut-2", "open")] {
        let fields = json!({"topic": tx, "transactional_id": id, "count": 3, "outcome": outcome,
            "config": {"transaction.timeout.ms": "900000"}});
        source.call("transaction", fields)?;
    }
    Ok(())
}

/// After the mirrored batches: first markers (which are returned), then what a new producer wrote.
fn check_local(mirrored: &[(i64, Vec<u8>)], local: &[(i64, Vec<u8>)]) -> Result<Vec<(i64, i64)>> {
    let header = |bytes: &[u8]| -> Result<_> {
        let first = Batches::new(bytes).next();
        Ok(first.ok_or_else(|| anyhow::anyhow!("no batch"))??.header)
    };
    let (mut epoch, mut producer_id) = (-1, -1);
    for (_, bytes) in mirrored {
        let batch = header(bytes)?;
        epoch = epoch.max(batch.leader_epoch.0);
        producer_id = producer_id.max(batch.producer_id.0);
    }
    let mut markers = Vec::new();
    let mut written = 0;
    for (offset, bytes) in local {
        let batch = header(bytes)?;
        assert!(
            batch.leader_epoch.0 > epoch,
            "{offset}: an epoch of the source"
        );
        if batch.is_control() {
            assert_eq!(written, 0, "a marker behind local records");
            markers.push((*offset, batch.producer_id.0));
        } else {
            assert!(batch.producer_id.0 > producer_id, "{offset}: a mirrored id");
            written += 1;
        }
    }
    assert!(written > 0, "it takes writes");
    Ok(markers)
}

#[test]
fn killed_at_every_step_of_promotion_and_failover_it_comes_to_the_same_end() -> Result<()> {
    let cases = cases();
    let mut world = World::start(&cases)?;
    let mut wanted: Vec<(CutKind, End)> = Vec::new();
    let mut hit = Vec::new();
    for case in &cases {
        world.stop(case)?;
        let end = world.end_of(case)?;
        let Some(step) = case.step else {
            println!("{:?}: {end:?}", case.kind);
            assert_eq!(end.markers.len(), 2, "one for each open transaction");
            wanted.push((case.kind, end));
            continue;
        };
        let same = wanted.iter().find(|(kind, _)| *kind == case.kind);
        assert_eq!(
            Some(&end),
            same.map(|(_, end)| end),
            "{:?} {step:?}",
            case.kind
        );
        hit.push(step);
    }
    for step in CutStep::ALL {
        assert!(hit.contains(&step), "{step:?} was not crashed at");
    }
    println!("{} crashes at {} steps", hit.len(), CutStep::ALL.len());
    Ok(())
}
