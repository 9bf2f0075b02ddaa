//! Fakes of every port and of the source, and the contract suites that real adapters must pass.
//!
//! The fakes keep everything in memory and can be told to misbehave. They are for tests: what would
//! be an error elsewhere is a panic here.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should say so at once"
)]

pub mod batches;
pub mod contract;
pub mod here;
pub mod source;

use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use crate::config::LinkConfig;
use crate::ports::{Clock, Patterns, Ports, SourceConnector};
use crate::record::LinkName;
use crate::source::{BoxFuture, SourceCluster};

/// The clock of tokio's runtime, which a test may pause and move. It begins at 1,700,000,000,000
/// ms.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeClock {
    began: tokio::time::Instant,
    began_ms: i64,
}

impl RuntimeClock {
    /// Begins now.
    pub fn new() -> Self {
        Self::at(1_700_000_000_000)
    }

    /// Begins at that time, milliseconds since the epoch.
    pub fn at(began_ms: i64) -> Self {
        Self {
            began: tokio::time::Instant::now(),
            began_ms,
        }
    }
}

impl Default for RuntimeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RuntimeClock {
    fn now_ms(&self) -> i64 {
        self.began_ms + i64::try_from(self.began.elapsed().as_millis()).unwrap()
    }
}

/// Connects every link to the same fake source.
#[derive(Clone)]
pub struct OneSource(pub source::FakeSource);

impl SourceConnector for OneSource {
    fn connect(&self, _link: &LinkName, config: &LinkConfig) -> Arc<dyn SourceCluster> {
        self.0.connected(config);
        Arc::new(self.0.clone())
    }
}

/// Expressions that are matched where they are asked for.
struct PlainPatterns;

impl Patterns for PlainPatterns {
    fn matching(
        &self,
        pattern: &str,
        mut names: Vec<TopicName>,
    ) -> BoxFuture<'static, Result<Vec<TopicName>, String>> {
        let regex = regex::Regex::new(&format!("^(?:{pattern})$"));
        Box::pin(async move {
            let regex = regex.map_err(|error| error.to_string())?;
            names.retain(|name| regex.is_match(name.as_str()));
            Ok(names)
        })
    }
}

/// Ports that lead to these fakes.
pub fn ports(here: &here::FakeHere, source: &source::FakeSource) -> Ports {
    let here = Arc::new(here.clone());
    Ports {
        target: here.clone(),
        local: here.clone(),
        catalog: here.clone(),
        groups: here.clone(),
        acls: here.clone(),
        store: here,
        patterns: Arc::new(PlainPatterns),
        clock: Arc::new(RuntimeClock::new()),
        sources: Arc::new(OneSource(source.clone())),
    }
}
