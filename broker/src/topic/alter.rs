//! Changes of a topic's overrides, one config at a time (KIP-339;
//! `ConfigurationControlManager.incrementalAlterConfigResource` in Kafka).

use std::collections::BTreeMap;

use super::TopicError;
use super::config::{default_value, definition};
use crate::config::def::list;
use crate::config::{Kind, Values};

/// Longest value of a config, in bytes; Kafka's limit.
pub const CONFIG_VALUE_MAX_BYTES: usize = i16::MAX as usize;

/// What is done to one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Delete,
    /// These words are added to its list, unless they are there.
    Append(String),
    /// These words are taken out of its list.
    Subtract(String),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// The config.
    pub name: String,
    /// What is done to it.
    pub operation: Operation,
}

/// Applies changes to overrides. Names and values are not checked here: the catalog does.
///
/// # Errors
/// `InvalidConfig`: words added to what is no list, or a value that grew too long.
pub fn apply(
    overrides: &mut BTreeMap<String, String>,
    changes: Vec<ConfigChange>,
    broker: &Values,
) -> Result<(), TopicError> {
    for ConfigChange { name, operation } in changes {
        let value = match operation {
            Operation::Delete => {
                overrides.remove(&name);
                continue;
            }
            Operation::Set(value) => value,
            Operation::Append(added) => {
                let mut words = words(overrides, &name, broker, "APPEND")?;
                for word in list(&added) {
                    if !words.iter().any(|known| known == word) {
                        words.push(word.to_owned());
                    }
                }
                words.join(",")
            }
            Operation::Subtract(removed) => {
                let mut words = words(overrides, &name, broker, "SUBTRACT")?;
                words.retain(|word| list(&removed).all(|gone| gone != word));
                words.join(",")
            }
        };
        check_length(&name, &value)?;
        overrides.insert(name, value);
    }
    Ok(())
}

/// Checks that no value is too long to be stored.
///
/// # Errors
/// `InvalidConfig`.
pub fn check_length(name: &str, value: &str) -> Result<(), TopicError> {
    if value.len() <= CONFIG_VALUE_MAX_BYTES {
        return Ok(());
    }
    Err(TopicError::InvalidConfig(format!(
        "The value of {name} has {} bytes, more than {CONFIG_VALUE_MAX_BYTES}.",
        value.len()
    )))
}

/// The words of a list config: the topic's own, or else the default's.
fn words(
    overrides: &BTreeMap<String, String>,
    name: &str,
    broker: &Values,
    operation: &str,
) -> Result<Vec<String>, TopicError> {
    let Some(known) = definition(name).filter(|known| known.def.kind == Kind::List) else {
        return Err(TopicError::InvalidConfig(format!(
            "Can't {operation} to key {name} because its type is not LIST."
        )));
    };
    let value = overrides
        .get(name)
        .cloned()
        .or_else(|| default_value(known, broker));
    Ok(list(&value.unwrap_or_default())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_one(
        own: &[(&str, &str)],
        name: &str,
        operation: Operation,
    ) -> Result<Option<String>, String> {
        let own = own
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut own: BTreeMap<_, _> = own.collect();
        let broker = Values::new(BTreeMap::new()).unwrap();
        let change = ConfigChange {
            name: name.to_owned(),
            operation,
        };
        apply(&mut own, vec![change], &broker).map_err(|error| error.to_string())?;
        Ok(own.remove(name))
    }

    #[test]
    fn words_are_appended_to_the_default_when_nothing_is_set() {
        let append = || Operation::Append("compact".to_owned());
        let policy = "cleanup.policy";
        assert_eq!(
            apply_one(&[], policy, append()),
            Ok(Some("delete,compact".to_owned()))
        );
        let own = [(policy, "compact")];
        assert_eq!(
            apply_one(&own, policy, append()),
            Ok(Some("compact".to_owned()))
        );
    }

    #[test]
    fn words_are_taken_out() {
        let own = [("cleanup.policy", "compact,delete")];
        let subtract = Operation::Subtract("delete".to_owned());
        assert_eq!(
            apply_one(&own, "cleanup.policy", subtract),
            Ok(Some("compact".to_owned()))
        );
    }

    #[test]
    fn only_lists_have_words() {
        let append = || Operation::Append("1".to_owned());
        assert!(
            apply_one(&[], "retention.ms", append())
                .unwrap_err()
                .contains("not LIST")
        );
        assert!(
            apply_one(&[], "no.such.config", append())
                .unwrap_err()
                .contains("not LIST")
        );
    }

    #[test]
    fn deleting_what_is_not_set_does_nothing() {
        assert_eq!(apply_one(&[], "retention.ms", Operation::Delete), Ok(None));
        let own = [("retention.ms", "5")];
        assert_eq!(apply_one(&own, "retention.ms", Operation::Delete), Ok(None));
    }

    #[test]
    fn values_past_the_limit_are_refused() {
        let long = Operation::Set("x".repeat(CONFIG_VALUE_MAX_BYTES + 1));
        assert!(
            apply_one(&[], "cleanup.policy", long)
                .unwrap_err()
                .contains("32767")
        );
    }
}
