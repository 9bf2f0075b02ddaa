//! Reads single configs of a link, and says why one was refused.

use std::collections::BTreeMap;

use super::{table, value};

/// Why a config was refused. The message holds the name, never a sensitive value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct ConfigError {
    pub name: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(name: &str, reason: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Typed access to checked values, or to their defaults.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a BTreeMap<String, String>) -> Self {
        Self { values }
    }

    pub(super) fn read<T>(
        &self,
        name: &'static str,
        reader: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let set = self.values.get(name).map(String::as_str);
        let value = set.or_else(|| table::find(name).and_then(|row| row.default));
        let missing = || ConfigError::new(name, "has no value");
        reader(value.ok_or_else(missing)?).map_err(|reason| ConfigError::new(name, reason))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, ConfigError> {
        self.read(name, |text| Ok(text.to_owned()))
    }

    /// The value, if it is set and not empty.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        self.values
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, name: &'static str) -> Result<T, ConfigError> {
        let out_of_range = |_| "is out of range".to_owned();
        self.read(name, |text| {
            T::try_from(value::integer(text, i64::MIN, i64::MAX)?).map_err(out_of_range)
        })
    }

    /// `None` for −1.
    pub(super) fn number_or_none<T: TryFrom<i64>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        match self.number::<i64>(name)? {
            -1 => Ok(None),
            _ => self.number(name).map(Some),
        }
    }
}
