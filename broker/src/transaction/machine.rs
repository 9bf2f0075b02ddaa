//! One transactional id as a pure, synchronous state machine (`TransactionMetadata` and the
//! decisions of `TransactionCoordinator`).
//!
//! A `plan_…` decides and changes nothing: it returns the metadata to be stored. A plan takes
//! effect in one of two ways:
//! - [`Transaction::advance`], as soon as the journal has accepted it, for additions ([`Added`]):
//!   they only make the transaction larger, and a second one need not wait for the first. An
//!   addition costs what it adds, however much is in the transaction.
//! - [`Transaction::begin`] and, when it is durable, [`Transaction::stored`], for everything else:
//!   until then every other change is refused with `Concurrent`, so that nothing ever acts on a
//!   state that a crash could undo.
//!
//! Invariants:
//! - An epoch that was given to one client is never given to another, and never decreases without a
//!   new producer id.
//! - From the moment an end is planned, nothing is added, and no write is verified.
//!
//! Each change's effect on them is asserted where it begins.

use std::collections::BTreeSet;

use carrick_protocol::ids::{GroupId, ProducerId, TopicPartition};

use super::error::TxnError;
use super::metadata::{
    Metadata, NO_EPOCH, Outcome, Producer, State, Version, entries_bytes, is_exhausted,
};
pub use crate::records::transaction_part::Added;

/// The state machine of one transactional id.
#[derive(Clone, Debug)]
pub struct Transaction {
    now: Metadata,
    pending: Option<Metadata>,
    /// What `now` takes in memory.
    held_bytes: usize,
}

impl Added {
    /// Stores a transaction again that has begun.
    pub fn nothing(version: Version, at_ms: i64) -> Self {
        Self {
            begins: false,
            at_ms,
            version,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    /// About how many bytes more the transaction takes in memory.
    pub fn held_bytes(&self) -> usize {
        entries_bytes(&self.partitions, &self.groups)
    }

    /// Makes the addition.
    pub(super) fn apply(self, to: &mut Metadata) {
        to.state = State::Ongoing;
        to.previous_producer_id = to.producer_id;
        to.update_ms = self.at_ms;
        if self.begins {
            to.start_ms = self.at_ms;
        }
        to.version = self.version;
        to.partitions.extend(self.partitions);
        to.groups.extend(self.groups);
    }
}

/// What an InitProducerId leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Init {
    /// To be stored; then its producer is the answer.
    Ready(Metadata),
    /// A transaction is in progress: its abort must be stored, and the client tries again.
    Fence(Metadata),
}

/// What an EndTxn leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has already ended that way: answer the current producer.
    Already(Producer),
    /// To be stored; then markers are due.
    Prepare(Metadata),
}

impl Transaction {
    /// A state machine at rest.
    pub fn new(metadata: Metadata) -> Self {
        Self {
            held_bytes: metadata.held_bytes(),
            now: metadata,
            pending: None,
        }
    }

    /// The current one.
    pub fn metadata(&self) -> &Metadata {
        &self.now
    }

    /// Whether a change is in progress.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// About how many bytes it takes in memory.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The transaction once this is added. The cost grows with what is in the transaction.
    pub fn with(&self, added: &Added) -> Metadata {
        let mut next = self.now.clone();
        added.clone().apply(&mut next);
        next
    }

    /// Takes an addition into force.
    pub fn advance(&mut self, added: Added) {
        assert!(
            !self.is_pending() && !self.now.state.is_prepared(),
            "nothing is added once an end is planned"
        );
        self.held_bytes += added.held_bytes();
        added.apply(&mut self.now);
    }

    /// A change is being stored.
    pub fn begin(&mut self, next: Metadata) {
        assert!(!self.is_pending(), "one change at a time");
        assert!(
            next.producer_id != self.now.producer_id || next.epoch >= self.now.epoch,
            "an epoch never goes down"
        );
        self.pending = Some(next);
    }

    /// The change is durable, or could not be made so.
    pub fn stored(&mut self, is_durable: bool) {
        if let Some(next) = self.pending.take()
            && is_durable
        {
            self.held_bytes = next.held_bytes();
            self.now = next;
        }
    }

    /// Whether a new producer id is needed for what may come next.
    pub fn needs_producer_id(&self) -> bool {
        self.now.is_exhausted()
    }

    /// InitProducerId. `expected` is what the producer thinks it is (KIP-360); `fresh` a producer
    /// id for when epochs have run out.
    ///
    /// # Errors
    /// `Concurrent`, `Fenced`, `NoProducerId`.
    pub fn plan_init(
        &self,
        timeout_ms: i32,
        expected: Option<Producer>,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Result<Init, TxnError> {
        self.check_settled()?;
        if !expected.is_none_or(|producer| self.may_continue(producer)) {
            return Err(TxnError::Fenced);
        }
        match self.now.state {
            State::PrepareCommit | State::PrepareAbort => Err(TxnError::Concurrent),
            State::Ongoing => Ok(Init::Fence(self.plan_abort(fresh, now_ms)?)),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                let expected_epoch = expected.map(|producer| producer.epoch);
                let mut next = self.next(State::Empty, now_ms);
                if self.now.is_exhausted() && expected_epoch.is_none_or(|at| at == self.now.epoch) {
                    next.producer_id = fresh.ok_or(TxnError::NoProducerId)?;
                    next.epoch = 0;
                    next.last_epoch = expected_epoch.map_or(NO_EPOCH, |_| self.now.epoch);
                } else {
                    (next.epoch, next.last_epoch) = self.raised(expected_epoch)?;
                }
                next.timeout_ms = timeout_ms;
                next.partitions.clear();
                next.groups.clear();
                next.start_ms = -1;
                Ok(Init::Ready(next))
            }
        }
    }

    /// Whether a producer may continue under this transactional id: it is the current one, there is
    /// none yet, or it asks again after its epochs ran out.
    fn may_continue(&self, producer: Producer) -> bool {
        self.now.epoch == NO_EPOCH
            || producer.id == self.now.producer_id
            || (producer.id == self.now.previous_producer_id && is_exhausted(producer.epoch))
    }

    /// Epoch and last epoch after an initialization.
    fn raised(&self, expected_epoch: Option<i16>) -> Result<(i16, i16), TxnError> {
        let (epoch, last_epoch) = (self.now.epoch, self.now.last_epoch);
        match expected_epoch {
            // It asks again: the raised epoch is still its own, or another one's initialization
            // would have left no last epoch.
            Some(expected) if epoch != NO_EPOCH && expected != epoch && expected == last_epoch => {
                Ok((epoch, last_epoch))
            }
            Some(expected) if epoch != NO_EPOCH && expected != epoch => Err(TxnError::Fenced),
            _ if self.now.is_exhausted() => Err(TxnError::NoProducerId),
            Some(_) => Ok((epoch + 1, epoch)),
            None => Ok((epoch + 1, NO_EPOCH)),
        }
    }

    /// The broker's abort of an ongoing transaction, which fences its producer: for a new instance
    /// of the producer, or because the transaction has timed out.
    ///
    /// # Errors
    /// `Concurrent`, `InvalidState` without a transaction, `NoProducerId`.
    pub fn plan_abort(&self, fresh: Option<ProducerId>, now_ms: i64) -> Result<Metadata, TxnError> {
        self.check_settled()?;
        match self.now.state {
            State::Ongoing => self.prepared(Outcome::Abort, Version::V2, fresh, now_ms),
            _ => Err(TxnError::InvalidState),
        }
    }

    /// Adds partitions and groups; `None` when all of them are in the transaction.
    ///
    /// # Errors
    /// `Concurrent`, `NotMapped`, `Fenced`.
    pub fn plan_add(
        &self,
        producer: Producer,
        partitions: &[TopicPartition],
        groups: &[GroupId],
        version: Version,
        now_ms: i64,
    ) -> Result<Option<Added>, TxnError> {
        self.check_settled()?;
        self.check_producer(producer)?;
        let begins = match self.now.state {
            State::PrepareCommit | State::PrepareAbort => return Err(TxnError::Concurrent),
            state => state != State::Ongoing,
        };
        let partitions = partitions.iter();
        let new_partitions = partitions.filter(|at| !self.now.partitions.contains(at));
        let new_groups = groups.iter().filter(|id| !self.now.groups.contains(*id));
        let added = Added {
            begins,
            at_ms: now_ms,
            version,
            partitions: new_partitions.cloned().collect(),
            groups: new_groups.cloned().collect(),
        };
        let is_nothing = added.partitions.is_empty() && added.groups.is_empty();
        Ok((begins || !is_nothing).then_some(added))
    }

    /// Whether a producer may write to the partition now (KIP-890 part 1).
    ///
    /// # Errors
    /// `Concurrent`, `NotMapped`, `Fenced`, `NotInTransaction`.
    pub fn verify_partition(
        &self,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<(), TxnError> {
        self.verify(producer)?;
        match self.now.partitions.contains(partition) {
            true => Ok(()),
            false => Err(TxnError::NotInTransaction),
        }
    }

    /// Whether a producer may commit offsets of the group now.
    ///
    /// # Errors
    /// As [`Self::verify_partition`].
    pub fn verify_group(&self, producer: Producer, group: &GroupId) -> Result<(), TxnError> {
        self.verify(producer)?;
        match self.now.groups.contains(group) {
            true => Ok(()),
            false => Err(TxnError::NotInTransaction),
        }
    }

    fn verify(&self, producer: Producer) -> Result<(), TxnError> {
        self.check_producer(producer)?;
        if self.now.state.is_prepared() {
            return Err(TxnError::Concurrent);
        }
        self.check_settled()?;
        match self.now.state {
            State::Ongoing => Ok(()),
            _ => Err(TxnError::NotInTransaction),
        }
    }

    /// EndTxn.
    ///
    /// # Errors
    /// `NotMapped`, `Fenced`, `Concurrent`, `InvalidState`, `NoProducerId`.
    pub fn plan_end(
        &self,
        producer: Producer,
        outcome: Outcome,
        version: Version,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Result<End, TxnError> {
        match version {
            Version::V1 => self.plan_end_v1(producer, outcome, now_ms),
            Version::V2 => self.plan_end_v2(producer, outcome, fresh, now_ms),
        }
    }

    fn plan_end_v1(
        &self,
        producer: Producer,
        outcome: Outcome,
        now_ms: i64,
    ) -> Result<End, TxnError> {
        self.check_producer(producer)?;
        self.check_settled()?;
        match self.now.state {
            State::Ongoing => {
                let prepared = self.prepared(outcome, Version::V1, None, now_ms)?;
                Ok(End::Prepare(prepared))
            }
            State::Empty => Err(TxnError::InvalidState),
            _ if self.now.outcome() != Some(outcome) => Err(TxnError::InvalidState),
            state if state.is_prepared() => Err(TxnError::Concurrent),
            _ => Ok(End::Already(self.now.producer())),
        }
    }

    /// The end raised the epoch, so a repeated request is recognized by the previous epoch. A
    /// request with the current epoch is for the next transaction, which may have no partitions. It
    /// may arrive while the markers of the previous one are being written, because the producer
    /// already has its answer: then nothing is decided yet, not even whether the requester is
    /// valid.
    fn plan_end_v2(
        &self,
        producer: Producer,
        outcome: Outcome,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Result<End, TxnError> {
        self.check_settled()?;
        if self.now.state.is_prepared() {
            return Err(TxnError::Concurrent);
        }
        let wrapped = self.now.epoch == 0
            && producer.epoch == i16::MAX - 1
            && producer.id == self.now.previous_producer_id;
        if producer.id != self.now.producer_id && !wrapped {
            return Err(TxnError::NotMapped);
        }
        let is_repeated = wrapped || producer.epoch.checked_add(1) == Some(self.now.epoch);
        let is_current = producer.epoch == self.now.epoch;
        let is_known = match self.now.state {
            State::CompleteCommit | State::CompleteAbort => is_repeated || is_current,
            _ => is_current,
        };
        if !is_known {
            return Err(TxnError::Fenced);
        }
        let prepare = || {
            let prepared = self.prepared(outcome, Version::V2, fresh, now_ms)?;
            Ok(End::Prepare(prepared))
        };
        match (self.now.state, outcome) {
            (State::Ongoing, _) => prepare(),
            (State::CompleteCommit | State::CompleteAbort, _) if is_repeated => {
                match self.now.outcome() == Some(outcome) {
                    true => Ok(End::Already(self.now.producer())),
                    false => Err(TxnError::InvalidState),
                }
            }
            (_, Outcome::Abort) => prepare(),
            (_, Outcome::Commit) => Err(TxnError::InvalidState),
        }
    }

    fn prepared(
        &self,
        outcome: Outcome,
        version: Version,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Result<Metadata, TxnError> {
        let state = match outcome {
            Outcome::Commit => State::PrepareCommit,
            Outcome::Abort => State::PrepareAbort,
        };
        let mut next = self.next(state, now_ms);
        next.next_producer_id = ProducerId::NONE;
        if version == Version::V2 {
            if self.now.is_exhausted() {
                next.next_producer_id = fresh.ok_or(TxnError::NoProducerId)?;
            }
            next.epoch = self.now.epoch.saturating_add(1);
            next.last_epoch = self.now.epoch;
        }
        if self.now.state != State::Ongoing {
            next.start_ms = now_ms;
        }
        next.version = version;
        Ok(next)
    }

    /// The end of a prepared transaction whose markers are all written; `None` if it is not
    /// prepared, or ends already.
    pub fn plan_complete(&self, now_ms: i64) -> Option<Metadata> {
        if self.is_pending() {
            return None;
        }
        let state = match self.now.state {
            State::PrepareCommit => State::CompleteCommit,
            State::PrepareAbort => State::CompleteAbort,
            _ => return None,
        };
        let mut next = self.next(state, now_ms);
        if next.next_producer_id != ProducerId::NONE {
            next.producer_id = next.next_producer_id;
            next.epoch = 0;
        }
        next.next_producer_id = ProducerId::NONE;
        next.partitions.clear();
        next.groups.clear();
        Some(next)
    }

    /// Whether an ongoing transaction has timed out.
    pub fn has_timed_out(&self, now_ms: i64) -> bool {
        self.now.state == State::Ongoing
            && !self.is_pending()
            && self
                .now
                .start_ms
                .saturating_add(i64::from(self.now.timeout_ms))
                < now_ms
    }

    /// Whether the id has been unused for so long that it expires.
    pub fn has_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.now.state.may_expire()
            && !self.is_pending()
            && now_ms.saturating_sub(self.now.update_ms) >= expiration_ms
    }

    fn next(&self, state: State, now_ms: i64) -> Metadata {
        Metadata {
            state,
            previous_producer_id: self.now.producer_id,
            update_ms: now_ms,
            ..self.now.clone()
        }
    }

    fn check_settled(&self) -> Result<(), TxnError> {
        match self.is_pending() {
            true => Err(TxnError::Concurrent),
            false => Ok(()),
        }
    }

    fn check_producer(&self, producer: Producer) -> Result<(), TxnError> {
        if producer.id != self.now.producer_id {
            return Err(TxnError::NotMapped);
        }
        if producer.epoch != self.now.epoch {
            return Err(TxnError::Fenced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
