//! IncrementalAlterConfigs (key 44), versions 0–1 (KIP-339).
//!
//! Sets, deletes, appends to and subtracts from single configs of topics and of this broker (or,
//! with an empty name, of all brokers); all changes of one resource or none. They take effect
//! immediately. Changes of always-synced configs on a mirror are refused with INVALID_REQUEST.
//! `validate_only` checks and changes nothing.
//!
//! - KIP-226: broker properties listed in `config::dynamic` may be changed; the others are
//!   INVALID_REQUEST.
//!
//! Not supported, and refused by name with INVALID_REQUEST: logger levels, client metrics. No
//! `alter.config.policy.class.name`.

use std::ops::RangeInclusive;

use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    ApiKey, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::admin::Refusal;
use super::configs::{Alteration, alter_all, check_names};
use super::{Api, Context, Reply, ResponseOf};
use crate::config::change::{Change, ConfigChange, Operation};

pub struct IncrementalAlterConfigs;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl Api for IncrementalAlterConfigs {
    const KEY: ApiKey = ApiKey::IncrementalAlterConfigs;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    type Request = IncrementalAlterConfigsRequest;

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
            IncrementalAlterConfigsResponse::default().with_responses(answers.collect())
        }))
    }
}

fn alteration(resource: AlterConfigsResource) -> Alteration {
    let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
    Alteration {
        resource_type,
        resource_name,
        change: changes(resource),
    }
}

fn changes(resource: AlterConfigsResource) -> Result<Change, Refusal> {
    let configs = resource.configs;
    let needs_value = |c: &&AlterableConfig| c.config_operation != DELETE && c.value.is_none();
    check_names(
        configs.iter().map(|config| &config.name),
        configs
            .iter()
            .filter(needs_value)
            .map(|config| &config.name),
    )?;
    let changes = configs
        .into_iter()
        .map(change)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Change::Each(changes))
}

fn change(config: AlterableConfig) -> Result<ConfigChange, Refusal> {
    let value = config
        .value
        .map(|value| value.to_string())
        .unwrap_or_default();
    let operation = match config.config_operation {
        SET => Operation::Set(value),
        DELETE => Operation::Delete,
        APPEND => Operation::Append(value),
        SUBTRACT => Operation::Subtract(value),
        other => return Err(Refusal::invalid(format!("Unknown operations type {other}"))),
    };
    Ok(ConfigChange {
        name: config.name.to_string(),
        operation,
    })
}
