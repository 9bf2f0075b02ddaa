//! Regular expressions of operators, matched with the names of topics away from all other work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use carrick_link::ports::Patterns;
use carrick_protocol::ids::TopicName;

use crate::heavy::{Busy, Heavy, OverBudget, TimeBudget};
use crate::pattern::Pattern;

pub struct NamePatterns {
    heavy: Heavy,
    /// The host on whose behalf the work is done: no client of Kafka's protocol has it.
    host: Arc<str>,
}

impl NamePatterns {
    /// The port, whose work is done there.
    pub fn new(heavy: Heavy) -> Self {
        Self {
            heavy,
            host: "operators".into(),
        }
    }
}

impl Patterns for NamePatterns {
    fn matching(
        &self,
        pattern: &str,
        names: Vec<TopicName>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<TopicName>, String>> + Send>> {
        let (heavy, host) = (self.heavy.clone(), Arc::clone(&self.host));
        let pattern = pattern.to_owned();
        Box::pin(async move {
            let work = move |budget| matching(&pattern, names, budget);
            let found = heavy.run(&host, work).await;
            found.unwrap_or_else(|error: Busy| Err(error.to_string()))
        })
    }
}

fn matching(
    pattern: &str,
    names: Vec<TopicName>,
    budget: TimeBudget,
) -> Result<Vec<TopicName>, String> {
    let pattern = Pattern::compile(pattern).map_err(|error| error.to_string())?;
    let mut matching = Vec::new();
    for name in names {
        budget
            .check()
            .map_err(|error: OverBudget| error.to_string())?;
        if pattern.matches(name.as_str()) {
            matching.push(name);
        }
    }
    Ok(matching)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::LIMIT;

    fn names(names: &[&str]) -> Vec<TopicName> {
        let names = names.iter().map(|name| TopicName::new(*name).unwrap());
        names.collect()
    }

    #[tokio::test]
    async fn whole_names_match_in_their_order_and_refusals_say_why() {
        let patterns = NamePatterns::new(Heavy::new(1, 2));
        let all = names(&["eu-b", "us-a", "eu-a", "x-eu-a"]);
        let found = patterns.matching("eu-.*", all.clone()).await;
        assert_eq!(found, Ok(names(&["eu-b", "eu-a"])));
        let wrong = patterns.matching("(", all.clone()).await.unwrap_err();
        assert!(wrong.contains("unclosed group"), "{wrong}");
        let over = matching("eu-.*", all, TimeBudget::of(Duration::ZERO));
        assert_eq!(over, Err("it takes too long".to_owned()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn operators_wait_for_others_at_most_as_long_as_one_piece_of_work() {
        let heavy = Heavy::new(1, 2);
        let (release, released) = crossbeam::channel::bounded::<()>(0);
        let (start, started) = tokio::sync::oneshot::channel();
        let client = tokio::spawn({
            let heavy = heavy.clone();
            let work = move |_: TimeBudget| {
                start.send(()).unwrap();
                released.recv_timeout(LIMIT)
            };
            async move { heavy.run(&"/10.0.0.1".into(), work).await }
        });
        started.await.unwrap();
        let refused = heavy.run(&"/10.0.0.1".into(), |_| ()).await;
        assert_eq!(refused, Err(Busy));
        let patterns = NamePatterns::new(heavy);
        let found = tokio::spawn(patterns.matching("a", names(&["a"])));
        release.send_timeout((), LIMIT).unwrap();
        assert_eq!(found.await.unwrap(), Ok(names(&["a"])));
        assert!(client.await.unwrap().is_ok());
    }
}
