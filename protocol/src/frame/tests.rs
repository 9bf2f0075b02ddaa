//! Frames and headers, against the codec and against lies.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::*;
use crate::client;

/// A request's frame without its length.
fn frame_of<R: Request>(request: &R, version: i16) -> Bytes {
    client::encode_request(42, "the client", request, version)
        .unwrap()
        .slice(4..)
}

fn decode_request<R: Request + 'static>(body: Bytes, version: i16) -> Result<R, FrameError> {
    RequestBody::check(R::KEY, version, body)?.decode()
}

#[test]
fn a_head_is_read_in_both_layouts_and_leaves_the_body() {
    let request = MetadataRequest::default().with_topics(None);
    for version in [1, 8, 9, 13] {
        let mut frame = frame_of(&request, version);
        let head = parse_request_head(&mut frame).unwrap();
        assert_eq!(
            (head.api_key, head.api_version, head.correlation_id),
            (3, version, 42)
        );
        assert_eq!(head.client_id.as_deref(), Some("the client"));
        let read: MetadataRequest = decode_request(frame, version).unwrap();
        assert_eq!(read.topics, None);
    }
}

#[test]
fn an_api_versions_request_of_the_future_has_a_head() {
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 2, b'm', b'e', 0, 1, 2, 3]);
    let mut frame = frame.freeze();
    let head = parse_request_head(&mut frame).unwrap();
    assert_eq!((head.api_version, head.correlation_id), (99, 7));
    assert_eq!(head.client_id.as_deref(), Some("me"));
    assert_eq!(frame[..], [1, 2, 3]);
    let refused = decode_request::<ApiVersionsRequest>(frame, 99);
    let error = ShapeError::Unsupported {
        api_key: 18,
        version: 99,
    };
    assert_eq!(refused.unwrap_err(), FrameError::Shape(error));
}

#[test]
fn a_head_without_client_id_is_fine_and_others_are_not() {
    let head = |bytes: &[u8]| parse_request_head(&mut Bytes::copy_from_slice(bytes));
    assert_eq!(
        head(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff])
            .unwrap()
            .client_id,
        None
    );
    assert_eq!(
        head(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xfe]),
        Err(FrameError::ClientId)
    );
    assert_eq!(
        head(&[0, 3, 0, 1, 0, 0, 0, 1, 0, 1, 0xff]),
        Err(FrameError::ClientId)
    );
    assert_eq!(
        head(&[0, 3, 0, 1, 0, 0, 0, 1, 0, 5, b'a']),
        Err(FrameError::HeaderCut)
    );
    assert_eq!(
        head(&[0, 3, 0, 9, 0, 0, 0, 1, 0, 0, 1]),
        Err(FrameError::HeaderTags)
    );
    assert_eq!(head(&[0x7f, 3, 0, 9]), Err(FrameError::UnknownApi(0x7f03)));
    assert_eq!(head(&[0, 3, 0]), Err(FrameError::HeaderCut));
}

#[test]
fn bytes_after_a_request_are_not_looked_at() {
    // What librdkafka sends for all topics: it reserves four bytes for the number and leaves them zero.
    let body = Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0]);
    let read = decode_request::<MetadataRequest>(body, 13).unwrap();
    assert_eq!(read.topics, None);
}

#[test]
fn records_of_a_produce_request_share_the_frame() {
    let records = Bytes::from(vec![7u8; 1000]);
    let mut partition = produce_request::PartitionProduceData::default();
    partition.records = Some(records.clone());
    let topic = produce_request::TopicProduceData::default().with_partition_data(vec![partition]);
    for version in 3..=13 {
        let request = ProduceRequest::default().with_topic_data(vec![topic.clone()]);
        let mut frame = frame_of(&request, version);
        let span = frame.as_ptr_range();
        parse_request_head(&mut frame).unwrap();
        let read: ProduceRequest = decode_request(frame, version).unwrap();
        let found = read.topic_data[0].partition_data[0]
            .records
            .clone()
            .unwrap();
        assert_eq!(found, records);
        assert!(span.contains(&found.as_ptr()));
    }
}

#[test]
fn a_response_is_a_whole_frame() {
    let response = MetadataResponse::default();
    for (version, header_version) in [(8, 0), (9, 1)] {
        let frame = encode_response(5, header_version, &response, version).unwrap();
        let mut rest = frame.clone();
        assert_eq!(rest.get_i32() as usize, frame.len() - LENGTH_BYTES);
        assert_eq!(rest.get_i32(), 5);
        if header_version == 1 {
            assert_eq!(rest.get_u8(), 0);
        }
        assert_eq!(
            MetadataResponse::decode(&mut rest, version).unwrap(),
            response
        );
    }
}

#[test]
fn a_field_the_version_lacks_is_an_error() {
    let response = FetchResponse::default().with_session_id(3);
    assert!(matches!(
        encode_response(5, 0, &response, 4),
        Err(FrameError::Encode { version: 4, .. })
    ));
}

proptest! {
    #[test]
    fn heads_round_trip(
        correlation_id in any::<i32>(),
        client_id in ".{0,20}",
        version in 0i16..=13,
    ) {
        let request = MetadataRequest::default();
        let frame = client::encode_request(correlation_id, &client_id, &request, version);
        let mut frame = frame.unwrap().slice(4..);
        let head = parse_request_head(&mut frame).unwrap();
        prop_assert_eq!((head.api_key, head.api_version), (3, version));
        prop_assert_eq!(head.correlation_id, correlation_id);
        prop_assert_eq!(head.client_id.as_deref(), Some(&client_id[..]));
        prop_assert!(decode_request::<MetadataRequest>(frame, version).is_ok());
    }

    #[test]
    fn arbitrary_frames_never_panic(
        key in prop_oneof![0i16..80, any::<i16>()],
        version in prop_oneof![0i16..14, any::<i16>()],
        rest in proptest::collection::vec(any::<u8>(), 0..60),
        cut in 0usize..4,
    ) {
        let mut frame = BytesMut::new();
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_slice(&rest);
        let _ = parse_request_head(&mut frame.clone().freeze());
        let _ = parse_request_head(&mut frame.freeze().slice(..cut));
    }
}
