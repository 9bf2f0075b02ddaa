//! Records that are written at the source after the cut, checked as long as the link exists:
//! records of a forgotten producer are missing here, and nothing else would report them.
//!
//! A new result is shown immediately. It is stored in the report when it has changed, and otherwise
//! every [`STORED_EVERY_MS`].

use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use crate::lookup::{self, Answer};
use crate::ports::Ports;
use crate::report::{AfterCut, BeyondCut, RpoReport};
use crate::shared::LinkShared;
use crate::state::{LinkState, MirrorStatus};

/// How often a result is stored in which only the time has changed, milliseconds.
const STORED_EVERY_MS: i64 = 60_000;

/// The present result for one topic, and the report that says where its mirror was cut.
struct Look {
    report: RpoReport,
    seen: AfterCut,
}

impl LinkShared {
    /// Looks at the sources of all mirrors that were cut.
    pub(crate) async fn look_beyond_cuts(self: Arc<Self>) {
        let Ok(_one_at_a_time) = self.looks.try_lock() else {
            return;
        };
        let stopped: Vec<TopicName> = {
            let inner = self.inner();
            let mirrors = inner.mirrors.values().map(|mirror| &mirror.record);
            let stopped = mirrors.filter(|record| record.status == MirrorStatus::Stopped);
            match inner.state {
                LinkState::Active => stopped.map(|record| record.topic.clone()).collect(),
                _ => Vec::new(),
            }
        };
        if stopped.is_empty() {
            return;
        }
        let now_ms = self.now_ms();
        let answers = match lookup::ask(&self, &stopped).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::debug!(link = %self.name, %error, "the source was not checked for records beyond the cuts");
                return;
            }
        };
        // So that this does not change a report that is being made exact at this moment.
        let _change = self.change.lock().await;
        let looked = self.blocking(move |ports| {
            let looks = answers
                .values()
                .filter_map(|answer| look(ports, answer, now_ms));
            let looks: Vec<Look> = looks.collect();
            let changed = looks.iter().filter(|it| is_worth_storing(it));
            let changed: Vec<RpoReport> = changed
                .map(|it| RpoReport {
                    after_cut: Some(it.seen.clone()),
                    ..it.report.clone()
                })
                .collect();
            let saved = match changed.is_empty() {
                true => Ok(()),
                false => ports.store.save_reports(&changed),
            };
            (looks, saved)
        });
        let Ok((looks, saved)) = looked.await else {
            return;
        };
        if let Err(error) = saved {
            tracing::warn!(link = %self.name, %error, "the records seen beyond the cuts could not be stored");
        }
        let mut inner = self.inner();
        for Look { report, seen } in looks {
            let Some(mirror) = inner.mirrors.get_mut(report.topic.as_str()) else {
                continue;
            };
            let before = mirror.after_cut.as_ref().map_or(0, AfterCut::records);
            if seen.records() > 0 && before == 0 {
                let (link, topic, records) = (&self.name, &report.topic, seen.records());
                tracing::warn!(
                    %link, topic, records,
                    "the source has records beyond the cut, which exist only there"
                );
            }
            mirror.after_cut = Some(seen);
        }
    }
}

/// What the source says, against what the report says; `None` without a report.
fn look(ports: &Ports, answer: &Answer, now_ms: i64) -> Option<Look> {
    let report = ports.store.load_report(&answer.record.topic).ok()??;
    let mut seen = AfterCut {
        problem: answer.problem(),
        ..report.after_cut.clone().unwrap_or_default()
    };
    if !answer.ends.is_empty() {
        let mirrored = report.partitions.iter().zip(&answer.ends);
        let mirrored = mirrored.filter_map(|(part, end)| {
            Some(BeyondCut {
                partition: part.partition,
                records: (*end)? - part.mirror_end,
            })
        });
        let unmirrored = answer.unmirrored.iter().filter_map(|part| {
            Some(BeyondCut {
                partition: part.partition,
                records: part.records?,
            })
        });
        let all = mirrored.chain(unmirrored);
        seen.partitions = all.filter(|part| part.records > 0).collect();
        seen.seen_at_ms = now_ms;
    } else if report.after_cut.is_none() {
        // Nothing was ever seen.
        seen.seen_at_ms = report.made_at_ms;
    }
    Some(Look { report, seen })
}

fn is_worth_storing(look: &Look) -> bool {
    let Some(stored) = &look.report.after_cut else {
        return true;
    };
    let is_older = look.seen.seen_at_ms - stored.seen_at_ms >= STORED_EVERY_MS;
    let is_other =
        (&stored.partitions, &stored.problem) != (&look.seen.partitions, &look.seen.problem);
    is_older || is_other
}
