//! Fetch (key 1), versions 4–18.
//!
//! Whole record batches as they are stored, from the batch that holds the wanted offset on, without
//! copying them. Answered at once when there is `min_bytes`, an error, or a limit that is met; else
//! when the high watermark (last stable offset for `read_committed`) moves, or after `max_wait`.
//!
//! - The first batch of the first partition that has data is given whole, whatever the limits.
//! - v4 (KIP-98): isolation level; `read_committed` gets the aborted transactions of its range.
//! - v5: log start offset. v7 (KIP-227): sessions. v9 (KIP-320): current leader epoch checked.
//! - v11 (KIP-392): always read here, no preferred replica. v12 (KIP-595): flexible;
//!   `last_fetched_epoch` is answered with the diverging epoch, for any fetcher.
//! - v13 (KIP-516): topic ids; a topic made anew is UNKNOWN_TOPIC_ID. v15 (KIP-903): replica state;
//!   v16 (KIP-951): node endpoints, v17 (KIP-853): directory ids, v18 (KIP-1166): high watermark of
//!   the follower: all for replicas. There are none: every fetcher reads as a consumer.

mod encode;
mod read;

use std::ops::RangeInclusive;
use std::time::Duration;

use carrick_protocol::frame::FrameError;
use kafka_protocol::messages::fetch_response::FetchableTopicResponse;
use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse};
use tokio::time::Instant;

use super::{Api, Context, Frame, Reply, ResponseOf};
use crate::fetch_session::{Answer, Scope, Wanted};
use crate::partition::Watch;
use read::{Bounds, Pass, Reading};

/// Fetch.
pub struct Fetch;

impl Api for Fetch {
    const KEY: ApiKey = ApiKey::Fetch;
    const VERSIONS: RangeInclusive<i16> = 4..=18;
    type Request = FetchRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let (scope, wanted) = match ctx.broker.fetch_sessions.begin(version, &request) {
            Ok(begun) => begun,
            Err(code) => return Reply::Now(FetchResponse::default().with_error_code(code.0)),
        };
        let max_bytes = bytes(request.max_bytes).min(ctx.broker.config.fetch_max_bytes);
        let fetch = Fetching {
            ctx: ctx.clone(),
            version,
            scope,
            wanted,
            reading: Reading {
                by_id: version >= 13,
                committed_only: request.isolation_level == 1,
                max_bytes,
                min_bytes: bytes(request.min_bytes).min(max_bytes),
            },
        };
        let pass = fetch.pass();
        let Ok(max_wait_ms @ 1..) = u64::try_from(request.max_wait_ms) else {
            return Reply::Now(fetch.answer(pass));
        };
        if pass.is_enough {
            return Reply::Now(fetch.answer(pass));
        }
        let deadline = Instant::now() + Duration::from_millis(max_wait_ms);
        Reply::Later(Box::pin(async move {
            let pass = fetch.wait(pass, deadline).await;
            fetch.answer(pass)
        }))
    }

    fn encode(
        correlation_id: i32,
        version: i16,
        response: &FetchResponse,
    ) -> Result<Frame, FrameError> {
        encode::encode(correlation_id, version, response)
    }
}

/// A limit from the wire; negative ones are none at all.
fn bytes(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

/// One Fetch under way.
struct Fetching {
    ctx: Context,
    version: i16,
    scope: Scope,
    wanted: Vec<Wanted>,
    reading: Reading,
}

impl Fetching {
    fn pass(&self) -> Pass {
        self.reading.pass(&self.ctx.broker.catalog, &self.wanted)
    }

    /// Reads again whenever something moved, until it is enough or too late.
    async fn wait(&self, mut pass: Pass, deadline: Instant) -> Pass {
        let watch = Watch::default();
        for (partition, _) in &pass.partitions {
            partition.watchers().register(&watch);
        }
        // What moved between reading and registering has woken nobody.
        let mut look_again = self.has_moved(&pass);
        loop {
            if look_again {
                pass = self.pass();
                if pass.is_enough {
                    return pass;
                }
            }
            tokio::select! {
                () = watch.moved() => look_again = self.has_moved(&pass),
                () = tokio::time::sleep_until(deadline) => return pass,
                () = self.ctx.broker.stopping() => return pass,
            }
        }
    }

    fn has_moved(&self, pass: &Pass) -> bool {
        pass.partitions.iter().any(|(partition, before)| {
            let now = Bounds::of(&partition.snapshot(), self.reading.committed_only);
            now != *before || partition.is_closed()
        })
    }

    fn answer(&self, pass: Pass) -> FetchResponse {
        let sessions = &self.ctx.broker.fetch_sessions;
        respond(sessions.answer(self.version, &self.scope, pass.answers))
    }
}

/// Groups partitions that follow one another by topic.
fn respond(answer: Answer) -> FetchResponse {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    let mut total_bytes = 0;
    for (
        Wanted {
            key: (id, name, _), ..
        },
        data,
    ) in answer.partitions
    {
        total_bytes += data.records.as_ref().map_or(0, bytes::Bytes::len);
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id && topic.topic == name => {
                topic.partitions.push(data);
            }
            _ => topics.push(
                FetchableTopicResponse::default()
                    .with_topic(name)
                    .with_topic_id(id)
                    .with_partitions(vec![data]),
            ),
        }
    }
    metrics::counter!("carrick_fetched_bytes_total").increment(total_bytes as u64);
    FetchResponse::default()
        .with_error_code(answer.code.0)
        .with_session_id(answer.session_id)
        .with_responses(topics)
}
