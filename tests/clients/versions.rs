//! The versions of the client libraries, from the files that pin them.

use anyhow::Context;
use harness::Result;
use harness::process::repository;

/// Where a library's version stands.
#[derive(Debug, Clone, Copy)]
pub enum Pinned {
    /// Here.
    As(&'static str),
    /// In a file of this repository, behind this text.
    In(&'static str, &'static str),
}

impl Pinned {
    /// The version, without what a package adds to the library's own.
    ///
    /// # Errors
    /// When the file cannot be read or says nothing of the library.
    pub fn read(self) -> Result<String> {
        let (file, before) = match self {
            Self::As(version) => return Ok(version.to_owned()),
            Self::In(file, before) => (file, before),
        };
        let text = std::fs::read_to_string(repository().join(file)).context(file)?;
        let (_, rest) = text
            .split_once(before)
            .with_context(|| format!("{file} has no {before:?}"))?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        let version = rest.split(|c| !is_part(c)).next().unwrap_or_default();
        // Cargo's packages of C libraries say both: `4.10.0+2.12.1`.
        let own = version.rsplit('+').next().unwrap_or(version);
        Ok(own.to_owned())
    }
}
