//! From one request frame to one reply: header, version and shape, then the API's row of the table.

use std::future::poll_fn;

use bytes::Bytes;
use carrick_protocol::frame::{self, FrameError, RequestBody, RequestHead};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use crate::api::table::{self, Entry};
use crate::api::{Context, Encoded, Reply, api_versions};

/// Why a connection is closed instead of answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The frame is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Kafka has this API, Carrick doesn't.
    #[error("API {api} version {version} is not supported")]
    Unsupported {
        /// The API's name, or its number.
        api: String,
        version: i16,
    },
}

/// A request that is well-formed, and not decoded yet.
pub(super) struct Routed {
    /// The API's row.
    pub(super) entry: &'static Entry,
    head: RequestHead,
    /// None of an ApiVersions request from the future.
    body: Option<RequestBody>,
}

/// Finds out what a frame asks for, and walks its shape.
pub(super) fn route(context: &mut Context, mut body: Bytes) -> Result<Routed, Refused> {
    let head = frame::parse_request_head(&mut body)?;
    let (key, version) = (head.api_key, head.api_version);
    let entry = table::entry(key).ok_or_else(|| unsupported(&head))?;
    let body = match (entry.min..=entry.max).contains(&version) {
        true => Some(RequestBody::check(key, version, body)?),
        false if entry.key == ApiKey::ApiVersions => None,
        false => return Err(unsupported(&head)),
    };
    if body.is_some() && context.client_id != head.client_id {
        // Copied: a slice would keep the whole frame in memory while the connection idles.
        let copied = head.client_id.as_ref().map(ToString::to_string);
        context.client_id = copied.map(StrBytes::from_string);
    }
    Ok(Routed { entry, head, body })
}

impl Routed {
    /// Elements of the request: how much work it is, and how much memory it takes.
    pub(super) fn elements(&self) -> usize {
        self.body.as_ref().map_or(0, RequestBody::elements)
    }

    /// Decodes and handles the request, whose turn it is.
    pub(super) fn handle(self, context: &Context) -> Result<Reply<Encoded>, Refused> {
        let Self { entry, head, body } = self;
        match body {
            Some(body) => Ok((entry.call)(context, &head, body)?),
            None => Ok(Reply::Now(api_versions::unsupported_version(
                head.correlation_id,
            ))),
        }
    }

    /// As [`handle`](Self::handle), for a request that keeps its thread busy for long: other threads
    /// take over this thread's work meanwhile, also while the answer is built.
    pub(super) fn handle_heavy(self, context: &Context) -> Result<Reply<Encoded>, Refused> {
        let reply = tokio::task::block_in_place(|| self.handle(context))?;
        Ok(match reply {
            Reply::Later(mut answer) => Reply::Later(Box::pin(poll_fn(move |cx| {
                tokio::task::block_in_place(|| answer.as_mut().poll(cx))
            }))),
            reply => reply,
        })
    }
}

fn unsupported(head: &RequestHead) -> Refused {
    let api = ApiKey::try_from(head.api_key)
        .map_or_else(|()| head.api_key.to_string(), |key| format!("{key:?}"));
    Refused::Unsupported {
        api,
        version: head.api_version,
    }
}
