//! AlterConfigs (key 33), versions 0–2.
//!
//! Replaces everything that is set on a topic or broker: configs that are not named return to their
//! defaults. Clients have IncrementalAlterConfigs since Kafka 2.3; this is for those that never
//! switched. A request for a mirror must include the always-synced configs with their current
//! values, or it gets INVALID_REQUEST.
//!
//! Not supported, and refused by name with INVALID_REQUEST: client metrics. Logger levels are not
//! part of this API, as in Kafka. No `alter.config.policy.class.name`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, ApiKey};

use super::admin::Refusal;
use super::configs::{Alteration, Resource, alter_all, check_names};
use super::{Api, Context, Reply, ResponseOf};
use crate::config::change::Change;

pub struct AlterConfigs;

impl Api for AlterConfigs {
    const KEY: ApiKey = ApiKey::AlterConfigs;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    type Request = AlterConfigsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let alterations = request.resources.into_iter().map(alteration).collect();
            let answers = alter_all(&ctx, alterations, request.validate_only)
                .await
                .into_iter()
                .map(|altered| {
                    let (code, message) = altered.outcome;
                    AlterConfigsResourceResponse::default()
                        .with_resource_type(altered.resource_type)
                        .with_resource_name(altered.resource_name)
                        .with_error_code(code)
                        .with_error_message(message)
                });
            AlterConfigsResponse::default().with_responses(answers.collect())
        }))
    }
}

fn alteration(resource: AlterConfigsResource) -> Alteration {
    let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
    Alteration {
        resource_type,
        resource_name,
        change: replacement(resource),
    }
}

fn replacement(resource: AlterConfigsResource) -> Result<Change, Refusal> {
    let configs = resource.configs;
    if Resource::of(resource.resource_type) == Resource::BrokerLogger {
        let unknown = format!("Unknown resource type {}", resource.resource_type);
        return Err(Refusal::invalid(unknown));
    }
    check_names(
        configs.iter().map(|config| &config.name),
        configs
            .iter()
            .filter(|config| config.value.is_none())
            .map(|config| &config.name),
    )?;
    let mut replaced = BTreeMap::new();
    for config in configs {
        let value = config.value.unwrap_or_default();
        replaced.insert(config.name.to_string(), value.to_string());
    }
    Ok(Change::Replace(replaced))
}
