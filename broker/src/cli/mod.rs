//! The command line: `carrick serve`, and everything else over the REST API.
//!
//! Exit codes, which scripts can trust:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `verify`: compared, and identical |
//! | 1 | refused or failed; for `verify`: a difference, and no other case |
//! | 2 | the command line does not make sense |
//! | 3 | the server cannot be reached |
//! | 4 | `verify` only: there was nothing to compare, or the comparison failed |
//!
//! Results go to standard output, progress and errors to standard error.

mod client;
mod error;
mod groups;
mod link;
mod logging;
mod mirror;
mod open_files;
mod output;
mod profile;
mod progress;
mod reach;

mod secrets;
pub mod serve;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod topic;
mod user;

use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};

use client::Client;
use error::CliResult;
use output::{Output, OutputFormat};
use reach::Reach;

const EXIT_CODES: &str = "Exit codes: 0 success (verify: identical), 1 refused or failed \
     (verify: a difference), 2 invalid command line, 3 server cannot be reached, 4 verify only: \
     nothing was compared, or the comparison failed.";

/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, if the build named it (`make` does).
const COMMIT: Option<&str> = match option_env!("CARRICK_COMMIT") {
    Some(commit) if !commit.is_empty() => Some(commit),
    _ => None,
};

/// Carrick: a Kafka-compatible broker that mirrors another cluster byte for byte and takes over.
#[derive(Debug, Parser)]
#[command(name = "carrick", version = version(), about, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    reach: Reach,
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t = OutputFormat::Human)]
    output: OutputFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker
    Serve(serve::Serve),
    /// Links to source clusters
    #[command(subcommand)]
    Link(link::LinkCommand),
    /// Mirror topics
    #[command(subcommand)]
    Mirror(mirror::MirrorCommand),
    /// Local topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Users who log in with SCRAM
    #[command(subcommand)]
    User(user::UserCommand),
    /// Stored secrets: what protects them, and new keys
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
}

/// The version, and the commit where it is known.
fn version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| match COMMIT {
        Some(commit) => format!("{} ({commit})", VERSION),
        None => VERSION.to_owned(),
    })
}

/// Runs the process's command line and answers the exit code. Errors are printed to standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.reach, Output::new(cli.output), cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("{}", output::failure(cli.output, &error, code));
            ExitCode::from(code)
        }
    }
}

fn run(reach: &Reach, output: Output, command: Command) -> CliResult {
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Link(command) => link::run(&Client::new(reach)?, output, command),
        Command::Mirror(command) => mirror::run(&Client::new(reach)?, output, command),
        Command::Topic(command) => topic::run(&Client::new(reach)?, output, command),
        Command::User(command) => user::run(|| Client::new(reach), output, command),
        Command::Secrets(command) => secrets::run(&Client::new(reach)?, output, command),
    }
}
