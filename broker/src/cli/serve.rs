//! `carrick serve`: runs the broker until a signal stops it.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use carrick_link::stop_step::StopStep;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::open_files;
use crate::Broker;
use crate::config::BrokerConfig;

/// Runs the broker.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Properties file with Kafka's names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one property; wins over the file.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    pub overrides: Vec<String>,
    /// For crash tests: ends the process when a promotion or failover passes this step.
    #[arg(long, value_name = "STEP", hide = true, value_parser = stop_step)]
    pub crash_at: Option<StopStep>,
}

fn stop_step(name: &str) -> Result<StopStep, String> {
    StopStep::named(name).ok_or_else(|| format!("one of {:?}", StopStep::ALL))
}

impl Serve {
    /// Runs until SIGTERM or SIGINT, then stops cleanly.
    ///
    /// # Errors
    /// The configuration or the start failed.
    pub fn run(self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
        open_files::raise_limit();
        let config = BrokerConfig::load(self.config.as_deref(), &self.overrides)?;
        if let Some(step) = self.crash_at {
            tracing::warn!(
                ?step,
                "this broker will crash at that step of a promotion or failover"
            );
            step.crash_here();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start threads")?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
            let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
            let running = Broker::start(config).await?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            running.shutdown().await;
            Ok(())
        })
    }
}
