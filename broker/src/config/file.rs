//! The properties file, and the command line's overrides.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ConfigError, Values};

/// Reads `file`, if given, then applies `overrides` (`name=value`).
///
/// # Errors
/// The first thing that is wrong.
pub fn read(file: Option<&Path>, overrides: &[String]) -> Result<Values, ConfigError> {
    let mut set = match file {
        Some(path) => read_file(path)?,
        None => BTreeMap::new(),
    };
    for (at, item) in overrides.iter().enumerate() {
        let (name, value) = item
            .split_once('=')
            .ok_or_else(|| ConfigError::Override { number: at + 1 })?;
        set.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Values::new(set)
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    carrick_protocol::properties::parse(&text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
