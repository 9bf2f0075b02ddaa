//! What groups work with: settings, the clock, the journal, memory, timers, topics. It contains no
//! group.

use std::sync::Arc;

use carrick_protocol::ids::GroupId;
use tokio::runtime::Handle;

use super::classic::{ClassicGroup, Now};
use super::clock::Clock;
use super::config::{GroupConfig, Settings};
use super::consumer::Env;
use super::error::GroupError;
use super::overrides::GroupConfigs;
use super::topic_patterns::TopicPatterns;
use super::topics::TopicIds;
use super::wake::Wakeups;
use crate::budget::Budget;
use crate::coordination;
use crate::heavy::Heavy;
use crate::journal::Journal;
use crate::topic::TopicImage;

pub(super) struct Services {
    pub config: Arc<GroupConfig>,
    pub clock: Clock,
    pub journal: Journal,
    pub budget: Budget,
    pub wakeups: Arc<Wakeups>,
    pub topics: Arc<dyn TopicIds>,
    /// What is set for single groups.
    pub configs: GroupConfigs,
    /// Regular expressions that groups subscribe with.
    pub patterns: Arc<TopicPatterns>,
    /// For work that takes long.
    pub heavy: Heavy,
    pub runtime: Handle,
}

impl coordination::Services for Services {
    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Services {
    /// A group of the classic protocol without members: every group begins as one.
    pub fn empty_group(&self) -> ClassicGroup {
        ClassicGroup::new(Arc::clone(&self.config), self.clock.now())
    }

    /// The world as it is for a group. No group's lock is needed, and none is in the way.
    pub fn world(&self, group: &GroupId) -> World {
        World {
            now: self.clock.now(),
            topics: self.topics.image(),
            settings: self.configs.settings(group),
        }
    }

    /// Checks an expression that a member on this host brings.
    ///
    /// # Errors
    /// `InvalidRegex`, `Busy`.
    pub async fn check_pattern(&self, host: &Arc<str>, text: Arc<str>) -> Result<(), GroupError> {
        let patterns = Arc::clone(&self.patterns);
        let checked = self.heavy.run(host, move |_| patterns.check(&text));
        checked.await.map_err(|_| GroupError::Busy)?
    }
}

/// What one event of a consumer group may know of the world.
pub(super) struct World {
    now: Now,
    topics: Arc<TopicImage>,
    settings: Settings,
}

impl World {
    pub fn env(&self) -> Env<'_> {
        Env {
            now: self.now,
            topics: &self.topics,
            settings: self.settings,
        }
    }

    pub fn topics(&self) -> Arc<TopicImage> {
        Arc::clone(&self.topics)
    }
}
