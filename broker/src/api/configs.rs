//! What the three config APIs share: kinds of resources, and checks before anything is changed
//! (`ConfigAdminManager.preprocess` in Kafka).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;
use kafka_protocol::protocol::StrBytes;

use super::admin::{Refusal, blocking, outcome, repeated};
use crate::Broker;
use crate::topic::TopicError;

/// What configs belong to (`ConfigResource.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// A topic.
    Topic,
    /// A broker, or with an empty name all brokers.
    Broker,
    /// What this broker has none of; with the word for it.
    Unsupported(&'static str),
    /// A code that Kafka doesn't know either.
    Unknown(i8),
}

impl Resource {
    /// The kind of a code.
    pub const fn of(code: i8) -> Self {
        match code {
            2 => Resource::Topic,
            4 => Resource::Broker,
            8 => Resource::Unsupported("Logger levels"),
            16 => Resource::Unsupported("Client metrics subscriptions"),
            32 => Resource::Unsupported("Group configs"),
            other => Resource::Unknown(other),
        }
    }

    /// The refusal of a resource that nothing can be done with.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Resource::Topic | Resource::Broker => None,
            Resource::Unsupported(what) => Some(Refusal::invalid(format!(
                "{what} are not supported by this broker."
            ))),
            Resource::Unknown(code) => {
                Some(Refusal::invalid(format!("Unknown resource type {code}")))
            }
        }
    }
}

/// Refuses a resource that stands in the request more than once: none of those is looked at.
pub(super) fn check_once(
    doubles: &BTreeSet<(i8, StrBytes)>,
    resource_type: i8,
    name: &StrBytes,
) -> Result<(), Refusal> {
    match doubles.contains(&(resource_type, name.clone())) {
        true => Err(Refusal::invalid("Each resource must appear at most once.")),
        false => Ok(()),
    }
}

/// Checks that a resource can be altered, which only topics can.
pub(super) fn check_alterable(resource_type: i8, name: &str) -> Result<(), Refusal> {
    let resource = Resource::of(resource_type);
    if let Some(refusal) = resource.refusal() {
        return Err(refusal);
    }
    if resource == Resource::Broker {
        return Err(Refusal::invalid(
            "Broker configs cannot be changed while the broker runs: set them in its properties \
             and start it again.",
        ));
    }
    if name.is_empty() {
        return Err(Refusal::invalid("Default topic resources are not allowed."));
    }
    TopicName::new(name)
        .map(drop)
        .map_err(|error| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()))
}

/// Checks the names of one resource's configs: none twice, and none without the value it needs.
pub(super) fn check_names<'a>(
    names: impl Iterator<Item = &'a StrBytes>,
    without_value: impl Iterator<Item = &'a StrBytes>,
) -> Result<(), Refusal> {
    if !repeated(names).is_empty() {
        return Err(Refusal::invalid("Error due to duplicate config keys"));
    }
    let without_value: Vec<_> = without_value.map(|name| name.as_str()).collect();
    match without_value.is_empty() {
        true => Ok(()),
        false => Err(Refusal::invalid(format!(
            "Null value not supported for : {}",
            without_value.join(", ")
        ))),
    }
}

/// What one resource of a request asks to be done to a topic's overrides.
pub(super) type Change =
    Box<dyn FnOnce(&mut BTreeMap<String, String>, &Broker) -> Result<(), TopicError> + Send>;

/// One resource of a request that alters configs.
pub(super) struct Alteration {
    /// The code of its kind.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: StrBytes,
    /// What is asked, or what is wrong with the asking.
    pub change: Result<Change, Refusal>,
}

/// What became of one resource.
pub(super) struct Altered {
    /// The code of its kind.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: StrBytes,
    /// Kafka's code and message.
    pub outcome: (i16, Option<StrBytes>),
}

/// Alters one resource after the other, in the order of the request.
pub(super) async fn alter_all(
    broker: &Arc<Broker>,
    alterations: Vec<Alteration>,
    validate_only: bool,
) -> Vec<Altered> {
    let names = alterations.iter();
    let doubles = repeated(names.map(|a| (a.resource_type, a.resource_name.clone())));
    let mut all = Vec::with_capacity(alterations.len());
    for Alteration {
        resource_type,
        resource_name,
        change,
    } in alterations
    {
        let asked = check_once(&doubles, resource_type, &resource_name).and(change);
        let altered = match asked {
            Ok(change) => alter_topic(broker, &resource_name, validate_only, change).await,
            Err(refusal) => Err(refusal),
        };
        all.push(Altered {
            resource_type,
            resource_name,
            outcome: outcome(&altered),
        });
    }
    all
}

async fn alter_topic(
    broker: &Arc<Broker>,
    topic: &str,
    validate_only: bool,
    change: Change,
) -> Result<(), Refusal> {
    let (broker, topic) = (Arc::clone(broker), topic.to_owned());
    let altered = blocking(move || {
        let change = |overrides: &mut BTreeMap<_, _>| change(overrides, &broker);
        broker
            .catalog
            .alter_configs(&topic, false, validate_only, change)
    });
    altered.await
}
