//! THE list of requests that the link sends: each with its versions, from the file of the request.

use std::ops::RangeInclusive;

use kafka_protocol::messages as wire;

use super::api::Api;

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
            &[$((<wire::$request as kafka_protocol::protocol::Request>::KEY, $versions),)*];
    };
}

apis! {
    ApiVersionsRequest "ApiVersions" super::connection::API_VERSIONS;
    MetadataRequest "Metadata" super::metadata::VERSIONS, throttle_time_ms;
    FetchRequest "Fetch" super::fetch::VERSIONS, throttle_time_ms;
    ListOffsetsRequest "ListOffsets" super::list_offsets::VERSIONS, throttle_time_ms;
    OffsetForLeaderEpochRequest "OffsetForLeaderEpoch" super::offset_for_leader_epoch::VERSIONS, throttle_time_ms;
    DescribeConfigsRequest "DescribeConfigs" super::describe_configs::VERSIONS, throttle_time_ms;
    DescribeAclsRequest "DescribeAcls" super::describe_acls::VERSIONS, throttle_time_ms;
    SaslHandshakeRequest "SaslHandshake" super::connection::SASL_HANDSHAKE;
    SaslAuthenticateRequest "SaslAuthenticate" super::connection::SASL_AUTHENTICATE;
    DescribeClusterRequest "DescribeCluster" super::describe_cluster::VERSIONS, throttle_time_ms;
    ListGroupsRequest "ListGroups" super::list_groups::VERSIONS, throttle_time_ms;
    FindCoordinatorRequest "FindCoordinator" super::find_coordinator::VERSIONS, throttle_time_ms;
    OffsetFetchRequest "OffsetFetch" super::offset_fetch::VERSIONS, throttle_time_ms;
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
