//! The command line: `carrick serve`, and everything else over the REST API.
//!
//! Exit codes, which scripts can trust:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `verify`: identical |
//! | 1 | refused or failed; for `verify`: a difference |
//! | 2 | the command line does not make sense |
//! | 3 | the server cannot be reached |
//!
//! Results go to standard output, progress and errors to standard error.

mod client;
mod error;
mod link;
mod mirror;
mod output;
mod progress;

pub mod serve;
mod settings;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Client;
use error::{CliError, CliResult};
use output::{Output, OutputFormat};

const EXIT_CODES: &str = "Exit codes: 0 done (verify: identical), 1 refused or failed (verify: a \
                          difference), 2 wrong command line, 3 server cannot be reached.";

/// Carrick: a Kafka-compatible broker that mirrors another cluster byte for byte and takes over.
#[derive(Debug, Parser)]
#[command(name = "carrick", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// Address of the server's REST API
    #[arg(
        long,
        global = true,
        env = "CARRICK_URL",
        default_value = "http://127.0.0.1:8090"
    )]
    url: String,
    /// Form of the output
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
}

/// Runs the process's command line and answers the exit code. Errors are printed to standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.url, Output::new(cli.output), cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("carrick: {error}");
            error.exit_code()
        }
    }
}

fn run(url: &str, output: Output, command: Command) -> CliResult {
    match command {
        Command::Serve(serve) => serve
            .run()
            .map_err(|error| CliError::Failed(format!("{error:#}"))),
        Command::Link(command) => link::run(&Client::new(url)?, output, command),
        Command::Mirror(command) => mirror::run(&Client::new(url)?, output, command),
        Command::Topic(command) => topic::run(&Client::new(url)?, output, command),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_forms_parse() {
        for line in [
            "carrick link create l --bootstrap-server a:1,b:2 --config x=y --dry-run",
            "carrick link create l --config-file client.properties",
            "carrick link list -o json",
            "carrick link describe l",
            "carrick link delete l --force",
            "carrick mirror create a b --link l",
            "carrick mirror create a --link l --mirror-topic b --config x=y --wait",
            "carrick mirror list",
            "carrick mirror list --link l",
            "carrick mirror describe t",
            "carrick mirror pause a b --link l",
            "carrick mirror resume --pattern a.* --link l --dry-run",
            "carrick mirror promote --all --link l",
            "carrick mirror failover a --link l --dry-run",
            "carrick mirror verify t --sample --from 1 --to 9",
            "carrick topic list --url http://127.0.0.1:1",
            "carrick topic create t --partitions 3 --config a=b",
            "carrick topic describe t",
            "carrick topic delete t",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(
                parsed.is_ok(),
                "{line}: {}",
                parsed.map(drop).expect_err("an error")
            );
        }
    }

    #[test]
    fn a_choice_of_mirrors_is_exactly_one_of_names_pattern_and_all() {
        for line in [
            "carrick mirror pause --link l",
            "carrick mirror pause a --all --link l",
            "carrick mirror pause --pattern a --all --link l",
            "carrick mirror pause a",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
