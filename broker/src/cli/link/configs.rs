//! `carrick link configs …`, `link pause`, `link resume`.
//!
//! A secret is never an argument, because every user of the machine can read arguments while the
//! command runs: it comes from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::client::Client;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Output, plural, table};
use crate::cli::settings::{name_value, read_client_file, refuse_secrets};
use crate::http::model::link::LinkConfigData;
use crate::http::model::{AlterConfigsRequest, Collection, ConfigChange, ConfigOperation, escape};

/// What can be done with a link's configs.
#[derive(Debug, Subcommand)]
pub enum ConfigsCommand {
    /// Show the configs that are set, or all configs
    Describe {
        /// The link's name
        name: String,
        /// Show defaults, too
        #[arg(long)]
        all: bool,
    },
    /// Change configs, either all or none; the link restarts with them
    Alter(Alter),
}

/// `link configs alter`
#[derive(Debug, Args)]
pub struct Alter {
    /// The link's name
    name: String,
    /// Set a config; secrets only with --config-file
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_value)]
    set: Vec<(String, String)>,
    /// Reset a config to its default
    #[arg(long, value_name = "NAME")]
    delete: Vec<String>,
    /// Set configs to the values in a properties file
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Only check, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not check that the source answers with the new settings
    #[arg(long)]
    no_validate: bool,
}

/// Runs a command.
///
/// # Errors
/// What the server refuses, or that it cannot be reached; a secret on the command line.
pub fn run(client: &Client, output: Output, command: ConfigsCommand) -> CliResult {
    match command {
        ConfigsCommand::Describe { name, all } => {
            let path = format!("/links/{}/configs", escape(&name));
            let configs: Collection<LinkConfigData> = client.get(&path)?;
            let shown: Vec<&LinkConfigData> = configs
                .data
                .iter()
                .filter(|config| all || !config.is_default)
                .collect();
            output.print(&shown, |configs| render(configs))
        }
        ConfigsCommand::Alter(alter) => self::alter(client, output, alter),
    }
}

/// Pauses a link, or resumes it.
///
/// # Errors
/// As [`run`].
pub fn pause(client: &Client, output: Output, name: &str, is_paused: bool) -> CliResult {
    let change = set("cluster.link.paused".to_owned(), is_paused.to_string());
    put(client, name, vec![change], "")?;
    let answer = serde_json::json!({ "link_name": name, "paused": is_paused });
    let done = if is_paused { "paused" } else { "resumed" };
    output.print(&answer, |_| format!("link {name} {done}"))
}

fn alter(client: &Client, output: Output, alter: Alter) -> CliResult {
    let (name, dry_run) = (alter.name.clone(), alter.dry_run);
    let query = format!(
        "?validate_only={dry_run}&validate_link={}",
        !alter.no_validate
    );
    let changes = changes(alter)?;
    let names: Vec<String> = changes.iter().map(|change| change.name.clone()).collect();
    put(client, &name, changes, &query)?;
    let answer = serde_json::json!({ "link_name": name, "altered": names, "dry_run": dry_run });
    output.print(&answer, |_| {
        let done = if dry_run { "can be altered" } else { "altered" };
        let count = plural(names.len(), "config");
        format!("link {name} {done}: {count} ({})", names.join(", "))
    })
}

fn put(client: &Client, name: &str, data: Vec<ConfigChange>, query: &str) -> CliResult {
    let path = format!("/links/{}/configs:alter{query}", escape(name));
    client.put(&path, &AlterConfigsRequest { data })
}

/// The requested changes; the command line wins over the file.
fn changes(alter: Alter) -> CliResult<Vec<ConfigChange>> {
    refuse_secrets(&alter.set)?;
    let mut values: BTreeMap<String, String> = match &alter.config_file {
        Some(path) => read_client_file(path)?,
        None => BTreeMap::new(),
    };
    values.extend(alter.set);
    if let Some(name) = alter.delete.iter().find(|name| values.contains_key(*name)) {
        return Err(CliError::Usage(format!("{name} is both set and deleted")));
    }
    if values.is_empty() && alter.delete.is_empty() {
        return Err(CliError::Usage(
            "nothing to change: use --set NAME=VALUE, --delete NAME or --config-file FILE"
                .to_owned(),
        ));
    }
    let set = values.into_iter().map(|(name, value)| set(name, value));
    let delete = alter.delete.into_iter().map(|name| ConfigChange {
        name,
        value: None,
        operation: Some(ConfigOperation::Delete),
    });
    Ok(set.chain(delete).collect())
}

fn set(name: String, value: String) -> ConfigChange {
    ConfigChange {
        name,
        value: Some(value),
        operation: Some(ConfigOperation::Set),
    }
}

/// Configs as a table; secrets are not in it.
pub fn render(configs: &[&LinkConfigData]) -> String {
    let from = |config: &LinkConfigData| match (config.is_default, config.is_read_only) {
        (true, _) => "default",
        (false, true) => "set, fixed",
        (false, false) => "set",
    };
    table(
        ["CONFIG", "VALUE", "FROM"],
        configs.iter().map(|config| {
            let value = match config.is_sensitive && !config.is_default {
                true => "(hidden)".to_owned(),
                false => config.value.clone(),
            };
            [config.name.clone(), value, from(config).to_owned()]
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altering(set: &[(&str, &str)], delete: &[&str], config_file: Option<PathBuf>) -> Alter {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Alter {
            name: "west".to_owned(),
            set: set.iter().map(pair).collect(),
            delete: delete.iter().map(|name| (*name).to_owned()).collect(),
            config_file,
            dry_run: false,
            no_validate: false,
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_may_not_contradict_itself() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("link.properties");
        std::fs::write(&path, "client.id=file\nretry.backoff.ms=7\n").expect("write");
        let alter = altering(
            &[("client.id", "x")],
            &["metadata.max.age.ms"],
            Some(path.clone()),
        );
        let changes = changes(alter).expect("changes");
        let shown: Vec<(&str, Option<&str>)> = changes
            .iter()
            .map(|change| (&*change.name, change.value.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("client.id", Some("x")),
                ("retry.backoff.ms", Some("7")),
                ("metadata.max.age.ms", None)
            ]
        );
        let both = altering(&[], &["client.id"], Some(path));
        assert!(matches!(super::changes(both), Err(CliError::Usage(_))));
        let none = altering(&[], &[], None);
        assert!(matches!(super::changes(none), Err(CliError::Usage(_))));
    }

    #[test]
    fn a_secret_is_no_argument() {
        let alter = altering(&[("sasl.jaas.config", "hunter2")], &[], None);
        let Err(CliError::Usage(said)) = changes(alter) else {
            panic!("a secret was taken");
        };
        assert!(
            said.contains("--config-file") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
