//! DescribeConfigs (key 32), versions 1–4.
//!
//! All configs of topics and of this broker, each with its value, where it comes from, and the
//! other places that set it (synonyms, KIP-226). `configuration_keys` selects some of them. The
//! broker with the empty name has the defaults that are set for all brokers.
//!
//! - v3 (KIP-569): type and documentation. v4 is flexible.
//! - Broker properties that take effect only at the next start are read-only.
//! - There is one logger, `root`, whose level is read-only, and no subscription of client metrics.
//! - A resource that is named twice is refused with INVALID_REQUEST (Kafka answers it twice), and
//!   so are groups that don't exist, after some thousands of them: a small request could ask for
//!   more than fits in memory.
//! - Kafka lists only the first synonym of a topic config; here, every place that has a value is
//!   listed.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicName};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use tracing::level_filters::LevelFilter;

use super::admin::{Refusal, outcome, repeated};
use super::configs::{Resource, check_broker, check_once, identity};
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::broker::Broker;
use crate::config::describe::{self, Described};
use crate::group;
use crate::topic::TopicError;
use crate::topic::describe::describe;

pub struct DescribeConfigs;

impl Api for DescribeConfigs {
    const KEY: ApiKey = ApiKey::DescribeConfigs;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const LISTS: bool = true;
    type Request = DescribeConfigsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
        let resources = request.resources.iter();
        let doubles = repeated(resources.map(|r| identity(r.resource_type, &r.resource_name)));
        let results = request.resources.iter().map(|resource| {
            let show = || {
                let described =
                    check_once(&doubles, resource.resource_type, &resource.resource_name)
                        .and_then(|()| described(ctx, resource));
                result(resource, described, synonyms, documentation)
            };
            let refused = |refusal| result(resource, Err(refusal), synonyms, documentation);
            match is_there(ctx, resource) {
                true => ctx.room.item(version, show, refused),
                false => ctx.room.item_of_defaults(version, show, refused),
            }
        });
        Reply::Now(DescribeConfigsResponse::default().with_results(results.collect()))
    }
}

fn result(
    resource: &DescribeConfigsResource,
    described: Result<Vec<Described>, Refusal>,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResult {
    let (code, message) = outcome(&described);
    let asked_for = |config: &Described| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == config.def.name),
        _ => true,
    };
    let configs = described.unwrap_or_default().into_iter().filter(asked_for);
    let configs = configs
        .map(|config| shown(&config, synonyms, documentation))
        .collect();
    DescribeConfigsResult::default()
        .with_error_code(code)
        .with_error_message(message)
        .with_configs(configs)
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

/// Whether the request is about more than a name. A group has configs whether it exists or not.
fn is_there(ctx: &Context, asked: &DescribeConfigsResource) -> bool {
    let group = match Resource::of(asked.resource_type) {
        Resource::Group => GroupId::new(asked.resource_name.as_str()),
        _ => return true,
    };
    let groups = ctx.group(&group, Operation::DescribeConfigs);
    groups.is_ok_and(|groups| groups.exists(&group) || !groups.group_configs(&group).is_empty())
}

fn described(ctx: &Context, asked: &DescribeConfigsResource) -> Result<Vec<Described>, Refusal> {
    let name = asked.resource_name.as_str();
    let broker = &ctx.broker;
    match Resource::of(asked.resource_type) {
        Resource::Topic => described_topic(ctx, name),
        Resource::Broker => {
            ctx.cluster(Operation::DescribeConfigs)?;
            described_broker(broker, name)
        }
        Resource::BrokerLogger => {
            ctx.cluster(Operation::DescribeConfigs)?;
            described_loggers(broker, name)
        }
        Resource::ClientMetrics if name.is_empty() => Err(Refusal::invalid(
            "Client metrics subscription name must not be empty",
        )),
        Resource::ClientMetrics => {
            ctx.cluster(Operation::DescribeConfigs)?;
            Ok(Vec::new())
        }
        Resource::Group if name.is_empty() => Err(Refusal::invalid("Group name must not be empty")),
        Resource::Group => {
            let group = GroupId::new(name);
            let groups = ctx.group(&group, Operation::DescribeConfigs)?;
            let overrides = groups.group_configs(&group);
            Ok(group::overrides::describe(
                &overrides,
                &broker.properties.values(),
            ))
        }
        Resource::Unknown(code) => {
            Err(Refusal::invalid(format!("Unexpected resource type {code}")))
        }
    }
}

fn described_topic(ctx: &Context, name: &str) -> Result<Vec<Described>, Refusal> {
    let name = TopicName::new(name)
        .map_err(|error| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()))?;
    let topic = ctx
        .topic(&name, Operation::DescribeConfigs)
        .map_err(|error| error.or(TopicError::Unknown(name.to_string())))?;
    Ok(describe(
        &topic.state().overrides,
        &ctx.broker.properties.values(),
    ))
}

fn described_broker(broker: &Broker, name: &str) -> Result<Vec<Described>, Refusal> {
    let values = broker.properties.values();
    if name.is_empty() {
        return Ok(describe::broker_defaults(&values));
    }
    check_broker(broker, name, " or empty string,")?;
    Ok(describe::broker(&values))
}

/// There is one logger, with the level that was set at start.
fn described_loggers(broker: &Broker, name: &str) -> Result<Vec<Described>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::invalid("Broker id must not be empty"));
    }
    check_broker(broker, name, "")?;
    let level = LevelFilter::current().to_string().to_uppercase();
    Ok(vec![describe::logger("root", level)])
}

fn shown(
    config: &Described,
    with_synonyms: bool,
    with_documentation: bool,
) -> DescribeConfigsResourceResult {
    let origins = config
        .origins
        .iter()
        .filter(|_| with_synonyms)
        .map(|origin| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_static_str(origin.name))
                .with_value(origin.value.as_deref().map(text))
                .with_source(origin.source.code())
        });
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(config.def.name))
        .with_value(config.value.as_deref().map(text))
        .with_read_only(config.read_only)
        .with_config_source(config.source().code())
        .with_is_sensitive(config.is_sensitive())
        .with_synonyms(origins.collect())
        .with_config_type(config.def.kind.code())
        .with_documentation(with_documentation.then(|| StrBytes::from_static_str(config.def.doc)))
}
