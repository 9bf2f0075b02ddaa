//! AlterClientQuotas (key 49), versions 0–1 (KIP-546).
//!
//! Sets and removes `producer_byte_rate`, `consumer_byte_rate`, `request_percentage` and
//! `controller_mutation_rate` of users and client ids, and `connection_creation_rate` of addresses.
//! They are stored before the answer and take effect immediately. For each entity, either all of
//! its changes are made or none. v1 is flexible.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::alter_client_quotas_request::{
    EntityData as AskedPart, EntryData as Asked,
};
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse, ApiKey};

use super::admin::{Refusal, blocking, outcome};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::quota::{Alteration, Entity, Part, PartKind, QuotaOp};

pub struct AlterClientQuotas;

impl Api for AlterClientQuotas {
    const KEY: ApiKey = ApiKey::AlterClientQuotas;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    type Request = AlterClientQuotasRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let outcomes = alter(&ctx, &request.entries, request.validate_only).await;
            let entries = request.entries.into_iter().zip(outcomes);
            let entries = entries.map(|(entry, altered)| {
                let (code, message) = outcome(&altered);
                let entity = entry.entity.into_iter().map(|part| {
                    EntityData::default()
                        .with_entity_type(part.entity_type)
                        .with_entity_name(part.entity_name)
                });
                EntryData::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_entity(entity.collect())
            });
            AlterClientQuotasResponse::default().with_entries(entries.collect())
        }))
    }
}

/// One outcome per entry.
async fn alter(ctx: &Context, entries: &[Asked], validate_only: bool) -> Vec<Result<(), Refusal>> {
    let allowed = ctx.cluster(Operation::AlterConfigs);
    if let Err(error) = allowed {
        return entries.iter().map(|_| Err(error.into())).collect();
    }
    let asked: Vec<_> = entries.iter().map(alteration).collect();
    let broker = Arc::clone(&ctx.broker);
    let valid: Vec<_> = asked
        .iter()
        .filter_map(|asked| asked.clone().ok())
        .collect();
    let altered =
        blocking(move || -> Result<_, Refusal> { Ok(broker.quotas.alter(&valid, validate_only)) });
    let mut altered = match altered.await {
        Ok(altered) => altered.into_iter(),
        Err(refusal) => return asked.iter().map(|_| Err(refusal.clone())).collect(),
    };
    let outcomes = asked.into_iter().map(|asked| {
        asked?;
        altered
            .next()
            .map_or(Ok(()), |altered| altered.map_err(Refusal::from))
    });
    outcomes.collect()
}

fn alteration(entry: &Asked) -> Result<Alteration, Refusal> {
    let ops = entry.ops.iter().map(|op| QuotaOp {
        key: op.key.to_string(),
        value: (!op.remove).then_some(op.value),
    });
    Ok(Alteration {
        entity: entity(&entry.entity)?,
        ops: ops.collect(),
    })
}

/// The entity of these parts (`ClientQuotaControlManager.validateEntity`).
fn entity(parts: &[AskedPart]) -> Result<Entity, Refusal> {
    let (mut user, mut client, mut ip) = (None, None, None);
    for asked in parts {
        let entity_type = asked.entity_type.as_str();
        let kind = PartKind::named(entity_type).ok_or_else(|| {
            Refusal::invalid(format!("Unhandled client quota entity type: {entity_type}"))
        })?;
        let name = asked.entity_name.as_deref();
        if name == Some("") {
            return Err(Refusal::invalid(format!(
                "Empty {entity_type} not supported"
            )));
        }
        let place = match kind {
            PartKind::User => &mut user,
            PartKind::Client => &mut client,
            PartKind::Ip => &mut ip,
        };
        if place.replace(Part::of(name)).is_some() {
            return Err(Refusal::invalid(format!(
                "Invalid client quota entity, duplicate entity entry {entity_type}"
            )));
        }
    }
    if let Some(Part::Named(name)) = &ip {
        if user.is_some() || client.is_some() {
            return Err(ip_with_others());
        }
        if name.parse::<IpAddr>().is_err() {
            return Err(Refusal::invalid(format!(
                "{name} is not a valid IP or resolvable host."
            )));
        }
    }
    let several = ip.is_some() && (user.is_some() || client.is_some());
    Entity::of(user, client, ip).ok_or_else(|| match several {
        true => ip_with_others(),
        false => Refusal::invalid("Invalid empty client quota entity"),
    })
}

fn ip_with_others() -> Refusal {
    Refusal::invalid(
        "Invalid quota entity combination, IP entity should not be combined with User or ClientId",
    )
}
