//! What happens without a client's request: retention, the expiry of idempotent producers, and
//! following changes of cluster metadata that others make.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock;
use crate::metadata::Metadata;
use crate::partition::{Hosted, Partition, PartitionConfig, ProblemKind};

/// Deletes again and again what retention lets go.
pub fn retention(hosted: &Arc<Hosted>, config: &PartitionConfig) -> JoinHandle<()> {
    let pause = Duration::from_millis(config.retention_check_interval_ms);
    every(pause, hosted, "retention", |partition, now_ms| {
        match partition.apply_retention(now_ms) {
            Ok(()) => partition.problem_over(ProblemKind::Retention),
            // Logged with the other problems.
            Err(error) => partition.note_problem(ProblemKind::Retention, error.to_string(), true),
        }
    })
}

/// Forgets again and again the producers that were silent for too long.
pub fn producer_expiry(hosted: &Arc<Hosted>, config: &PartitionConfig) -> JoinHandle<()> {
    let pause = Duration::from_millis(config.producer_expiry_check_interval_ms);
    every(
        pause,
        hosted,
        "producer expiry",
        Partition::expire_producers,
    )
}

/// Keeps what is copied from cluster metadata up to date with what others change there: `catch_up`
/// runs after every change, on a thread that may block.
pub fn follow(metadata: &Metadata, catch_up: impl Fn() + Send + Sync + 'static) -> JoinHandle<()> {
    let mut changed = metadata.watch();
    let catch_up = Arc::new(catch_up);
    tokio::spawn(async move {
        while changed.changed().await.is_ok() {
            let catch_up = Arc::clone(&catch_up);
            if let Err(error) = tokio::task::spawn_blocking(move || catch_up()).await {
                tracing::error!(%error, "changes of metadata are not followed");
            }
        }
    })
}

/// Does `work` on every partition, again and again, on a thread that may block. It holds the
/// partitions only while it works.
fn every(
    pause: Duration,
    hosted: &Arc<Hosted>,
    name: &'static str,
    work: fn(&Partition, i64),
) -> JoinHandle<()> {
    let hosted = Arc::downgrade(hosted);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            let Some(hosted) = hosted.upgrade() else {
                return;
            };
            let round = tokio::task::spawn_blocking(move || {
                for partition in hosted.all() {
                    work(&partition, clock::now_ms());
                }
            });
            if let Err(error) = round.await {
                tracing::error!(%error, name, "a periodic task failed");
            }
        }
    })
}
