//! What the three config APIs share: kinds of resources, and checks before anything is changed
//! (`ConfigAdminManager.preprocess` in Kafka).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::Context;
use super::admin::{Refusal, blocking, outcome, repeated};
use super::error::group_config_code;
use crate::access::Operation;
use crate::broker::Broker;
use crate::config::change::Change;
use crate::topic::config::words_of;

/// What configs belong to (`ConfigResource.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Topic,
    /// A broker, or with an empty name all brokers.
    Broker,
    /// The loggers of a broker.
    BrokerLogger,
    /// A subscription of client metrics, of which there are none.
    ClientMetrics,
    Group,
    /// A code that Kafka doesn't know either.
    Unknown(i8),
}

impl Resource {
    /// The kind of a code.
    pub const fn of(code: i8) -> Self {
        match code {
            2 => Resource::Topic,
            4 => Resource::Broker,
            8 => Resource::BrokerLogger,
            16 => Resource::ClientMetrics,
            32 => Resource::Group,
            other => Resource::Unknown(other),
        }
    }

    /// The code of a kind.
    pub const fn code(self) -> i8 {
        match self {
            Resource::Topic => 2,
            Resource::Broker => 4,
            Resource::BrokerLogger => 8,
            Resource::ClientMetrics => 16,
            Resource::Group => 32,
            Resource::Unknown(other) => other,
        }
    }
}

/// Checks the name of a broker: this one's id.
pub(super) fn check_broker(broker: &Broker, name: &str, expected: &str) -> Result<(), Refusal> {
    let here = broker.node_id;
    match name.parse::<i32>() {
        Ok(id) if id == here.0 => Ok(()),
        Ok(_) => Err(Refusal::invalid(format!(
            "Unexpected broker id, expected {here}{expected} but received {name}"
        ))),
        Err(_) => Err(Refusal::invalid(format!(
            "Broker id must be an integer, but it is: {name}"
        ))),
    }
}

/// What distinguishes one resource from another: a broker's id may be written in many ways (`1`,
/// `+1`, `01`).
pub(super) fn identity(resource_type: i8, name: &StrBytes) -> (i8, StrBytes) {
    let id = match Resource::of(resource_type) {
        Resource::Broker | Resource::BrokerLogger => name.parse::<i32>().ok(),
        _ => None,
    };
    let plain = id.map(|id| StrBytes::from_string(id.to_string()));
    (resource_type, plain.unwrap_or_else(|| name.clone()))
}

/// Refuses a resource that occurs more than once in the request: none of its occurrences is
/// processed.
pub(super) fn check_once(
    doubles: &BTreeSet<(i8, StrBytes)>,
    resource_type: i8,
    name: &StrBytes,
) -> Result<(), Refusal> {
    match doubles.contains(&identity(resource_type, name)) {
        true => Err(Refusal::invalid("Each resource must appear at most once.")),
        false => Ok(()),
    }
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

/// One resource of a request that alters configs.
pub(super) struct Alteration {
    /// The code of its kind.
    pub resource_type: i8,
    pub resource_name: StrBytes,
    /// The request, or what is wrong with it.
    pub change: Result<Change, Refusal>,
}

/// The outcome for one resource.
pub(super) struct Altered {
    /// The code of its kind.
    pub resource_type: i8,
    pub resource_name: StrBytes,
    /// Kafka's code and message.
    pub outcome: (i16, Option<StrBytes>),
}

/// Alters one resource after the other, in the order of the request.
pub(super) async fn alter_all(
    ctx: &Context,
    alterations: Vec<Alteration>,
    validate_only: bool,
) -> Vec<Altered> {
    let names = alterations.iter();
    let doubles = repeated(names.map(|a| identity(a.resource_type, &a.resource_name)));
    let mut all = Vec::with_capacity(alterations.len());
    for Alteration {
        resource_type,
        resource_name,
        change,
    } in alterations
    {
        let asked = check_once(&doubles, resource_type, &resource_name).and(change);
        let altered = match asked {
            Ok(change) => {
                let resource = Resource::of(resource_type);
                alter(ctx, resource, &resource_name, validate_only, change).await
            }
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

/// The seam for kinds of resources: each has its own owner, which checks, stores and applies the
/// changes.
async fn alter(
    ctx: &Context,
    resource: Resource,
    name: &str,
    validate_only: bool,
    change: Change,
) -> Result<(), Refusal> {
    match resource {
        Resource::Topic => alter_topic(ctx, name, validate_only, change).await,
        Resource::Broker => alter_broker(ctx, name, validate_only, change).await,
        Resource::BrokerLogger => {
            ctx.cluster(Operation::AlterConfigs)?;
            Err(Refusal::invalid(
                "The levels of loggers cannot be changed while the broker runs.",
            ))
        }
        Resource::ClientMetrics => {
            ctx.cluster(Operation::AlterConfigs)?;
            Err(Refusal::invalid(
                "Client metrics subscriptions are not supported by this broker.",
            ))
        }
        Resource::Group => alter_group(ctx, name, validate_only, change).await,
        Resource::Unknown(code) => Err(Refusal::invalid(format!("Unknown resource type {code}"))),
    }
}

async fn alter_topic(
    ctx: &Context,
    topic: &str,
    validate_only: bool,
    change: Change,
) -> Result<(), Refusal> {
    if topic.is_empty() {
        return Err(Refusal::invalid("Default topic resources are not allowed."));
    }
    TopicName::new(topic)
        .map_err(|error| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()))?;
    let topics = Arc::clone(ctx.changing(topic, Operation::AlterConfigs)?);
    let (properties, topic) = (Arc::clone(&ctx.broker.properties), topic.to_owned());
    let altered = blocking(move || {
        let values = properties.values();
        let change = |overrides: &mut BTreeMap<_, _>| {
            Ok(change.apply(overrides, |name| words_of(name, &values))?)
        };
        topics.alter_configs(&topic, false, validate_only, change)
    });
    altered.await
}

async fn alter_broker(
    ctx: &Context,
    name: &str,
    validate_only: bool,
    change: Change,
) -> Result<(), Refusal> {
    let own = !name.is_empty();
    if own {
        check_broker(&ctx.broker, name, ",")?;
    }
    let ctx = ctx.clone();
    let altered = blocking(move || -> Result<(), Refusal> {
        let cluster = ctx.cluster(Operation::AlterConfigs)?;
        Ok(cluster.alter_properties(own, change, validate_only)?)
    });
    altered.await
}

async fn alter_group(
    ctx: &Context,
    name: &str,
    validate_only: bool,
    change: Change,
) -> Result<(), Refusal> {
    // No config of a group is a list.
    let change = |overrides: &mut BTreeMap<_, _>| Ok(change.apply(overrides, |_| None)?);
    let group = GroupId::new(name);
    let groups = ctx.group(&group, Operation::AlterConfigs)?;
    let altered = groups.alter_group_configs(&group, validate_only, change);
    altered
        .await
        .map_err(|error| Refusal::new(group_config_code(&error), error.to_string()))
}
