//! Subscriptions by regular expression (`maybeUpdateRegularExpressions`,
//! `handleRegularExpressionsResult`).
//!
//! Other threads find out which topics match ([`crate::group::topic_patterns`]). The result comes
//! in as a separate event, and members get the topics with a later heartbeat. Until then an
//! expression has its previous topics, at first none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use super::weight::subscription_bytes;
use super::{ConsumerGroup, Env};
use crate::group::topic_patterns::{Matching, MaySee, Resolved};
use crate::topic::TopicImage;

/// Pause before the topics are matched again (`REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`), so that many
/// new topics cost one pass. New expressions do not wait for it.
const REFRESH_MIN_INTERVAL_MS: i64 = 10_000;

/// What is known of one expression.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// How many members subscribe with it; never 0.
    members: usize,
    /// The topics that match.
    pub topics: Matching,
    /// Version of the topics that were last matched; `None` before the first time.
    version: Option<u64>,
    /// The last match took too long.
    is_too_slow: bool,
}

/// All expressions of a group.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_text: HashMap<Arc<str>, Subscription>,
    /// How many have never been matched.
    unresolved: usize,
    held_bytes: usize,
    /// A match is in progress.
    is_resolving: bool,
    /// When the last one has ended, in ms of the monotonic clock.
    resolved_ms: Option<i64>,
}

impl Subscriptions {
    pub fn get(&self, text: &str) -> Option<&Subscription> {
        self.by_text.get(text)
    }

    /// Whether the topics that match are known.
    pub fn is_resolved(&self, text: &str) -> bool {
        self.get(text).is_some_and(|known| known.version.is_some())
    }

    /// Whether a match took too long.
    pub fn is_too_slow(&self, text: &str) -> bool {
        self.get(text).is_some_and(|known| known.is_too_slow)
    }

    /// Whether some expression matches the topic.
    pub fn contains(&self, topic: &str) -> bool {
        let mut all = self.by_text.values();
        all.any(|known| known.topics.contains(topic))
    }

    /// All topics that match some expression.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.by_text.values().flat_map(|known| &*known.topics)
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// A member more subscribes with it.
    pub fn add(&mut self, text: &Arc<str>) {
        if text.is_empty() {
            return;
        }
        let known = self.by_text.entry(Arc::clone(text)).or_default();
        if known.members == 0 {
            self.unresolved += 1;
            self.held_bytes += subscription_bytes(text, 0);
        }
        known.members += 1;
    }

    /// One member less subscribes with it; after the last, it is removed.
    pub fn remove(&mut self, text: &str) {
        let Some(known) = self.by_text.get_mut(text) else {
            return;
        };
        known.members -= 1;
        if known.members > 0 {
            return;
        }
        self.held_bytes -= subscription_bytes(text, known.topics.len());
        self.unresolved -= usize::from(known.version.is_none());
        self.by_text.remove(text);
    }

    /// The expressions to match now, new ones first; none while a match is in progress. Old results
    /// are found again, because ACLs may have changed.
    fn due(&self, env: &Env<'_>, refresh_ms: i64) -> Vec<Arc<str>> {
        let version = Some(env.topics.version());
        let is_fresh = self.resolved_ms.is_some_and(|resolved_ms| {
            env.now.tick_ms < resolved_ms.saturating_add(REFRESH_MIN_INTERVAL_MS)
        });
        if self.is_resolving || self.by_text.is_empty() || (is_fresh && self.unresolved == 0) {
            return Vec::new();
        }
        let is_old = self
            .resolved_ms
            .is_none_or(|resolved_ms| env.now.tick_ms > resolved_ms.saturating_add(refresh_ms));
        let is_due = |known: &Subscription| {
            known.version.is_none() || (!is_fresh && (is_old || known.version != version))
        };
        let due = self.by_text.iter().filter(|(_, known)| is_due(known));
        let mut due: Vec<_> = due
            .map(|(text, known)| (known.version.is_some(), text))
            .collect();
        due.sort();
        due.into_iter().map(|(_, text)| Arc::clone(text)).collect()
    }

    /// Takes in what came of one; true if other topics match than before.
    fn take(&mut self, text: &str, resolved: Resolved) -> bool {
        let Some(known) = self.by_text.get_mut(text) else {
            return false;
        };
        self.unresolved -= usize::from(known.version.is_none());
        known.version = Some(resolved.version);
        let was_too_slow = std::mem::replace(&mut known.is_too_slow, resolved.topics.is_none());
        let Some(topics) = resolved.topics else {
            if !was_too_slow {
                tracing::warn!(
                    pattern = text,
                    "a subscription takes too long to match: it keeps its previous topics"
                );
            }
            return false;
        };
        self.held_bytes -= subscription_bytes(text, known.topics.len());
        self.held_bytes += subscription_bytes(text, topics.len());
        let differs = known.topics != topics;
        known.topics = topics;
        differs
    }
}

impl ConsumerGroup {
    /// The expressions whose topics must be found now; [`Self::resolved`] must follow.
    pub fn begin_resolving(&mut self, env: &Env<'_>) -> Option<Vec<Arc<str>>> {
        let due = self.regexes.due(env, self.config.consumer.regex_refresh_ms);
        if due.is_empty() {
            return None;
        }
        self.regexes.is_resolving = true;
        Some(due)
    }

    /// Their results; nothing, if there are none for now. If the topics changed, the group's epoch
    /// rises.
    pub fn resolved(&mut self, resolved: Vec<(Arc<str>, Resolved)>, env: &Env<'_>) {
        self.regexes.is_resolving = false;
        if resolved.is_empty() {
            return;
        }
        self.regexes.resolved_ms = Some(env.now.tick_ms);
        let mut changed = false;
        for (text, resolved) in resolved {
            changed |= self.regexes.take(&text, resolved);
        }
        if changed {
            self.refresh_epoch(true, env);
        }
    }

    /// The same for a group that is loaded: what matches now and is in the target assignment has matched
    /// before. (Members may not have been allowed to see the rest.) The next heartbeat of a member finds
    /// out more.
    pub(super) fn restore_resolved(
        &mut self,
        resolved: Vec<(Arc<str>, Resolved)>,
        topics: &TopicImage,
    ) {
        let targets = self.targets.values().flat_map(|target| target.keys());
        let had: HashSet<TopicName> = targets.filter_map(|id| topics.name(*id).cloned()).collect();
        let had = MaySee::new(move |name| had.contains(name));
        for (text, resolved) in had.filter(resolved) {
            self.regexes.take(&text, resolved);
        }
    }

    /// All expressions that members subscribe with.
    pub(super) fn patterns(&self) -> Vec<Arc<str>> {
        self.regexes.by_text.keys().cloned().collect()
    }
}
