//! AlterConfigs (key 33), versions 0–2.
//!
//! Replaces all overrides of a topic: what is not named goes back to its default. Clients have
//! IncrementalAlterConfigs since Kafka 2.3; this is for those that never moved. A mirror's always
//! synced configs must be named with the values they have, else INVALID_REQUEST.
//!
//! Not done, and refused by name with INVALID_REQUEST: configs of brokers (they come from the
//! properties alone), client metrics, groups. No `alter.config.policy.class.name`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, ApiKey};

use super::admin::{Refusal, outcome, repeated};
use super::configs::{alter_topic, check_alterable, check_names, check_once};
use super::{Api, Context, Reply, ResponseOf};
use crate::Broker;
use crate::topic::alter::check_length;

/// AlterConfigs.
pub struct AlterConfigs;

impl Api for AlterConfigs {
    const KEY: ApiKey = ApiKey::AlterConfigs;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    type Request = AlterConfigsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let broker = Arc::clone(&ctx.broker);
        Reply::Later(Box::pin(async move {
            let resources = request.resources.iter();
            let doubles = repeated(resources.map(|r| (r.resource_type, r.resource_name.clone())));
            let mut response = AlterConfigsResponse::default();
            for resource in request.resources {
                let answer = AlterConfigsResourceResponse::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone());
                let (kind, name) = (resource.resource_type, &resource.resource_name);
                let altered = match check_once(&doubles, kind, name) {
                    Ok(()) => replace(&broker, resource, request.validate_only).await,
                    Err(refusal) => Err(refusal),
                };
                let (code, message) = outcome(&altered);
                let answer = answer.with_error_code(code).with_error_message(message);
                response.responses.push(answer);
            }
            response
        }))
    }
}

async fn replace(
    broker: &Arc<Broker>,
    resource: AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let configs = resource.configs;
    check_names(
        configs.iter().map(|config| &config.name),
        configs
            .iter()
            .filter(|config| config.value.is_none())
            .map(|config| &config.name),
    )?;
    check_alterable(resource.resource_type, &resource.resource_name)?;
    let mut replaced = BTreeMap::new();
    for config in configs {
        let value = config.value.unwrap_or_default();
        check_length(&config.name, &value)?;
        replaced.insert(config.name.to_string(), value.to_string());
    }
    alter_topic(
        broker,
        &resource.resource_name,
        validate_only,
        |overrides, _| {
            *overrides = replaced;
            Ok(())
        },
    )
    .await
}
