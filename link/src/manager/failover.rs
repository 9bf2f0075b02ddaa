//! Failover: cuts mirrors immediately, with what is here, whatever their state. The source is asked
//! only afterwards, to make the report exact.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use carrick_protocol::ids::TopicName;

use super::cut::{self, Told};
use super::outcome::{Outcomes, all_failed};
use super::{rpo, waiting};
use crate::cut::CutStep;
use crate::naming::some_of;
use crate::shared::LinkShared;
use crate::verb::CutKind;

/// Fails mirrors over, all together, in whatever state they are.
///
/// A topic with a partition whose disk has failed is refused, unless `is_forced`.
pub(super) async fn failover(
    shared: Arc<LinkShared>,
    topics: Vec<TopicName>,
    is_forced: bool,
) -> Outcomes {
    if topics.is_empty() {
        return Outcomes::new();
    }
    let _change = shared.change.lock().await;
    let mut took = Took::begin();
    let mut outcomes = Outcomes::new();
    let mut records = Vec::new();
    for topic in &topics {
        match cut::begun(&shared, topic, CutKind::Failover) {
            Ok(record) => records.push(record),
            Err(error) => {
                outcomes.insert(topic.clone(), Err(error));
            }
        }
    }
    let names: Vec<TopicName> = records.iter().map(|record| record.topic.clone()).collect();
    cut::hold(&shared, &names, true);
    match shared.store_mirrors(records).await {
        Ok(()) => {
            CutStep::FailoverStored.reached();
            took.step("stored_ms");
            shared.settled().await;
            CutStep::FailoverHeld.reached();
            took.step("held_ms");
            let told = Told::default();
            let mut done = cut::cut(&shared, &names, CutKind::Failover, &told, is_forced).await;
            took.step("cut_ms");
            rpo::make_exact(&shared, &mut done).await;
            took.step("source_asked_ms");
            let (link, count, topics) = (&shared.name, done.len(), some_of(done.keys()));
            tracing::info!(%link, count, topics, took = %took, "failed over");
            outcomes.extend(done);
        }
        Err(error) => {
            let (link, topics) = (&shared.name, some_of(&names));
            tracing::error!(%link, topics, %error, "the failover did not begin; it can be requested again");
            outcomes.extend(all_failed(&names, &error));
        }
    }
    waiting::note(&shared, &outcomes);
    cut::hold(&shared, &names, false);
    shared.reconcile();
    outcomes
}

/// What the steps of a failover took.
struct Took {
    last: Instant,
    steps: Vec<(&'static str, u128)>,
}

impl Took {
    fn begin() -> Self {
        Self {
            last: Instant::now(),
            steps: Vec::new(),
        }
    }

    fn step(&mut self, name: &'static str) {
        self.steps.push((name, self.last.elapsed().as_millis()));
        self.last = Instant::now();
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter();
        let all: Vec<String> = steps.map(|(name, ms)| format!("{name}={ms}")).collect();
        f.write_str(&all.join(" "))
    }
}
