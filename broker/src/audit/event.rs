//! One event, and its line.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::principal::Principal;

/// The longest name and detail that a line has, in bytes: clients write them.
const NAME_MAX_BYTES: usize = 512;
const DETAIL_MAX_BYTES: usize = 2_048;

/// What an event takes besides its texts.
const FIXED_BYTES: usize = 256;

/// Over which protocol a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    Kafka,
    Rest,
}

/// What a request is about: a kind in lower case (`topic`, `link`), and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub kind: &'static str,
    pub name: String,
}

impl Target {
    pub fn new(kind: &'static str, name: &str) -> Self {
        Self {
            kind,
            name: cut(name, NAME_MAX_BYTES).into_owned(),
        }
    }
}

/// How a request ended for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It was allowed and failed: Kafka's name of the error, or the code of REST.
    Failed(String),
    /// It was not allowed: which operation was missing, in Kafka's words.
    Denied(&'static str),
    /// Its credentials were not accepted: why, without the credentials.
    NotAuthenticated(&'static str),
}

impl Outcome {
    /// Whether clients decide how many of these there are.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::NotAuthenticated(_))
    }
}

/// Who did what to which target, from where, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub who: Principal,
    pub from: IpAddr,
    pub via: Via,
    /// The API's or the route's name, such as `CreateTopics` or `PromoteMirrors`.
    pub action: &'static str,
    /// `None` for a request that is about nothing by name.
    pub target: Option<Target>,
    /// What else is to be said, such as the names of changed configs. Never a value of a config.
    pub detail: String,
    /// Nothing was to be changed.
    pub is_dry_run: bool,
    pub outcome: Outcome,
}

/// An event as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    who: String,
    from: IpAddr,
    via: Via,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    dry_run: bool,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Event {
    /// What it takes while it waits.
    pub(super) fn size_bytes(&self) -> usize {
        let name = self.target.as_ref().map_or(0, |target| target.name.len());
        FIXED_BYTES + name + self.detail.len()
    }

    /// Shortens what clients wrote.
    pub(super) fn bounded(mut self) -> Self {
        if let Cow::Owned(short) = cut(&self.detail, DETAIL_MAX_BYTES) {
            self.detail = short;
        }
        self
    }

    /// Its line, with the line's end.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let (outcome, operation, error) = match &self.outcome {
            Outcome::Done => ("done", None, None),
            Outcome::Failed(error) => ("failed", None, Some(error.as_str())),
            Outcome::Denied(operation) => ("denied", Some(*operation), None),
            Outcome::NotAuthenticated(why) => ("not_authenticated", None, Some(*why)),
        };
        json(&Line {
            time: written(now),
            who: self.who.to_string(),
            from: self.from.to_canonical(),
            via: self.via,
            action: self.action,
            resource_type: self.target.as_ref().map(|target| target.kind),
            resource: self.target.as_ref().map(|target| target.name.as_str()),
            detail: &self.detail,
            dry_run: self.is_dry_run,
            outcome,
            operation,
            error,
        })
    }
}

/// The line that says how many events are not in the log.
pub(super) fn left_out_line(now: Timestamp, counts: &[(&'static str, u64)]) -> String {
    let counts: std::collections::BTreeMap<_, _> = counts.iter().copied().collect();
    json(&serde_json::json!({"time": written(now), "left_out": counts}))
}

fn json(line: &impl Serialize) -> String {
    // Nothing in it can fail to be JSON.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// RFC 3339 in UTC, with milliseconds.
fn written(now: Timestamp) -> String {
    format!("{now:.3}")
}

/// At most `max_bytes` of a text, with a mark where it was cut.
fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let end = (0..=max_bytes)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default();
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc…");
        assert_eq!(cut("aéé", 2), "a…");
        assert!(Target::new("topic", &"é".repeat(9_999)).name.len() <= NAME_MAX_BYTES + 3);
    }
}
