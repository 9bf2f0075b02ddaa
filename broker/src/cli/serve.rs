//! `carrick serve`: runs the broker until a signal stops it.

use std::path::PathBuf;

/// Runs the broker.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Properties file with Kafka's names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one property; wins over the file.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    pub overrides: Vec<String>,
}

impl Serve {
    /// Runs until SIGTERM or SIGINT, then stops cleanly.
    ///
    /// # Errors
    /// The configuration or the start failed.
    pub fn run(self) -> anyhow::Result<()> {
        unimplemented!()
    }
}
