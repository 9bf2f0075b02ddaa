//! `POST /links/{link}/mirrors/{topic}:verify` *(own)*: proof of byte identity.
//!
//! The answer is a stream of lines, one JSON [`VerifyEvent`] each (`application/x-ndjson`): any
//! number of `progress`, then one `report` or one `error`. A stream that ends without either was
//! interrupted, and proves nothing.

use carrick_link::verify::{VerifyProgress, VerifyReport};
use serde::{Deserialize, Serialize};

use super::ErrorBody;

/// The body of the request; all of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRequest {
    /// Compare this many spots per partition instead of everything.
    #[serde(default)]
    pub sample: Option<u32>,
    /// Only this partition.
    #[serde(default)]
    pub partition: Option<i32>,
    /// From this offset on.
    #[serde(default)]
    pub from: Option<i64>,
    /// Up to before this offset.
    #[serde(default)]
    pub to: Option<i64>,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyEvent {
    /// How far it is.
    Progress(VerifyProgress),
    /// Done: what was compared, and the first difference per partition if there is one.
    Report(VerifyReport),
    /// The comparison could not be made.
    Error(ErrorBody),
}
