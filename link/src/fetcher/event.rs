//! What a fetcher reports to the replicators of its partitions.

use std::fmt;

use carrick_protocol::batch::Batches;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::budget::InFlight;
use crate::source::fetch::{FetchPosition, FetchedData};

/// Something that happened to a partition's fetches.
#[derive(Debug)]
pub(crate) enum FetchEvent {
    /// The fetcher has a connection and waits for a position.
    Connected {
        /// The Fetch version of the connection.
        fetch_version: i16,
    },
    /// The fetcher has lost its connection, or can't get one.
    Disconnected { detail: String },
    /// A fetch was answered.
    Fetched(Fetched),
}

/// Receives the events of one slot: the partition's replicator. Never waits.
pub(crate) trait Listener: Send + Sync + fmt::Debug {
    /// `slot` is the id with which the slot was created. A listener that has ended receives
    /// nothing.
    fn hear(&self, slot: u64, event: FetchEvent);
}

/// An answer to a fetch.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Of the `Fetch` effect that it answers.
    pub(crate) generation: u64,
    /// What was asked for.
    pub(crate) position: FetchPosition,
    /// When, milliseconds since the epoch: what came was true then, or later.
    pub(crate) asked_at_ms: i64,
    pub(crate) data: FetchedData,
    /// Counts the bytes as in flight until it is dropped.
    pub(crate) in_flight: Option<InFlight>,
}

/// Where a fetched run ends, by its headers alone: the next offset and the last epoch, if its
/// batches look whole. The next request is made with it while the run itself is still to be judged.
pub(crate) fn predict(records: &[u8]) -> Option<(Offset, LeaderEpoch)> {
    let mut end = None;
    for batch in Batches::new(records) {
        let header = batch.ok()?.header;
        if end.is_some_and(|(next, _)| header.base_offset < next) {
            return None;
        }
        end = Some((header.next_offset(), header.leader_epoch));
    }
    end
}
