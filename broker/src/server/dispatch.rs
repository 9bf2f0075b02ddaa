//! One request frame to one reply: header, version, then the API's own row of the table.

use bytes::Bytes;
use carrick_protocol::frame::{self, FrameError, RequestHead};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use crate::api::table::{self, Entry};
use crate::api::{Context, Frame, Reply, api_versions};

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
        /// The version.
        version: i16,
    },
}

/// A request under way.
pub(super) struct Dispatched {
    /// The API's row.
    pub(super) entry: &'static Entry,
    /// The reply.
    pub(super) reply: Reply<Result<Frame, FrameError>>,
}

/// Handles one request whose turn it is.
pub(super) fn dispatch(context: &mut Context, mut body: Bytes) -> Result<Dispatched, Refused> {
    let head = frame::parse_request_head(&mut body)?;
    let entry = table::entry(head.api_key).ok_or_else(|| unsupported(&head))?;
    if !(entry.min..=entry.max).contains(&head.api_version) {
        return match entry.key {
            ApiKey::ApiVersions => {
                let reply = Reply::Now(api_versions::unsupported_version(head.correlation_id));
                Ok(Dispatched { entry, reply })
            }
            _ => Err(unsupported(&head)),
        };
    }
    if context.client_id != head.client_id {
        // Copied: a slice would keep the whole frame in memory while the connection idles.
        let copied = head.client_id.as_ref().map(ToString::to_string);
        context.client_id = copied.map(StrBytes::from_string);
    }
    let reply = (entry.call)(context, &head, body)?;
    Ok(Dispatched { entry, reply })
}

fn unsupported(head: &RequestHead) -> Refused {
    let api = ApiKey::try_from(head.api_key)
        .map_or_else(|()| head.api_key.to_string(), |key| format!("{key:?}"));
    Refused::Unsupported {
        api,
        version: head.api_version,
    }
}
