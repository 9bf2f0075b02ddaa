//! Client quotas: how much clients may produce, fetch, change topics and keep the broker busy
//! (`ClientQuotaManager` in Kafka, KIP-13, 55, 124, 257, 546, 599, 612).
//!
//! A request that takes its client over a quota is handled and answered immediately, with the time
//! that the client should wait; the connection is not read until then (KIP-219). Other connections
//! continue, unless they exceed a quota themselves.
//!
//! Invariants: RocksDB first, memory second; usage is forgotten once it is outside the window, so
//! memory is limited by the clients that were active within it.

pub mod bucket;
pub mod entity;
mod hold;
mod meters;
pub mod rate;
mod set;
pub mod table;

pub use entity::{Entity, Part, PartKind};
pub use hold::Hold;
pub use meters::Quotas;
pub use set::{Alteration, QuotaOp};
pub use table::{Kind, Match};

/// Why quotas cannot be described or changed.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// One key twice in one alteration.
    #[error("Duplicate quota key {key} not updating quota for this entity {entity}")]
    RepeatedKey { key: String, entity: Entity },
    /// One entity twice in one request.
    #[error("Ignoring duplicate entity {0}")]
    RepeatedEntity(Entity),
    /// No such quota for this entity.
    #[error("Invalid configuration key {0}")]
    UnknownKey(String),
    /// Zero, negative, or not a number.
    #[error("Quota {0} must be greater than 0")]
    NotPositive(String),
    /// A whole number is needed.
    #[error("{0} cannot be a fractional value.")]
    Fraction(String),
    /// More than its type holds.
    #[error("Proposed value for {key} is too large for {type_name}.")]
    TooLarge {
        key: String,
        type_name: &'static str,
    },
    /// A filter names a type twice.
    #[error("Duplicate {0} filter component entity type")]
    RepeatedFilter(&'static str),
    /// A filter names addresses and others.
    #[error(
        "Invalid entity filter component combination, IP filter component should not be used with \
         User or ClientId filter component."
    )]
    IpFilterWithOthers,
    /// More entities with quotas than are kept.
    #[error("There are quotas for {0} entities, which is the limit.")]
    TooMany(usize),
    #[error("not stored: {0}")]
    NotStored(String),
}
