//! Periodic work of a coordinator.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A shorter pause would keep a thread busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Does `work` after each pause, until `owner` is dropped.
pub async fn every<T, F>(pause: Duration, owner: Weak<T>, work: impl Fn(Arc<T>) -> F)
where
    F: Future<Output = ()>,
{
    let pause = pause.max(SHORTEST_PAUSE);
    while owner.strong_count() > 0 {
        tokio::time::sleep(pause).await;
        if let Some(owner) = owner.upgrade() {
            work(owner).await;
        }
    }
}
