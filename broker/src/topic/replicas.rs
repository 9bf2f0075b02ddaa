//! How many replicas a partition has: one, because there is one broker.
//!
//! By default (`replication.factor.clamp`) a topic that asks for more gets one replica, so that an
//! application written for a larger cluster works here after a failover; descriptions always show
//! the truth. Otherwise the topic is refused, as by Kafka.

use super::TopicError;
use crate::config::Values;

/// Replicas of every partition.
pub const REPLICAS: i16 = 1;

/// What happens to requested replication factors.
#[derive(Debug, Clone, Copy)]
pub struct Replication {
    clamps: bool,
    default_factor: i32,
}

/// How many replicas were requested, if that is more than there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "logged for the operator once the topic exists"]
pub struct Shortfall(Option<i32>);

impl Replication {
    /// As the broker's properties say.
    pub fn of(values: &Values) -> Self {
        Self {
            clamps: values.boolean("replication.factor.clamp"),
            default_factor: values.int("default.replication.factor").max(1),
        }
    }

    /// Whether a larger factor is treated as one.
    pub fn clamps(self) -> bool {
        self.clamps
    }

    /// Checks a requested replication factor; -1 is the broker's default.
    ///
    /// # Errors
    /// `ReplicationFactor`.
    pub fn check(self, asked: i32) -> Result<Shortfall, TopicError> {
        let factor = match asked {
            -1 => self.default_factor,
            asked => asked,
        };
        let one = i32::from(REPLICAS);
        if factor <= 0 {
            return Err(TopicError::ReplicationFactor(
                "Replication factor must be larger than 0, or -1 to use the default value."
                    .to_owned(),
            ));
        }
        if factor > one && !self.clamps {
            return Err(TopicError::ReplicationFactor(format!(
                "Unable to replicate the partition {factor} time(s): The target replication \
                 factor of {factor} cannot be reached because only 1 broker(s) are registered. \
                 With replication.factor.clamp the topic gets 1 replica."
            )));
        }
        Ok(Shortfall((factor > one).then_some(factor)))
    }
}

impl Shortfall {
    /// `factor` were requested.
    pub fn of(factor: usize) -> Self {
        let factor = i32::try_from(factor).unwrap_or(i32::MAX);
        Self((factor > i32::from(REPLICAS)).then_some(factor))
    }

    /// Logs it for the operator, now that the topic exists.
    pub fn log(self, topic: &str) {
        if let Some(asked_for) = self.0 {
            tracing::info!(
                topic,
                asked_for,
                replicas = REPLICAS,
                "fewer replicas than requested: there is one broker (replication.factor.clamp)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    #[test]
    fn more_than_one_replica_is_one_or_an_error() {
        let of = |set: &[(&str, &str)]| Replication::of(&Values::new(map(set)).unwrap());
        let strict = ("replication.factor.clamp", "false");
        let three = ("default.replication.factor", "3");
        let some = |factor| Some(Shortfall(factor));
        for (set, asked, expected) in [
            (&[][..], 1, some(None)),
            (&[], -1, some(None)),
            (&[], 3, some(Some(3))),
            (&[], 0, None),
            (&[], -2, None),
            (&[three], -1, some(Some(3))),
            (&[strict], 1, some(None)),
            (&[strict], -1, some(None)),
            (&[strict], 3, None),
            (&[strict, three], -1, None),
        ] {
            assert_eq!(of(set).check(asked).ok(), expected, "{set:?} {asked}");
        }
    }
}
