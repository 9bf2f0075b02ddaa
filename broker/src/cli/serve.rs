//! `carrick serve`: runs the broker until a signal stops it.

use std::path::PathBuf;

use carrick_link::cut::CutStep;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::{CliError, CliResult};
use super::{logging, open_files, user};
use crate::config::is_sensitive;
use crate::run::{self, Config, StartError};
use crate::secrets::Step;

/// Runs the broker.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Properties file with Kafka's names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one property; wins over the file.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    pub overrides: Vec<String>,
    /// Adds a user unless it exists: SCRAM-SHA-512=[name=admin,password-file=FILE]. For the first
    /// start.
    #[arg(long, value_name = "MECHANISM=[…]")]
    pub add_scram: Vec<String>,
    /// For crash tests: ends the process when a promotion or failover passes this step.
    #[arg(long, value_name = "STEP", hide = true, value_parser = cut_step)]
    pub crash_at: Option<CutStep>,
    /// For crash tests: ends the process when a rotation of secrets passes this step.
    #[arg(long, value_name = "STEP", hide = true, value_parser = rotation_step)]
    pub crash_at_rotation: Option<Step>,
}

fn cut_step(name: &str) -> Result<CutStep, String> {
    CutStep::named(name).ok_or_else(|| format!("one of {:?}", CutStep::ALL))
}

fn rotation_step(name: &str) -> Result<Step, String> {
    Step::named(name).ok_or_else(|| format!("one of {:?}", Step::ALL))
}

impl Serve {
    /// Runs until SIGTERM or SIGINT, then stops cleanly.
    ///
    /// # Errors
    /// The configuration or the start failed.
    pub fn run(self) -> CliResult {
        logging::start();
        refuse_secrets(&self.overrides)?;
        let config = Config::load(self.config.as_deref(), &self.overrides);
        let config = config.map_err(|error| CliError::Failed(error.to_string()))?;
        let users = self.add_scram.iter().map(|text| user::add_scram(text));
        let users = users.collect::<CliResult<Vec<_>>>()?;
        let file = self.config.as_deref().map(|path| path.display());
        tracing::info!(
            version = super::VERSION,
            commit = super::COMMIT.unwrap_or("unknown"),
            config = file.map_or("none".to_owned(), |file| file.to_string()),
            data_folder = %config.log_dir_absolute().display(),
            node_id = config.node_id,
            "carrick starts"
        );
        open_files::raise_limit();
        if !users.is_empty() {
            user::add_at_first_start(&config.log_dir, users)?;
        }
        if let Some(step) = self.crash_at {
            tracing::warn!(
                ?step,
                "this broker will crash at that step of a promotion or failover"
            );
            step.crash_here();
        }
        if let Some(step) = self.crash_at_rotation {
            tracing::warn!(?step, "this broker will crash at that step of a rotation");
            step.crash_here();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::Failed(format!("cannot start threads: {error}")))?;
        runtime.block_on(serve(config))
    }
}

/// Refuses secrets on the command line: every process of the machine can read it.
fn refuse_secrets(overrides: &[String]) -> CliResult {
    let names = overrides.iter().filter_map(|item| item.split_once('='));
    let mut names = names.map(|(name, _)| name.trim());
    match names.find(|name| is_sensitive(name)) {
        None => Ok(()),
        Some(name) => Err(CliError::Usage(format!(
            "{name} is a secret, and other users can read command lines: put it into the properties \
             file of --config"
        ))),
    }
}

async fn serve(config: Config) -> CliResult {
    let failed = |error| CliError::Failed(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (ask, mut asked) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ask.send_replace(true);
        // The receivers distinguish a dropped sender from one that sent a signal.
        std::future::pending::<()>().await;
    });
    let running = match run::start(config, asked.clone()).await {
        Ok(running) => running,
        Err(StartError::GivenUp) => {
            tracing::info!("stopped");
            return Ok(());
        }
        Err(error) => return Err(CliError::Failed(error.to_string())),
    };
    // An error means that the runtime ends.
    let _ = asked.wait_for(|stop| *stop).await;
    running.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_taken_from_the_command_line() {
        let refused = |item: &str| refuse_secrets(&[item.to_owned()]).err();
        for name in [
            "password.encoder.secret",
            "ssl.key.password",
            "listener.name.outside.plain.sasl.jaas.config",
        ] {
            let error = refused(&format!("{name} = open sesame"))
                .unwrap()
                .to_string();
            assert!(
                error.contains(name) && error.contains("--config"),
                "{error}"
            );
            assert!(!error.contains("sesame"), "{error}");
        }
        assert!(refused("secrets.key.file=/etc/carrick/key").is_none());
        assert!(refused("num.partitions=3").is_none());
    }
}
