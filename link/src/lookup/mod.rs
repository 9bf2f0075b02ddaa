//! Questions to the source other than fetching, each answered within the link's
//! `request.timeout.ms`.
//!
//! [`offsets`] asks where partitions begin and end; [`topics`] asks whether mirrored topics are
//! still the same and where they end; [`verdict`] judges a topic's metadata.

pub(crate) mod offsets;
mod topics;
pub(crate) mod verdict;

use std::time::Duration;

pub(crate) use topics::{Answer, Answers, SourceEnds, ask, confirm, judged, whole};

use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::source::SourceError;
use crate::state::LinkErrorCode;

/// The source's answer; `TimeoutError` if there is none within the link's `request.timeout.ms`.
pub(crate) async fn within<T>(
    config: &LinkConfig,
    asking: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, LinkError> {
    let limit_ms = config.request_timeout_ms;
    match tokio::time::timeout(Duration::from_millis(limit_ms), asking).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LinkError::SourceUnavailable {
            code: LinkErrorCode::TimeoutError,
            detail: format!("no answer within {limit_ms} ms (request.timeout.ms)"),
        }),
    }
}
