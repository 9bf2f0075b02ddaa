//! Versions that can both be read as a request and written as a response: by the codec, or by
//! [`crate::newer`].
//!
//! `ApiKey::valid_versions` of the codec is the response's range alone and must not be advertised:
//! InitProducerId 6 cannot be read. What a broker offers is within [`supported`]; it may offer less
//! (and Produce from 0 for old clients, KIP-896).

use std::ops::RangeInclusive;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Message, Request};

use crate::newer;

/// Versions of `R` that the codec has for both request and response.
pub const fn of<R: Request>() -> RangeInclusive<i16> {
    let (request, response) = (R::VERSIONS, <R::Response as Message>::VERSIONS);
    let min = if request.min > response.min {
        request.min
    } else {
        response.min
    };
    let max = if request.max < response.max {
        request.max
    } else {
        response.max
    };
    min..=max
}

macro_rules! apis {
    ($($request:ty,)*) => {
        /// Versions of an API that can be read as a request and written as a response; `None` for
        /// APIs that are not spoken here.
        pub fn supported(api_key: i16) -> Option<RangeInclusive<i16>> {
            let codec = match api_key {
                $(<$request as Request>::KEY => of::<$request>(),)*
                _ => return None,
            };
            let newest = newer::newest(api_key).unwrap_or(*codec.end());
            Some(*codec.start()..=newest)
        }

        /// Decodes a request, whatever its bytes.
        #[cfg(test)]
        pub(crate) fn decode(
            api_key: i16,
            body: &mut bytes::Bytes,
            version: i16,
        ) -> Result<(), String> {
            match api_key {
                $(<$request as Request>::KEY => newer::read::<$request>(body, version).map(drop),)*
                _ => Err(format!("API key {api_key} is not listed")),
            }
        }

        /// Versions of which the request can be read.
        #[cfg(test)]
        pub(crate) fn of_request(api_key: i16) -> Option<RangeInclusive<i16>> {
            let codec = match api_key {
                $(<$request as Request>::KEY => <$request>::VERSIONS,)*
                _ => return None,
            };
            Some(codec.min..=newer::newest(api_key).unwrap_or(codec.max))
        }

        /// The APIs that [`supported`] knows, in order of their keys.
        pub const API_KEYS: &[i16] = &[$(<$request as Request>::KEY,)*];
    };
}

apis! {
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    FindCoordinatorRequest,
    JoinGroupRequest,
    HeartbeatRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    SaslHandshakeRequest,
    ApiVersionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteRecordsRequest,
    InitProducerIdRequest,
    OffsetForLeaderEpochRequest,
    AddPartitionsToTxnRequest,
    AddOffsetsToTxnRequest,
    EndTxnRequest,
    WriteTxnMarkersRequest,
    TxnOffsetCommitRequest,
    DescribeAclsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeConfigsRequest,
    AlterConfigsRequest,
    AlterReplicaLogDirsRequest,
    DescribeLogDirsRequest,
    SaslAuthenticateRequest,
    CreatePartitionsRequest,
    DeleteGroupsRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
    AlterPartitionReassignmentsRequest,
    ListPartitionReassignmentsRequest,
    OffsetDeleteRequest,
    DescribeClientQuotasRequest,
    AlterClientQuotasRequest,
    DescribeUserScramCredentialsRequest,
    AlterUserScramCredentialsRequest,
    DescribeQuorumRequest,
    DescribeClusterRequest,
    DescribeProducersRequest,
    DescribeTransactionsRequest,
    ListTransactionsRequest,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupDescribeRequest,
    ListConfigResourcesRequest,
    DescribeTopicPartitionsRequest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stop_where_the_request_decoder_does() {
        assert_eq!(of::<OffsetCommitRequest>(), 2..=9);
        assert_eq!(of::<OffsetFetchRequest>(), 1..=9);
        assert_eq!(of::<InitProducerIdRequest>(), 0..=5);
        assert_eq!(supported(0), Some(3..=13));
        assert_eq!(supported(1), Some(4..=18));
        assert_eq!(supported(2), Some(1..=11));
        assert_eq!(supported(8), Some(2..=10));
        assert_eq!(supported(9), Some(1..=10));
        assert_eq!(supported(27), Some(1..=2));
        assert_eq!(supported(4), None);
        assert!(API_KEYS.is_sorted());
    }
}
