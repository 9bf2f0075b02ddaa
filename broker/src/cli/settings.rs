//! `--config name=value` and `--config-file`: configs from the command line.

use std::collections::BTreeMap;
use std::path::Path;

use carrick_link::config::{is_client_only, is_sensitive};
use carrick_protocol::properties;

use super::error::{CliError, CliResult};
use crate::http::model::ConfigData;

/// The largest properties file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Splits `name=value`, for clap.
pub fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected name=value".to_owned()),
    }
}

/// Reads a Java properties file, as Kafka's clients do.
///
/// # Errors
/// [`CliError::Usage`] that names the file and what is wrong with it.
pub fn read_file(path: &Path) -> CliResult<BTreeMap<String, String>> {
    let wrong = |reason: String| CliError::Usage(format!("{}: {reason}", path.display()));
    let size_bytes = std::fs::metadata(path)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size_bytes > FILE_MAX_BYTES {
        return Err(wrong(format!(
            "{size_bytes} bytes is too large for a properties file"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    properties::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// Reads a Kafka client's properties file for a link. What means something to clients only is left out and named on standard
/// error.
///
/// # Errors
/// As [`read_file`].
pub fn read_client_file(path: &Path) -> CliResult<BTreeMap<String, String>> {
    let mut configs = read_file(path)?;
    let left_out: Vec<String> = configs
        .keys()
        .filter(|name| is_client_only(name))
        .cloned()
        .collect();
    configs.retain(|name, _| !is_client_only(name));
    if !left_out.is_empty() {
        let (file, names) = (path.display(), left_out.join(", "));
        eprintln!("carrick: {file}: ignored, because a link does not use them: {names}");
    }
    Ok(configs)
}

/// Refuses secrets among configs of the command line: every process of the machine can read that.
///
/// # Errors
/// [`CliError::Usage`] that names the config.
pub fn refuse_secrets(configs: &[(String, String)]) -> CliResult {
    match configs.iter().find(|(name, _)| is_sensitive(name)) {
        None => Ok(()),
        Some((name, _)) => Err(CliError::Usage(format!(
            "{name} is a secret, and other users can read command lines: put it into a file and \
             use --config-file"
        ))),
    }
}

/// Configs in the form that request bodies carry.
pub fn to_body(configs: impl IntoIterator<Item = (String, String)>) -> Vec<ConfigData> {
    let data = |(name, value)| ConfigData {
        name,
        value: Some(value),
    };
    configs.into_iter().map(data).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_contain_an_equals_sign_and_be_empty() {
        let parsed = name_value("sasl.jaas.config=a b=\"c\";");
        assert_eq!(
            parsed,
            Ok(("sasl.jaas.config".to_owned(), "a b=\"c\";".to_owned()))
        );
        assert_eq!(name_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(name_value("a").is_err() && name_value("=a").is_err());
    }

    #[test]
    fn a_missing_file_is_a_usage_error_that_names_it() {
        let error = read_file(Path::new("/nowhere/client.properties")).expect_err("missing");
        assert!(matches!(&error, CliError::Usage(text) if text.contains("/nowhere/client")));
    }

    #[test]
    fn secrets_are_not_taken_from_the_command_line() {
        let config = |name: &str| vec![(name.to_owned(), "open sesame".to_owned())];
        assert!(refuse_secrets(&config("request.timeout.ms")).is_ok());
        for name in ["sasl.jaas.config", "ssl.key.password", "ssl.keystore.key"] {
            let error = refuse_secrets(&config(name))
                .expect_err("a secret")
                .to_string();
            assert!(error.contains(name) && !error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn what_is_for_clients_only_is_left_out_of_a_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("client.properties");
        std::fs::write(&path, "acks=all\nbootstrap.servers=a:1\nno.such=1\n").expect("write");
        let configs = read_client_file(&path).expect("readable");
        assert_eq!(
            configs.keys().collect::<Vec<_>>(),
            ["bootstrap.servers", "no.such"]
        );
    }

    #[test]
    fn a_kafka_client_s_file_is_read() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("client.properties");
        std::fs::write(&path, "# c\nbootstrap.servers = a:1\nclient.id: x\\\n  y\n")
            .expect("write");
        let configs = read_file(&path).expect("readable");
        assert_eq!(configs["bootstrap.servers"], "a:1");
        assert_eq!(configs["client.id"], "xy");
    }
}
