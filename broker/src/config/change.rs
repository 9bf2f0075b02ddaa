//! Changes of a topic's, a broker's or a group's own configs: one config at a time (KIP-339;
//! `ConfigurationControlManager.incrementalAlterConfigResource` in Kafka), or all together.

use std::collections::BTreeMap;

use super::def::list;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    pub name: String,
    /// What is done to it.
    pub operation: Operation,
}

/// What one resource of a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These configs and no others are set from now on.
    Replace(BTreeMap<String, String>),
    /// Single configs change.
    Each(Vec<ConfigChange>),
}

/// Why a change cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Words are added to or taken from what is no list.
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NoList {
        /// What was asked.
        operation: &'static str,
        name: String,
    },
    /// A value that could not be stored.
    #[error("The value of {name} has {bytes} bytes, more than {CONFIG_VALUE_MAX_BYTES}.")]
    TooLong { name: String, bytes: usize },
}

impl Change {
    /// Applies the change to the current values. Names and values are not checked here. `words_of`
    /// returns the default of a config that is a list, and `None` for any other.
    ///
    /// # Errors
    /// Words for what is no list, or a value that grew too long.
    pub fn apply(
        self,
        set: &mut BTreeMap<String, String>,
        words_of: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ChangeError> {
        match self {
            Change::Each(changes) => apply(set, changes, words_of),
            Change::Replace(all) => {
                for (name, value) in &all {
                    check_length(name, value)?;
                }
                *set = all;
                Ok(())
            }
        }
    }
}

fn apply(
    overrides: &mut BTreeMap<String, String>,
    changes: Vec<ConfigChange>,
    words_of: impl Fn(&str) -> Option<String>,
) -> Result<(), ChangeError> {
    for ConfigChange { name, operation } in changes {
        let value = match operation {
            Operation::Delete => {
                overrides.remove(&name);
                continue;
            }
            Operation::Set(value) => value,
            Operation::Append(added) => {
                let mut words = words(overrides, &name, &words_of, "APPEND")?;
                for word in list(&added) {
                    if !words.iter().any(|known| known == word) {
                        words.push(word.to_owned());
                    }
                }
                words.join(",")
            }
            Operation::Subtract(removed) => {
                let mut words = words(overrides, &name, &words_of, "SUBTRACT")?;
                words.retain(|word| list(&removed).all(|gone| gone != word));
                words.join(",")
            }
        };
        check_length(&name, &value)?;
        overrides.insert(name, value);
    }
    Ok(())
}

fn check_length(name: &str, value: &str) -> Result<(), ChangeError> {
    if value.len() <= CONFIG_VALUE_MAX_BYTES {
        return Ok(());
    }
    Err(ChangeError::TooLong {
        name: name.to_owned(),
        bytes: value.len(),
    })
}

/// The words of a list config: what is set, or else the default's.
fn words(
    set: &BTreeMap<String, String>,
    name: &str,
    words_of: impl Fn(&str) -> Option<String>,
    operation: &'static str,
) -> Result<Vec<String>, ChangeError> {
    let default = words_of(name).ok_or_else(|| ChangeError::NoList {
        operation,
        name: name.to_owned(),
    })?;
    let value = set.get(name).unwrap_or(&default);
    Ok(list(value).map(str::to_owned).collect())
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
        let policy = |name: &str| (name == "cleanup.policy").then(|| "delete".to_owned());
        let change = ConfigChange {
            name: name.to_owned(),
            operation,
        };
        apply(&mut own, vec![change], policy).map_err(|error| error.to_string())?;
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
