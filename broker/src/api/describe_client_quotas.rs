//! DescribeClientQuotas (key 48), versions 0–1 (KIP-546).
//!
//! The quotas of the entities that a filter wants: by name, the default, or any of a type.
//! `strict` leaves out entities with parts that the filter does not name. v1 is flexible.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{ApiKey, DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::admin::Refusal;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::quota::{Entity, Match, PartKind};

pub struct DescribeClientQuotas;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

impl Api for DescribeClientQuotas {
    const KEY: ApiKey = ApiKey::DescribeClientQuotas;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTS: bool = true;
    type Request = DescribeClientQuotasRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let response = DescribeClientQuotasResponse::default();
        Reply::Now(match described(ctx, version, &request) {
            Ok(entries) => response.with_entries(Some(entries)),
            Err(refusal) => response
                .with_error_code(refusal.code.0)
                .with_error_message(refusal.wire_message())
                .with_entries(None),
        })
    }
}

fn described(
    ctx: &Context,
    version: i16,
    request: &DescribeClientQuotasRequest,
) -> Result<Vec<EntryData>, Refusal> {
    ctx.cluster(Operation::DescribeConfigs)?;
    let filter = request.components.iter().map(component);
    let filter = filter.collect::<Result<Vec<_>, _>>()?;
    let found = ctx.broker.quotas.describe(&filter, request.strict)?;
    let entries = found.into_iter().map(|(entity, values)| {
        let values = values
            .iter()
            .map(|(key, value)| ValueData::default().with_key(text(key)).with_value(*value));
        let entry = EntryData::default()
            .with_entity(parts(&entity))
            .with_values(values.collect());
        ctx.room.take_item(version, &entry).map(|()| entry)
    });
    entries.collect()
}

fn component(component: &ComponentData) -> Result<(PartKind, Match), Refusal> {
    let entity_type = component.entity_type.as_str();
    if entity_type.is_empty() {
        return Err(Refusal::invalid(
            "Unexpected empty filter component entity type",
        ));
    }
    let kind = PartKind::named(entity_type).ok_or_else(|| {
        Refusal::new(
            ErrorCode::UNSUPPORTED_VERSION,
            format!("Custom entity type {entity_type} not supported"),
        )
    })?;
    let wanted = match (component.match_type, &component._match) {
        (EXACT, Some(name)) => Match::Exactly(name.to_string()),
        (DEFAULT, None) => Match::Default,
        (ANY, None) => Match::Any,
        (other, _) => {
            return Err(Refusal::invalid(format!("Unexpected match type: {other}")));
        }
    };
    Ok((kind, wanted))
}

fn parts(entity: &Entity) -> Vec<EntityData> {
    let parts = entity.parts().into_iter().map(|(kind, part)| {
        EntityData::default()
            .with_entity_type(text(kind.name()))
            .with_entity_name(part.name().map(text))
    });
    parts.collect()
}
