//! Which topics match the regular expressions that groups subscribe with (`TopicRegexResolver`):
//! found once for all groups that share one, and for all their members.
//!
//! Call it on [`crate::heavy`]'s threads only, except for results that are known already.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use carrick_protocol::ids::TopicName;
use parking_lot::Mutex;

use super::error::GroupError;
use crate::heavy::TimeBudget;
use crate::pattern::Pattern;
use crate::topic::TopicImage;

/// Expressions that are remembered.
const REMEMBERED: usize = 512;

/// Which topics a client may see; by default all.
#[derive(Clone, Default)]
pub struct MaySee(Option<Arc<Sees>>);

type Sees = dyn Fn(&str) -> bool + Send + Sync;

impl MaySee {
    /// Those whose names `may_see` accepts.
    pub fn new(may_see: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(may_see)))
    }

    /// The results without the topics that the client may not see.
    pub fn filter(&self, mut all: Vec<(Arc<str>, Resolved)>) -> Vec<(Arc<str>, Resolved)> {
        let Some(sees) = &self.0 else {
            return all;
        };
        let found = all.iter_mut().filter_map(|(_, it)| it.topics.as_mut());
        for topics in found {
            let sees_all = topics.iter().all(|name| sees(name.as_str()));
            if !sees_all {
                let seen = topics.iter().filter(|name| sees(name.as_str()));
                *topics = Arc::new(seen.cloned().collect());
            }
        }
        all
    }
}

impl std::fmt::Debug for MaySee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaySee").finish_non_exhaustive()
    }
}

/// The topics that match an expression.
pub type Matching = Arc<BTreeSet<TopicName>>;

/// The result of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Version of the topics that were matched.
    pub version: u64,
    /// Those that match; `None` if it takes too long to find out.
    pub topics: Option<Matching>,
}

/// The same, as long as some group has it.
#[derive(Clone, Debug)]
struct Found {
    version: u64,
    topics: Option<Weak<BTreeSet<TopicName>>>,
}

impl Found {
    fn of(resolved: &Resolved) -> Self {
        Self {
            version: resolved.version,
            topics: resolved.topics.as_ref().map(Arc::downgrade),
        }
    }

    fn get(&self, version: u64) -> Option<Resolved> {
        let topics = match &self.topics {
            Some(topics) => Some(topics.upgrade()?),
            None => None,
        };
        (self.version == version).then_some(Resolved { version, topics })
    }
}

/// The expressions of all groups.
#[derive(Debug, Default)]
pub struct TopicPatterns {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Right ones, with what is known of the topics that match.
    by_text: HashMap<Arc<str>, Option<Found>>,
    /// Oldest first.
    order: VecDeque<Arc<str>>,
}

impl Known {
    fn put(&mut self, text: &Arc<str>, found: Option<Found>) {
        if let Some(known) = self.by_text.get_mut(text) {
            *known = found.or_else(|| known.take());
            return;
        }
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_text.remove(&oldest);
        }
        self.order.push_back(Arc::clone(text));
        self.by_text.insert(Arc::clone(text), found);
    }
}

impl TopicPatterns {
    /// Whether the expression is known to be right.
    pub fn knows(&self, text: &str) -> bool {
        text.is_empty() || self.known.lock().by_text.contains_key(text)
    }

    /// Checks an expression.
    ///
    /// # Errors
    /// `InvalidRegex`.
    pub fn check(&self, text: &Arc<str>) -> Result<(), GroupError> {
        if !self.knows(text) {
            Pattern::compile(text).map_err(|_| GroupError::InvalidRegex)?;
            self.known.lock().put(text, None);
        }
        Ok(())
    }

    /// The result of each expression, in order, as far as time allows: the first one may use all the
    /// time, and is too slow if that is not enough.
    pub fn resolve(
        &self,
        texts: &[Arc<str>],
        topics: &TopicImage,
        budget: TimeBudget,
    ) -> Vec<(Arc<str>, Resolved)> {
        let version = topics.version();
        let mut resolved = Vec::with_capacity(texts.len());
        for text in texts {
            let known = self.known.lock().by_text.get(text).cloned().flatten();
            let found = match known.and_then(|known| known.get(version)) {
                Some(known) => known,
                None => match matching(text, topics, budget) {
                    Some(topics) => Resolved {
                        version,
                        topics: Some(topics),
                    },
                    None if resolved.is_empty() => Resolved {
                        version,
                        topics: None,
                    },
                    None => break,
                },
            };
            self.known.lock().put(text, Some(Found::of(&found)));
            resolved.push((Arc::clone(text), found));
        }
        resolved
    }
}

/// The topics that match; `None` if time runs out first.
fn matching(text: &str, topics: &TopicImage, budget: TimeBudget) -> Option<Matching> {
    let pattern = match Pattern::compile(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            // It was right when it came: another version of the program took it.
            tracing::warn!(pattern = text, %error, "a stored subscription is ignored");
            return Some(Matching::default());
        }
    };
    let mut matching = BTreeSet::new();
    for name in topics.names() {
        budget.check().ok()?;
        if pattern.matches(name.as_str()) {
            matching.insert(name.clone());
        }
    }
    Some(Arc::new(matching))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use carrick_protocol::ids::TopicId;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn image(version: u64, names: &[&str]) -> TopicImage {
        let topics = names.iter();
        let topics = topics.map(|name| (TopicName::new(*name).unwrap(), TopicId::random(), 1));
        TopicImage::new(version, topics)
    }

    fn texts(all: &[&str]) -> Vec<Arc<str>> {
        all.iter().map(|text| Arc::from(*text)).collect()
    }

    fn names(resolved: &Resolved) -> Vec<&str> {
        let topics = resolved.topics.as_ref().unwrap();
        topics.iter().map(|name| name.as_str()).collect()
    }

    #[test]
    fn an_expression_is_resolved_once_for_all_who_share_it() {
        let patterns = TopicPatterns::default();
        let (all, topics) = (texts(&["fo+", "b.*"]), image(1, &["foo", "bar", "baz"]));
        let first = patterns.resolve(&all, &topics, TimeBudget::of(LONG));
        assert_eq!(names(&first[0].1), ["foo"]);
        assert_eq!(names(&first[1].1), ["bar", "baz"]);
        // What is known takes no time.
        let again = patterns.resolve(&all, &topics, TimeBudget::of(Duration::ZERO));
        let same = |at: usize| {
            let topics = |of: &[(Arc<str>, Resolved)]| of[at].1.topics.clone().unwrap();
            Arc::ptr_eq(&topics(&first), &topics(&again))
        };
        assert!(same(0) && same(1));
        let more = image(2, &["foo", "fooo"]);
        let later = patterns.resolve(&all, &more, TimeBudget::of(LONG));
        assert_eq!(names(&later[0].1), ["foo", "fooo"]);
        assert!(names(&later[1].1).is_empty());
    }

    #[test]
    fn a_slow_expression_is_told_apart_from_one_that_came_too_late() {
        let patterns = TopicPatterns::default();
        let topics = image(1, &["foo"]);
        let none = TimeBudget::of(Duration::ZERO);
        let resolved = patterns.resolve(&texts(&["slow", "late"]), &topics, none);
        assert_eq!(resolved.len(), 1);
        assert_eq!(resolved[0].1.topics, None);
        let resolved = patterns.resolve(&texts(&["late"]), &topics, TimeBudget::of(LONG));
        assert!(resolved[0].1.topics.is_some());
    }

    #[test]
    fn right_ones_are_remembered_and_not_without_end() {
        let patterns = TopicPatterns::default();
        assert_eq!(patterns.check(&"[".into()), Err(GroupError::InvalidRegex));
        assert!(!patterns.knows("[") && patterns.knows(""));
        for number in 0..=REMEMBERED {
            patterns.check(&format!("a{number}").into()).unwrap();
        }
        assert!(!patterns.knows("a0") && patterns.knows("a1"));
    }
}
