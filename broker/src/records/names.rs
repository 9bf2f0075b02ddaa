//! Enums in records: stored by their names in the API, so that their order in the code does not
//! matter.

use carrick_storage::codec::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of a value of an enum without fields. (Others have none, and are not stored like this.)
pub(super) fn name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "UNKNOWN".to_owned(),
    }
}

/// The value whose name this is.
pub(super) fn parse<T: DeserializeOwned>(name: &str) -> Result<T, DecodeError> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map_err(|error| DecodeError::new(error.to_string()))
}
