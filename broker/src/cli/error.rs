//! Why a command failed, and the exit code that says so to a script.

use thiserror::Error;

/// A command's failure. The message is what the operator reads; the variant decides the exit code.
#[derive(Debug, Error)]
pub enum CliError {
    /// The operation was refused or failed, or a comparison found a difference. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The command line does not make sense. Exit code 2, like clap's own errors.
    #[error("{0}")]
    Usage(String),
    /// A comparison could not be made, or had nothing to compare: it has shown neither that both sides are the same nor
    /// that they differ. Exit code 4.
    #[error("{0}")]
    Unproven(String),
    /// No answer from the server. Exit code 3.
    #[error(
        "cannot reach Carrick at {url}: {cause}\n  is `carrick serve` running, and is its \
         rest.listeners this address? Another address: --url or CARRICK_URL"
    )]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What went wrong.
        cause: String,
    },
}

impl CliError {
    /// The exit code as the manual documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Failed(_) => 1,
            CliError::Usage(_) => 2,
            CliError::Unreachable { .. } => 3,
            CliError::Unproven(_) => 4,
        }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        CliError::Failed(format!("cannot write the output: {error}"))
    }
}

/// What every command returns.
pub type CliResult<T = ()> = Result<T, CliError>;
