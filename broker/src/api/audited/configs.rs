//! Configs and quotas.

use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, IncrementalAlterConfigsRequest,
};

use super::{Audited, Lines, names};
use crate::api::ResponseOf;
use crate::api::alter_client_quotas::AlterClientQuotas;
use crate::api::alter_configs::AlterConfigs;
use crate::api::configs::Resource;
use crate::api::incremental_alter_configs::IncrementalAlterConfigs;

/// The name of a resource that has configs; without one, it is the default of all of its kind.
fn name(name: &str) -> &str {
    match name {
        "" => "<default>",
        name => name,
    }
}

/// What the audit log calls a resource that has configs.
fn kind(code: i8) -> &'static str {
    match Resource::of(code) {
        Resource::Topic => "topic",
        Resource::Broker => "broker",
        Resource::BrokerLogger => "broker_logger",
        Resource::ClientMetrics => "client_metrics",
        Resource::Group => "group",
        Resource::Unknown(_) => "unknown",
    }
}

impl Audited for IncrementalAlterConfigs {
    fn audit(
        asked: &IncrementalAlterConfigsRequest,
        answer: &ResponseOf<Self>,
        lines: &mut Lines<'_>,
    ) {
        lines.dry_run(asked.validate_only);
        for done in &answer.responses {
            let key = (done.resource_type, &done.resource_name);
            let mut wanted = asked.resources.iter();
            let wanted = wanted.find(|it| (it.resource_type, &it.resource_name) == key);
            let configs = wanted.map(|it| it.configs.as_slice()).unwrap_or_default();
            let detail = names("configs", configs.iter().map(|it| it.name.as_str()));
            let target = (kind(done.resource_type), name(&done.resource_name));
            lines.add(target, done.error_code, detail);
        }
    }
}

impl Audited for AlterConfigs {
    fn audit(asked: &AlterConfigsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        lines.dry_run(asked.validate_only);
        for done in &answer.responses {
            let key = (done.resource_type, &done.resource_name);
            let mut wanted = asked.resources.iter();
            let wanted = wanted.find(|it| (it.resource_type, &it.resource_name) == key);
            let configs = wanted.map(|it| it.configs.as_slice()).unwrap_or_default();
            let detail = names("all configs, to", configs.iter().map(|it| it.name.as_str()));
            let target = (kind(done.resource_type), name(&done.resource_name));
            lines.add(target, done.error_code, detail);
        }
    }
}

impl Audited for AlterClientQuotas {
    fn audit(asked: &AlterClientQuotasRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        lines.dry_run(asked.validate_only);
        for (wanted, done) in asked.entries.iter().zip(&answer.entries) {
            let parts = wanted.entity.iter().map(|part| {
                let name = part.entity_name.as_deref().unwrap_or("<default>");
                format!("{}={name}", part.entity_type)
            });
            let ops = wanted.ops.iter().map(|op| match op.remove {
                true => format!("{} removed", op.key),
                false => format!("{}={}", op.key, op.value),
            });
            let entity = parts.collect::<Vec<_>>().join(",");
            let detail = ops.collect::<Vec<_>>().join(", ");
            lines.add(("quota", &entity), done.error_code, detail);
        }
    }
}
