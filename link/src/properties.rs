//! Java's `.properties` format, as Kafka's own files use it. In work.

use std::collections::BTreeMap;

/// A line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PropertiesError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads a `.properties` file's text: comments, escapes, continuation lines; the last of equal names wins.
///
/// # Errors
/// A malformed `\uXXXX` escape, with its line.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PropertiesError> {
    let _ = text;
    unimplemented!()
}
