//! Subscriptions by regular expression (`TopicRegexResolver`): resolved here, so that all members
//! with one expression see the same topics.
//!
//! The syntax is that of the `regex` crate, which is RE2's but for a few corners; like RE2's it
//! takes linear time. `\Q…\E` is understood too. An expression must match a topic's whole name.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;
use regex::{Regex, RegexBuilder};

use super::{ConsumerGroup, Env};
use crate::group::error::GroupError;
use crate::group::limits::MAX_REGEX_BYTES;
use crate::group::topics::TopicImage;

/// The topics that match an expression. The compiled expression is not kept: it is large, and only
/// needed when topics come or go.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// The topics.
    pub topics: BTreeSet<TopicName>,
    /// Version of the topics that were looked at.
    version: Option<u64>,
}

/// Checks the syntax.
///
/// # Errors
/// `InvalidRegex`.
pub fn check(pattern: &str) -> Result<(), GroupError> {
    match pattern.is_empty() {
        true => Ok(()),
        false => compile(pattern).map(drop),
    }
}

fn compile(pattern: &str) -> Result<Regex, GroupError> {
    let plain = unquoted(pattern);
    // By itself first: what is only right in between the anchors is not right.
    let whole = build(&plain).and_then(|_| build(&format!("^(?:{plain})$")));
    whole.map_err(|_| GroupError::InvalidRegex)
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build()
}

/// The pattern with the text between `\Q` and `\E` escaped.
fn unquoted(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('Q') => {
                let rest = chars.as_str();
                let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                plain.push_str(&regex::escape(quoted));
                chars = after.chars();
            }
            Some(other) => {
                // Writing to a string does not fail.
                let _ = write!(plain, "\\{other}");
            }
            None => plain.push(c),
        }
    }
    plain
}

impl Subscription {
    fn look_at(&mut self, pattern: &str, topics: &TopicImage) {
        if self.version == Some(topics.version()) {
            return;
        }
        self.version = Some(topics.version());
        match compile(pattern) {
            Ok(regex) => {
                let matching = topics.names().filter(|name| regex.is_match(name.as_str()));
                self.topics = matching.cloned().collect();
            }
            // It was right when it came: another version of the program took it.
            Err(error) => tracing::warn!(pattern, %error, "a stored subscription is ignored"),
        }
    }
}

impl ConsumerGroup {
    /// Takes in what members subscribe with anew, forgets what nobody subscribes with any more, and
    /// looks at the topics if some are not as they were.
    pub(super) fn follow_regexes(&mut self, env: &Env<'_>) {
        let patterns = self.members.values().map(|member| &member.regex);
        let patterns: BTreeSet<&Arc<str>> = patterns.filter(|regex| !regex.is_empty()).collect();
        self.regexes.retain(|pattern, _| patterns.contains(pattern));
        for pattern in patterns {
            let subscription = self.regexes.entry(Arc::clone(pattern)).or_default();
            subscription.look_at(pattern, env.topics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        compile(pattern).unwrap().is_match(name)
    }

    #[test]
    fn an_expression_matches_whole_names() {
        assert!(matches("foo.*", "foobar"));
        assert!(!matches("foo", "foobar"));
        assert!(!matches("bar", "foobar"));
        assert!(matches("a|ab", "ab"));
    }

    #[test]
    fn quoted_text_stands_for_itself() {
        assert!(matches(r"\Qa.b\E-\d+", "a.b-7"));
        assert!(!matches(r"\Qa.b\E-\d+", "axb-7"));
        assert!(matches(r"\Qa.b", "a.b"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for pattern in [
            "[",
            "a)(b",
            "*",
            r"a\",
            "(?=x)",
            r"\1",
            "a{1000}{1000}{1000}",
        ] {
            assert_eq!(check(pattern), Err(GroupError::InvalidRegex), "{pattern}");
        }
    }
}
