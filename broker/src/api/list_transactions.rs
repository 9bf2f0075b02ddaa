//! ListTransactions (key 66), versions 0–2 (KIP-664).
//!
//! All transactional ids, or those with one of some states or producer ids. States that Kafka does
//! not know are named in the answer.
//!
//! - v1 (KIP-994): those whose transaction has been running for longer than a given time.
//! - v2 (KIP-1152): those whose whole id matches a regular expression. It uses the syntax of Rust's
//!   `regex`: no look-around, no back references. Others are INVALID_REGULAR_EXPRESSION, and so is
//!   one that takes too long.

use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ApiKey, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
};
use kafka_protocol::protocol::StrBytes;

use super::admin::Refusal;
use super::error::txn_code;
use super::groups::text;
use super::room::Room;
use super::{Api, Context, Reply, ResponseOf};
use crate::heavy::{Busy, TimeBudget};
use crate::pattern::Pattern;
use crate::transaction::coordinator::{ListFilter, Listed};
use crate::transaction::{State, TxnError};

pub struct ListTransactions;

/// States that Kafka knows and that end before a client can see them.
const UNSEEN_STATES: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl Api for ListTransactions {
    const KEY: ApiKey = ApiKey::ListTransactions;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const LISTS: bool = true;
    type Request = ListTransactionsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let (states, unknown) = states(&request.state_filters);
        let filter = ListFilter {
            producer_ids: request.producer_id_filters.iter().map(|id| id.0).collect(),
            states,
            longer_than_ms: Some(request.duration_filter).filter(|ms| *ms >= 0),
            pattern: None,
        };
        let pattern = request.transactional_id_pattern;
        let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else {
            let listed = ctx.transactional_ids(&filter);
            return Reply::Now(answer(&ctx.room, version, listed, unknown));
        };
        let heavy = ctx.broker.heavy.clone();
        let ctx = ctx.clone();
        let room = Arc::clone(&ctx.room);
        let host = ctx.client_host().into();
        Reply::Later(Box::pin(async move {
            let work = move |budget| matching(&ctx, filter, &pattern, budget);
            match heavy.run(&host, work).await {
                Ok(Ok(listed)) => answer(&room, version, listed, unknown),
                Ok(Err(NotMatched)) => failed(ErrorCode::INVALID_REGULAR_EXPRESSION),
                Err(Busy) => failed(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            }
        }))
    }
}

/// The pattern is wrong, or takes too long.
struct NotMatched;

fn matching(
    ctx: &Context,
    filter: ListFilter,
    pattern: &str,
    budget: TimeBudget,
) -> Result<Result<Vec<Listed>, TxnError>, NotMatched> {
    let filter = ListFilter {
        pattern: Some(Pattern::compile(pattern).map_err(|_| NotMatched)?),
        ..filter
    };
    match ctx.transactional_ids(&filter) {
        Ok(listed) => Ok(Ok(filter.named(listed, budget).map_err(|_| NotMatched)?)),
        Err(error) => Ok(Err(error)),
    }
}

fn answer(
    room: &Room,
    version: i16,
    listed: Result<Vec<Listed>, TxnError>,
    unknown: Vec<StrBytes>,
) -> ListTransactionsResponse {
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return failed(txn_code(error)),
    };
    let rows = listed.iter().map(row).map(|row| {
        let taken = room.take_item(version, &row);
        taken.map(|()| row)
    });
    match rows.collect() {
        Ok(rows) => ListTransactionsResponse::default()
            .with_unknown_state_filters(unknown)
            .with_transaction_states(rows),
        Err(Refusal { code, .. }) => failed(code),
    }
}

/// The wanted states, if any are given, and the names that are not states.
fn states(wanted: &[StrBytes]) -> (Option<Vec<State>>, Vec<StrBytes>) {
    if wanted.is_empty() {
        return (None, Vec::new());
    }
    let (mut states, mut unknown) = (Vec::new(), Vec::new());
    for name in wanted {
        let state = State::ALL.into_iter().find(|state| state.name() == &**name);
        match state {
            Some(state) => states.push(state),
            None if UNSEEN_STATES.contains(&&**name) => {}
            None => unknown.push(name.clone()),
        }
    }
    (Some(states), unknown)
}

fn row(listed: &Listed) -> TransactionState {
    TransactionState::default()
        .with_transactional_id(text(listed.id.as_str()).into())
        .with_producer_id(ProducerId(listed.producer_id))
        .with_transaction_state(text(listed.state.name()))
}

fn failed(code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse::default().with_error_code(code.0)
}
