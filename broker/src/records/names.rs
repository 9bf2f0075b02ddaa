//! Enums in records: stored by their names in the API, so that their order in the code does not
//! matter.

use carrick_storage::codec::DecodeError;
use serde::de::DeserializeOwned;

pub(super) use crate::http::model::name_of as name;

/// The value whose name this is.
pub(super) fn parse<T: DeserializeOwned>(name: &str) -> Result<T, DecodeError> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map_err(|error| DecodeError::new(error.to_string()))
}
