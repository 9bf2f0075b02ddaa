//! Administrators' requests: DescribeTransactions, ListTransactions.

use std::collections::HashSet;

use carrick_protocol::ids::TransactionalId;

use super::{Coordinator, check_id};
use crate::clock;
use crate::heavy::{OverBudget, TimeBudget};
use crate::pattern::Pattern;
use crate::transaction::content::LockedTransaction;
use crate::transaction::error::TxnError;
use crate::transaction::metadata::{Metadata, State};

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: TransactionalId,
    /// Its producer id.
    pub producer_id: i64,
    /// Where it stands.
    pub state: State,
}

/// Which transactional ids are wanted. An empty list, or `None`, is no condition.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// With one of these producer ids.
    pub producer_ids: HashSet<i64>,
    /// In one of these states; with `Some` of none, nothing is wanted.
    pub states: Option<Vec<State>>,
    /// Whose transaction runs for longer than this.
    pub longer_than_ms: Option<i64>,
    /// Whose id this matches.
    pub pattern: Option<Pattern>,
}

impl Coordinator {
    /// The transactional ids that pass the filter, by name. The pattern is another step:
    /// [`ListFilter::named`].
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<Listed>, TxnError> {
        self.ids.check_open()?;
        let now_ms = clock::now_ms();
        let cells = self.ids.cells();
        let listed = cells.iter().filter_map(|cell| {
            let transaction = cell.lock()?;
            let metadata = transaction.machine.metadata();
            filter.takes(metadata, now_ms).then(|| Listed {
                id: cell.id().clone(),
                producer_id: metadata.producer_id.0,
                state: metadata.state,
            })
        });
        Ok(listed.collect())
    }

    /// How many transactions have begun and not ended.
    pub fn open(&self) -> usize {
        let cells = self.ids.cells();
        let open = cells.iter().filter(|cell| {
            cell.lock().is_some_and(|transaction| {
                let now = transaction.machine.metadata().state;
                now == State::Ongoing || now.is_prepared()
            })
        });
        open.count()
    }

    /// One transactional id.
    ///
    /// # Errors
    /// `NotFound`, `InvalidId`, `ShuttingDown`.
    pub fn describe(&self, id: &str) -> Result<Metadata, TxnError> {
        check_id(id)?;
        let describe = |transaction: &mut LockedTransaction<'_>| {
            Ok::<_, TxnError>(transaction.machine.metadata().clone())
        };
        self.ids.with(id, describe).map_err(|error| match error {
            TxnError::NotMapped => TxnError::NotFound,
            other => other,
        })
    }
}

impl ListFilter {
    fn takes(&self, metadata: &Metadata, now_ms: i64) -> bool {
        let has_producer =
            self.producer_ids.is_empty() || self.producer_ids.contains(&metadata.producer_id.0);
        let has_state = self
            .states
            .as_ref()
            .is_none_or(|states| states.contains(&metadata.state));
        let runs_long = self
            .longer_than_ms
            .is_none_or(|limit_ms| now_ms.saturating_sub(metadata.start_ms) > limit_ms);
        has_producer && has_state && runs_long
    }

    /// Those of these whose name the pattern matches.
    ///
    /// # Errors
    /// Time runs out first.
    pub fn named(
        &self,
        listed: Vec<Listed>,
        budget: TimeBudget,
    ) -> Result<Vec<Listed>, OverBudget> {
        let Some(pattern) = &self.pattern else {
            return Ok(listed);
        };
        let mut named = Vec::new();
        for one in listed {
            budget.check()?;
            if pattern.matches(one.id.as_str()) {
                named.push(one);
            }
        }
        Ok(named)
    }
}
