//! Each description is proved against the codec: bytes made from the description must be exactly
//! what the codec reads, and whatever passes the walk must be harmless to decode.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Message, Request};
use proptest::prelude::*;

use super::sample::{Fault, Writer};
use super::*;
use crate::versions;

/// Messages per version and property.
const ROUNDS: u64 = 40;

macro_rules! responses {
    ($($request:ty,)*) => {
        fn decode_response(api_key: i16, body: &mut Bytes, version: i16) -> Result<(), String> {
            let decoded = match api_key {
                $(<$request as Request>::KEY => {
                    <$request as Request>::Response::decode(body, version).map(drop)
                })*
                _ => return Err(format!("API key {api_key} is not listed")),
            };
            decoded.map_err(|error| error.to_string())
        }

        fn response_versions(api_key: i16) -> Option<RangeInclusive<i16>> {
            match api_key {
                $(<$request as Request>::KEY => {
                    let range = <<$request as Request>::Response as Message>::VERSIONS;
                    Some(range.min..=range.max)
                })*
                _ => None,
            }
        }

        const RESPONSE_KEYS: &[i16] = &[$(<$request as Request>::KEY,)*];
    };
}

responses! {
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetFetchRequest,
    FindCoordinatorRequest,
    ListGroupsRequest,
    SaslHandshakeRequest,
    ApiVersionsRequest,
    OffsetForLeaderEpochRequest,
    DescribeAclsRequest,
    DescribeConfigsRequest,
    SaslAuthenticateRequest,
    DescribeClusterRequest,
}

/// One version of one message.
#[derive(Clone, Copy, Debug)]
struct Case {
    api_key: i16,
    version: i16,
    is_request: bool,
}

impl Case {
    fn program(self) -> &'static Program {
        let table = if self.is_request {
            &REQUESTS
        } else {
            &RESPONSES
        };
        table.program(self.api_key, self.version).unwrap()
    }

    /// Bytes of the case.
    fn write(self, seed: u64, fault: Fault) -> Writer {
        let mut writer = Writer::new(seed, fault, &[]);
        writer.program(self.program());
        writer
    }

    fn preflight(self, body: &[u8]) -> Result<usize, ShapeError> {
        preflight(self.api_key, self.version, self.is_request, body).map(|walked| walked.length)
    }

    fn problem(self, body: &[u8]) -> Option<Problem> {
        match self.preflight(body) {
            Ok(_) => None,
            Err(ShapeError::Malformed { problem, .. }) => Some(problem),
            Err(error) => panic!("{self:?}: {error}"),
        }
    }

    /// Bytes that the codec leaves, or why it refuses.
    fn decode(self, body: &[u8]) -> Result<usize, String> {
        let mut body = Bytes::copy_from_slice(body);
        match self.is_request {
            true => versions::decode(self.api_key, &mut body, self.version)?,
            false => decode_response(self.api_key, &mut body, self.version)?,
        }
        Ok(body.len())
    }
}

fn cases() -> Vec<Case> {
    let of = |descriptions: &'static [Description], is_request| {
        descriptions.iter().flat_map(move |description| {
            let api_key = description.api_key;
            description.versions.clone().map(move |version| Case {
                api_key,
                version,
                is_request,
            })
        })
    };
    of(requests::REQUESTS, true)
        .chain(of(responses::RESPONSES, false))
        .collect()
}

#[test]
fn each_description_covers_the_codecs_versions() {
    let keys = |all: &[Description]| all.iter().map(|d| d.api_key).collect::<Vec<_>>();
    assert_eq!(keys(requests::REQUESTS), versions::API_KEYS);
    for description in requests::REQUESTS {
        assert_eq!(
            versions::of_request(description.api_key),
            Some(description.versions.clone())
        );
    }
    let mut listed = keys(responses::RESPONSES);
    listed.sort_unstable();
    let mut expected = RESPONSE_KEYS.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for description in responses::RESPONSES {
        assert_eq!(
            response_versions(description.api_key),
            Some(description.versions.clone())
        );
    }
    // Every description keeps the notation: each version has its program.
    assert!(
        cases()
            .into_iter()
            .all(|case| case.program().min_bytes < 200)
    );
}

#[test]
fn what_the_shape_describes_the_codec_reads_to_the_last_byte() {
    for case in cases() {
        for seed in 0..ROUNDS {
            let body = case.write(seed, Fault::None).out;
            assert_eq!(case.problem(&body), None, "{case:?} seed {seed}");
            match case.decode(&body) {
                Ok(left) => assert_eq!(left, 0, "{case:?} seed {seed}: {body:?}"),
                // A tag of another version, which the codec refuses before it reads the value.
                Err(error) if error.contains("is not valid for version") => {}
                Err(error) => panic!("{case:?} seed {seed}: {error}: {body:?}"),
            }
        }
    }
}

#[test]
fn no_length_can_lie() {
    for case in cases() {
        for seed in 0..ROUNDS / 4 {
            let places = case.write(seed, Fault::None).lies;
            for place in 0..places {
                let body = case.write(seed, Fault::Lie(place)).out;
                assert_eq!(
                    case.problem(&body),
                    Some(Problem::Cut),
                    "{case:?} seed {seed} place {place}"
                );
            }
        }
    }
}

/// Where the codec takes nulls that the protocol has not: topics and names of Metadata, topics of
/// OffsetFetch 1.
fn codec_takes_any_null(case: Case) -> bool {
    case.api_key == 3 || (case.api_key == 9 && case.version == 1)
}

#[test]
fn nulls_are_refused_where_the_protocol_has_none() {
    for case in cases() {
        for seed in 0..ROUNDS / 4 {
            let places = case.write(seed, Fault::None).nulls;
            for place in 0..places {
                let body = case.write(seed, Fault::Null(place)).out;
                assert_eq!(
                    case.problem(&body),
                    Some(Problem::Null),
                    "{case:?} seed {seed} place {place}"
                );
                let codec_takes_it = case.decode(&body) == Ok(0);
                assert!(
                    !codec_takes_it || codec_takes_any_null(case),
                    "{case:?} seed {seed} place {place}: the shape is too strict"
                );
            }
        }
    }
}

#[test]
fn a_body_that_is_cut_is_refused_and_one_that_is_too_long_if_it_is_a_response() {
    for case in cases() {
        let mut body = case.write(7, Fault::None).out;
        for cut in 0..body.len() {
            assert!(
                case.problem(&body[..cut]).is_some(),
                "{case:?} cut at {cut}"
            );
        }
        let length = body.len();
        body.push(0);
        match case.preflight(&body) {
            Ok(walked) => assert!(case.is_request && walked == length, "{case:?}"),
            Err(error) => assert!(!case.is_request, "{case:?}: {error}"),
        }
    }
}

#[test]
fn elements_are_counted_on_all_levels() {
    // ListOffsets 1: replica id; two topics, of one and of three partitions.
    let partition = [0; 4 + 8];
    let topic = |partitions: usize| {
        let count = (partitions as i32).to_be_bytes();
        [&[0, 1, b't'], &count[..], &partition.repeat(partitions)].concat()
    };
    let body = [&[0; 4][..], &2_i32.to_be_bytes(), &topic(1), &topic(3)].concat();
    let walked = preflight(2, 1, true, &body).unwrap();
    let (length, elements) = (body.len(), 2 + 1 + 3);
    assert_eq!(walked, Walked { length, elements });
}

#[test]
fn other_apis_and_versions_are_refused() {
    for (api_key, version) in [
        (0, 2),
        (0, 14),
        (0, -1),
        (4, 0),
        (-1, 0),
        (i16::MAX, 0),
        (9, 11),
        (2, 12),
    ] {
        assert_eq!(
            preflight(api_key, version, true, &[]),
            Err(ShapeError::Unsupported { api_key, version })
        );
    }
}

#[test]
fn elements_are_limited_even_if_the_bytes_are_there() {
    let count = REQUEST_ELEMENTS_MAX + 1;
    // Metadata 0: an array of strings, each empty.
    let mut body = (count as i32).to_be_bytes().to_vec();
    body.resize(4 + 2 * count, 0);
    let case = Case {
        api_key: 3,
        version: 0,
        is_request: true,
    };
    assert_eq!(case.problem(&body), Some(Problem::Elements));
}

#[test]
fn a_tagged_field_has_the_size_it_says() {
    // Fetch 12, all empty, then cluster id (tag 0) "ab" in 3 bytes.
    let fixed = [0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
    let body = |size: u8| [&fixed[..], &[1, 1, 1, 1, 0, size, 3, b'a', b'b']].concat();
    let case = Case {
        api_key: 1,
        version: 12,
        is_request: true,
    };
    assert_eq!(case.problem(&body(3)), None);
    assert_eq!(case.problem(&body(2)), Some(Problem::TagSize));
}

#[test]
fn header_tags_are_measured() {
    assert_eq!(tagged_fields_len(&[0, 9, 9]), Ok(1));
    assert_eq!(tagged_fields_len(&[1, 5, 2, 9, 9, 9]), Ok(5));
    assert_eq!(tagged_fields_len(&[]), Err(Problem::Cut));
    assert_eq!(tagged_fields_len(&[1, 5, 2, 9]), Err(Problem::Cut));
    assert_eq!(
        tagged_fields_len(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
        Err(Problem::Varint)
    );
}

fn any_case() -> impl Strategy<Value = Case> {
    proptest::sample::select(cases())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_bodies_never_panic(
        case in any_case(),
        seed in any::<u64>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = case.write(seed, Fault::None).out;
        for (at, value) in edits {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = value;
            }
        }
        if let Ok(length) = case.preflight(&body) {
            let left = case.decode(&body[..length]).unwrap_or(0);
            prop_assert_eq!(left, 0, "the codec read less than the shape has");
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        case in any_case(),
        body in proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..80),
    ) {
        if let Ok(length) = case.preflight(&body) {
            let left = case.decode(&body[..length]).unwrap_or(0);
            prop_assert_eq!(left, 0, "the codec read less than the shape has");
        }
    }
}
