//! `carrick secrets …`: what protects stored secrets, and new keys for them.

use carrick_link::naming::some_of;
use clap::Subcommand;

use super::client::{Client, Patience};
use super::error::CliResult;
use super::output::{Output, facts, plural, when};
use crate::http::model::secrets::{RotationData, SecretsData};

/// What can be done with stored secrets.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Show what protects the secrets that the broker stores; never a secret or a key
    Describe,
    /// Encrypt all stored secrets with a new key, while the broker runs
    Rotate,
}

/// Runs a secrets command.
///
/// # Errors
/// What the server refuses, or that it cannot be reached.
pub fn run(client: &Client, output: Output, command: SecretsCommand) -> CliResult {
    match command {
        SecretsCommand::Describe => {
            let secrets: SecretsData = client.get("/secrets")?;
            output.print(&secrets, render)
        }
        SecretsCommand::Rotate => {
            let rotated: RotationData = client.post("/secrets:rotate", &(), Patience::Long)?;
            output.print(&rotated, render_rotation)
        }
    }
}

fn render(secrets: &SecretsData) -> String {
    let key = match (secrets.generation, secrets.generation_time_ms) {
        (Some(generation), Some(made_ms)) => {
            format!("number {generation}, made {}", when(made_ms))
        }
        _ => "none yet".to_owned(),
    };
    facts(&[
        ("master key", secrets.key_source.clone()),
        ("data key", key),
        ("older data keys", secrets.older_generations.to_string()),
        ("secrets", secrets.secrets.to_string()),
        ("unreadable", named(&secrets.unreadable)),
    ])
}

fn named(unreadable: &[String]) -> String {
    match unreadable {
        [] => "none".to_owned(),
        some => some_of(some),
    }
}

fn render_rotation(rotated: &RotationData) -> String {
    let mut text = format!(
        "{} encrypted with data key number {}",
        plural(rotated.renewed, "secret"),
        rotated.generation
    );
    text.push_str(match rotated.is_master_key_new {
        true => ", under a new key file in the data folder",
        false => {
            ", under the same master key. To replace that one, too: give the broker a new one, and \
             the former one as password.encoder.old.secret or secrets.old.key.file, and restart it"
        }
    });
    if !rotated.unreadable.is_empty() {
        text.push_str(&format!(
            "\nthese can't be read and stay as they are; set them again: {}",
            named(&rotated.unreadable)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_names_what_it_could_not_read() {
        let mut rotated = RotationData {
            generation: 3,
            renewed: 2,
            unreadable: Vec::new(),
            is_master_key_new: false,
        };
        let text = render_rotation(&rotated);
        assert!(
            text.starts_with("2 secrets encrypted with data key number 3"),
            "{text}"
        );
        assert!(text.contains("secrets.old.key.file"), "{text}");
        rotated.unreadable = vec!["sasl.jaas.config of link west".to_owned()];
        assert!(
            render_rotation(&rotated).contains("set them again: sasl.jaas.config of link west")
        );
    }
}
