//! A source that is far away.

use std::sync::Weak;
use std::time::Duration;

use carrick_protocol::ids::NodeId;
use tokio::time::Instant;

use super::{FakeSource, State};

/// How far away the source is. Answers to fetches share its bytes per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub(super) round_trip: Duration,
    bytes_per_second: u64,
    free_at: Instant,
}

impl FakeSource {
    /// A small question takes its round trip.
    pub(super) async fn travel(&self) {
        let path = self.state.lock().path;
        if let Some(path) = path {
            tokio::time::sleep(path.round_trip).await;
        }
    }

    /// From now on answers to fetches take their time.
    pub fn set_path(&self, round_trip: Duration, bytes_per_second: u64) {
        let free_at = Instant::now();
        let path = Path {
            round_trip,
            bytes_per_second,
            free_at,
        };
        self.change(|state| state.path = Some(path));
    }

    /// Only the first connections for fetches get through, this many for each broker.
    pub fn set_lanes_max(&self, lanes_max: usize) {
        self.change(|state| state.lanes_max = Some(lanes_max));
    }

    /// Connections for fetches that a broker has.
    pub fn open_connections(&self, broker: i32) -> usize {
        let state = self.state.lock();
        let is_open = |(node, token): &&(NodeId, Weak<()>)| {
            *node == NodeId(broker) && token.strong_count() > 0
        };
        state.open.iter().filter(is_open).count()
    }

    /// What the fetches under way ask for, bytes.
    pub fn asked_bytes(&self) -> usize {
        self.state.lock().asked_bytes
    }
}

impl State {
    /// When this many bytes have gone into the path.
    pub(super) fn sends(&mut self, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(path) = &mut self.path else {
            return now;
        };
        #[expect(clippy::cast_precision_loss, reason = "a model")]
        let seconds = bytes as f64 / path.bytes_per_second as f64;
        path.free_at = path.free_at.max(now) + Duration::from_secs_f64(seconds);
        path.free_at
    }
}
