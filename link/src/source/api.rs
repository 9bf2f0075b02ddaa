//! What a request needs to be sent over a [`Connection`](super::connection::Connection), and small
//! translations that several requests share.

use std::ops::RangeInclusive;

use carrick_protocol::ids::TopicName;
use kafka_protocol::messages as wire;
use kafka_protocol::protocol::{Request, StrBytes};

/// A request that the link sends: its name and the versions that we speak of it.
pub(super) trait Api: Request {
    /// Kafka's name.
    const NAME: &'static str;
    /// Versions that our code handles, within those of the codec.
    const SPOKEN: RangeInclusive<i16>;

    /// How long the source asks us to send nothing more over this connection (KIP-219), milliseconds.
    fn throttle_time_ms(_response: &Self::Response) -> i32 {
        0
    }
}

macro_rules! apis {
    ($($request:ident $name:literal $versions:expr $(, $throttle:ident)?;)*) => {
        $(impl Api for wire::$request {
            const NAME: &'static str = $name;
            const SPOKEN: RangeInclusive<i16> = $versions;
            $(fn throttle_time_ms(response: &Self::Response) -> i32 {
                response.$throttle
            })?
        })*

        #[cfg(test)]
        const ALL: &[(i16, RangeInclusive<i16>)] =
            &[$((<wire::$request as Request>::KEY, $versions),)*];
    };
}

apis! {
    ApiVersionsRequest "ApiVersions" super::connection::API_VERSIONS;
    MetadataRequest "Metadata" super::metadata::VERSIONS, throttle_time_ms;
    FetchRequest "Fetch" super::fetch::VERSIONS, throttle_time_ms;
    ListOffsetsRequest "ListOffsets" super::list_offsets::VERSIONS, throttle_time_ms;
    OffsetForLeaderEpochRequest "OffsetForLeaderEpoch" super::offset_for_leader_epoch::VERSIONS, throttle_time_ms;
    DescribeConfigsRequest "DescribeConfigs" super::describe_configs::VERSIONS, throttle_time_ms;
    SaslHandshakeRequest "SaslHandshake" super::connection::SASL_HANDSHAKE;
    SaslAuthenticateRequest "SaslAuthenticate" super::connection::SASL_AUTHENTICATE;
    DescribeClusterRequest "DescribeCluster" super::describe_cluster::VERSIONS, throttle_time_ms;
    ListGroupsRequest "ListGroups" super::list_groups::VERSIONS, throttle_time_ms;
    FindCoordinatorRequest "FindCoordinator" super::find_coordinator::VERSIONS, throttle_time_ms;
    OffsetFetchRequest "OffsetFetch" super::offset_fetch::VERSIONS, throttle_time_ms;
}

/// A topic's name as the codec wants it.
pub(super) fn wire_topic(topic: &TopicName) -> wire::TopicName {
    wire::TopicName(wire_text(topic.as_str()))
}

/// Text as the codec wants it.
pub(super) fn wire_text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name from an answer; `Err` says that no topic can have it.
pub(super) fn topic_name(name: &str) -> Result<TopicName, String> {
    TopicName::new(name).map_err(|error| format!("it names a topic {name:?} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_knows_every_version_that_we_speak() {
        for (key, ours) in ALL {
            let codec = carrick_protocol::versions::supported(*key).unwrap();
            assert!(
                codec.contains(ours.start()) && codec.contains(ours.end()),
                "{key}"
            );
        }
    }
}
