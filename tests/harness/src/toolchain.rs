//! Client libraries of other languages, prepared in the cache folder by `scripts/client-peers.sh`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::bail;

use crate::Result;
use crate::process::{cache_dir, repository};

/// What is missing for a real Apache Kafka and its Java client, as the line that says what to
/// install; `None` if everything is installed, or could be installed without asking.
#[must_use]
pub fn missing_java() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        let output = Command::new("bash")
            .arg(repository().join("scripts/deps.sh"))
            .arg("kafka")
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(e) => Some(format!("cannot run scripts/deps.sh: {e}")),
        }
    });
    missing.clone()
}

/// A language whose client libraries are peers.
#[derive(Debug, Clone, Copy)]
pub enum Toolchain {
    /// A virtual environment.
    Python,
    /// A folder with `node_modules`.
    Node,
    /// A folder with programs in `bin`.
    Go,
}

/// What preparing came to.
#[derive(Debug, Clone)]
pub enum Prepared {
    /// The folder.
    At(PathBuf),
    /// The toolchain is not on this machine; the line that installs it.
    Missing(String),
}

type Outcome = std::result::Result<Prepared, String>;

impl Toolchain {
    /// Prepares the libraries, once a process and once a lock file.
    ///
    /// # Errors
    /// When the toolchain is installed but fails; with its output.
    pub fn prepare(self) -> Result<Prepared> {
        static DONE: [OnceLock<Outcome>; 3] = [const { OnceLock::new() }; 3];
        let done = DONE[self as usize].get_or_init(|| self.run().map_err(|e| format!("{e:#}")));
        done.clone().map_err(|e| anyhow::anyhow!(e))
    }

    /// The prepared folder.
    ///
    /// # Errors
    /// As [`Toolchain::prepare`], and where the toolchain is missing.
    pub fn folder(self) -> Result<PathBuf> {
        match self.prepare()? {
            Prepared::At(folder) => Ok(folder),
            Prepared::Missing(line) => bail!("{self:?} is missing: {line}"),
        }
    }

    fn run(self) -> Result<Prepared> {
        let name = match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
        };
        let output = Command::new("bash")
            .arg(repository().join("scripts/client-peers.sh"))
            .arg(name)
            .env("CARRICK_CACHE", cache_dir())
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(Prepared::At(text(&output.stdout).into())),
            Some(3) => Ok(Prepared::Missing(text(&output.stderr))),
            _ => bail!("client-peers.sh {name}: {}", text(&output.stderr)),
        }
    }
}
