//! Requests and answers of the client's side, against the codec.

use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::*;
use proptest::prelude::*;

use super::*;
use crate::frame::encode_response;
use crate::shapes::ShapeError;

/// What a broker answers to `R`, without the frame's length.
fn answer<R: Request<Response: 'static>>(response: &R::Response, version: i16) -> Bytes {
    let header_version = R::Response::header_version(version);
    encode_response(9, header_version, response, version)
        .unwrap()
        .slice(4..)
}

#[test]
fn responses_are_read_in_every_version() {
    let mut partition = PartitionData::default();
    partition.records = Some(Bytes::from_static(b"some batches"));
    let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
    let response = FetchResponse::default().with_responses(vec![topic]);
    for version in 4..=18 {
        let frame = answer::<FetchRequest>(&response, version);
        assert_eq!(response_correlation_id(&frame), Ok(9));
        let (id, read) = decode_response::<FetchRequest>(frame.clone(), version).unwrap();
        assert_eq!((id, &read), (9, &response));
        let records = read.responses[0].partitions[0].records.clone().unwrap();
        assert!(
            frame.as_ptr_range().contains(&records.as_ptr()),
            "records are a slice"
        );
    }
}

#[test]
fn an_api_versions_response_never_has_header_tags() {
    let response = ApiVersionsResponse::default();
    for version in 0..=4 {
        let frame = answer::<ApiVersionsRequest>(&response, version);
        let (_, read) = decode_response::<ApiVersionsRequest>(frame, version).unwrap();
        assert_eq!(read, response);
    }
}

#[test]
fn a_response_without_shape_is_not_decoded() {
    let frame = answer::<EndTxnRequest>(&EndTxnResponse::default(), 0);
    let refused = decode_response::<EndTxnRequest>(frame, 0).unwrap_err();
    let error = ShapeError::Unsupported {
        api_key: 26,
        version: 0,
    };
    assert_eq!(refused, FrameError::Shape(error));
}

#[test]
fn an_overlong_client_id_is_refused() {
    let request = ApiVersionsRequest::default();
    let refused = encode_request(1, &"x".repeat(40_000), &request, 0);
    assert_eq!(refused, Err(FrameError::ClientId));
}

proptest! {
    #[test]
    fn arbitrary_responses_never_panic(
        version in 4i16..=18,
        frame in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..80),
    ) {
        let frame = Bytes::from(frame);
        let _ = response_correlation_id(&frame);
        let _ = decode_response::<FetchRequest>(frame.clone(), version);
        let _ = decode_response::<MetadataRequest>(frame.clone(), version - 5);
        let _ = decode_response::<ApiVersionsRequest>(frame, version % 5);
    }
}
