//! Why a configuration can't be used.

use std::fmt;
use std::path::PathBuf;

use super::sensitive::shown;

/// One property that asks for security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub name: String,
    /// What it asks for, and what to do instead.
    pub reason: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file isn't in properties format.
    #[error("{}: {reason}", path.display())]
    Malformed {
        path: PathBuf,
        /// Line and reason.
        reason: String,
    },
    /// An override without '='. It may be a secret, so it is not shown.
    #[error("override number {number} is not of the form name=value")]
    Override {
        /// Which one, from 1 on.
        number: usize,
    },
    /// The name is unknown.
    #[error("unknown property '{name}'{}", suggestion(did_you_mean.as_deref()))]
    UnknownName {
        name: String,
        /// The nearest known name, if one is near.
        did_you_mean: Option<String>,
    },
    /// Security that is not there.
    #[error(
        "these properties ask for security that Carrick does not have; it does not start as an \
         open broker instead:{}\n  Remove them only if you trust the network in front of the \
         listeners", each_on_a_line(.0)
    )]
    Security(Vec<Asked>),
    /// The value doesn't fit the name.
    #[error("invalid value '{value}' for '{name}': {reason}")]
    InvalidValue {
        name: String,
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// An `InvalidValue`, without the value of a secret.
    pub fn value(name: &str, value: &str, reason: impl Into<String>) -> Self {
        Self::InvalidValue {
            name: name.to_owned(),
            value: shown(name, value).to_owned(),
            reason: reason.into(),
        }
    }
}

fn suggestion(name: Option<&str>) -> String {
    name.map(|name| format!(", did you mean '{name}'?"))
        .unwrap_or_default()
}

fn each_on_a_line(asked: &[Asked]) -> String {
    asked.iter().map(|asked| format!("\n  {asked}")).collect()
}
