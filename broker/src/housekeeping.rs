//! What happens without a client asking: retention and the expiry of idempotent producers.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::partition::{Partition, ProblemKind};
use crate::{Broker, clock, problems};

/// Starts the periodic tasks. They hold the broker only while they work.
pub fn start(broker: &Arc<Broker>) -> Vec<JoinHandle<()>> {
    let retention = Duration::from_millis(broker.config.retention_check_interval_ms);
    let expiry = Duration::from_millis(broker.config.producer_id_expiration_check_interval_ms);
    vec![
        problems::watch(broker),
        every(retention, broker, "retention", |partition, now_ms| {
            match partition.apply_retention(now_ms) {
                Ok(()) => partition.problem_over(ProblemKind::Retention),
                // Logged with the other problems.
                Err(error) => {
                    partition.note_problem(ProblemKind::Retention, error.to_string(), true);
                }
            }
        }),
        every(
            expiry,
            broker,
            "producer expiry",
            Partition::expire_producers,
        ),
    ]
}

/// Does `work` on every partition, again and again, on a thread that may block.
fn every(
    pause: Duration,
    broker: &Arc<Broker>,
    name: &'static str,
    work: fn(&Partition, i64),
) -> JoinHandle<()> {
    let broker = Arc::downgrade(broker);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            let Some(broker) = broker.upgrade() else {
                return;
            };
            let round = tokio::task::spawn_blocking(move || {
                for topic in broker.catalog.list() {
                    for partition in topic.partitions().iter() {
                        work(partition, clock::now_ms());
                    }
                }
            });
            if let Err(error) = round.await {
                tracing::error!(%error, name, "a periodic task failed");
            }
        }
    })
}
