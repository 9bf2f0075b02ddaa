//! Features in the sense of KIP-584: what clients can rely on beyond the versions of single APIs.
//! The one list; the ApiVersions answer is derived from it.
//!
//! Levels are fixed at what this broker supports, so `UpdateFeatures` is not offered.

use kafka_protocol::messages::api_versions_response::{FinalizedFeatureKey, SupportedFeatureKey};

use super::groups::text;

/// A feature that is supported and finalized.
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest level that could be finalized.
    pub min: i16,
    /// The highest level that could be finalized.
    pub max: i16,
    /// The current level.
    pub level: i16,
}

pub static FEATURES: &[Feature] = &[
    // KIP-848: the consumer protocol.
    Feature {
        name: "group.version",
        min: 0,
        max: 1,
        level: 1,
    },
    // KIP-890 part 2: Produce and TxnOffsetCommit add to transactions, EndTxn bumps the epoch.
    Feature {
        name: "transaction.version",
        min: 0,
        max: 2,
        level: 2,
    },
];

/// Clients take the finalized levels of the answer with the largest epoch that they have seen: to
/// be raised when [`FEATURES`] changes.
pub const EPOCH: i64 = 2;

/// The supported features. Those from level 0 on only in version 4 and later: older clients
/// refuse an answer with a minimum of 0.
pub fn supported(version: i16) -> Vec<SupportedFeatureKey> {
    let told = FEATURES
        .iter()
        .filter(|feature| version >= 4 || feature.min > 0);
    let keys = told.map(|feature| {
        SupportedFeatureKey::default()
            .with_name(text(feature.name))
            .with_min_version(feature.min)
            .with_max_version(feature.max)
    });
    keys.collect()
}

/// The current levels.
pub fn finalized() -> Vec<FinalizedFeatureKey> {
    let keys = FEATURES.iter().map(|feature| {
        FinalizedFeatureKey::default()
            .with_name(text(feature.name))
            .with_min_version_level(feature.level)
            .with_max_version_level(feature.level)
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_in_force_are_supported_and_named_once() {
        for (i, feature) in FEATURES.iter().enumerate() {
            assert!((feature.min..=feature.max).contains(&feature.level));
            assert!(FEATURES[..i].iter().all(|other| other.name != feature.name));
        }
    }

    #[test]
    fn a_minimum_of_0_is_told_from_version_4_on_only() {
        let named = |version| supported(version).iter().any(|key| key.min_version == 0);
        assert!(!named(3) && named(4));
    }
}
