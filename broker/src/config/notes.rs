//! What to set instead of a property that has no effect here, where clients would notice.

use super::Values;

/// The value with which a property has no meaning.
#[derive(Clone, Copy)]
enum Silent {
    /// None: that it is set is enough.
    No,
    At(&'static str),
}

/// Name, the value with which it changes nothing, what to know.
#[rustfmt::skip]
static NOTES: &[(&str, Silent, &str)] = &[
    ("advertised.host.name", Silent::No, "set advertised.listeners"),
    ("advertised.port", Silent::No, "set advertised.listeners"),
    ("host.name", Silent::No, "set listeners"),
    ("port", Silent::No, "set listeners"),
    ("quota.producer.default", Silent::At("9223372036854775807"), DEFAULT_QUOTA),
    ("quota.consumer.default", Silent::At("9223372036854775807"), DEFAULT_QUOTA),
    ("log.message.timestamp.difference.max.ms", Silent::At("9223372036854775807"),
        "set log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"),
    ("create.topic.policy.class.name", Silent::At(""), POLICY),
    ("alter.config.policy.class.name", Silent::At(""), POLICY),
    ("client.quota.callback.class", Silent::At(""), "Java classes are not loaded: its quotas are not enforced"),
    ("remote.log.storage.system.enable", Silent::At("false"),
        "there is no tiered storage: all records stay in log.dirs until retention deletes them"),
    ("metric.reporters", Silent::At(""), METRICS),
    ("kafka.metrics.reporters", Silent::At(""), METRICS),
];

const DEFAULT_QUOTA: &str =
    "set a default quota: kafka-configs.sh --entity-type clients --entity-default";
const POLICY: &str = "Java classes are not loaded: the policy is not enforced";
const METRICS: &str = "Java classes are not loaded: metrics are at /metrics of rest.listeners";

/// Each property that was set and whose absence clients or operators will notice, and what to do.
pub fn notes(values: &Values) -> impl Iterator<Item = (&'static str, &'static str)> {
    NOTES.iter().filter_map(|(name, silent, note)| {
        let value = values.set().get(*name)?.trim();
        match silent {
            Silent::At(nothing) if value.eq_ignore_ascii_case(nothing) => None,
            _ => Some((*name, *note)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    fn noted(set: &[(&str, &str)]) -> Vec<&'static str> {
        let values = Values::new(map(set)).unwrap();
        notes(&values).map(|(name, _)| name).collect()
    }

    #[test]
    fn a_property_whose_absence_matters_is_noted_unless_it_says_nothing() {
        assert_eq!(
            noted(&[("port", "9093"), ("num.io.threads", "8")]),
            ["port"]
        );
        let tiered = "remote.log.storage.system.enable";
        assert_eq!(noted(&[(tiered, "TRUE")]), [tiered]);
        assert!(noted(&[(tiered, "false"), ("metric.reporters", "")]).is_empty());
    }

    #[test]
    fn every_note_is_about_a_known_property_without_effect() {
        for (name, ..) in NOTES {
            let values = Values::new(map(&[(name, "1")])).unwrap();
            assert_eq!(values.ignored(), [*name]);
        }
    }
}
