//! Every API in every version, asked by a client that makes things up: well-formed requests without
//! sense, cut ones, ones with flipped bits, and ones that claim more than there is.
//!
//! Requests are made from the descriptions of their fields (`protocol::shapes`), with the names of
//! what exists among the texts, and changed by proptest.

use std::sync::Arc;

use carrick_protocol::shapes::sample_request;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::api::Connection;
use crate::api::table::APIS;
use crate::principal::Principal;
use crate::testing::TestClient;

const WORDS: &[&str] = &[
    "t",
    "g",
    "test",
    "",
    "a.b",
    "..",
    "consumer",
    "range",
    "user",
    "client-id",
    "producer_byte_rate",
    "retention.ms",
    "cleanup.policy",
    "1",
    "-1",
];

/// What is done to a well-formed body.
#[derive(Debug, Clone)]
enum Harm {
    None,
    Cut(Index),
    Flip(Vec<(Index, u8)>),
    /// Four bytes that claim very much.
    Boast(Index),
    Append(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Made {
    api: Index,
    version: Index,
    seed: u64,
    harm: Harm,
}

fn made() -> impl Strategy<Value = Made> {
    let harm = prop_oneof![
        2 => Just(Harm::None),
        1 => any::<Index>().prop_map(Harm::Cut),
        2 => prop::collection::vec((any::<Index>(), 1..=255_u8), 1..4).prop_map(Harm::Flip),
        1 => any::<Index>().prop_map(Harm::Boast),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Harm::Append),
    ];
    (any::<Index>(), any::<Index>(), any::<u64>(), harm).prop_map(|(api, version, seed, harm)| {
        Made {
            api,
            version,
            seed,
            harm,
        }
    })
}

impl Made {
    /// The request with its header, without its length.
    fn frame(&self) -> Bytes {
        let entry = self.api.get(APIS);
        let versions: Vec<i16> = (entry.min..=entry.max).collect();
        self.frame_of(entry.key, *self.version.get(&versions))
    }

    fn frame_of(&self, key: ApiKey, version: i16) -> Bytes {
        let mut frame = Vec::new();
        frame.extend((key as i16).to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(7_i32.to_be_bytes());
        frame.extend(4_i16.to_be_bytes());
        frame.extend(b"evil");
        if key.request_header_version(version) >= 2 {
            frame.push(0);
        }
        let head = frame.len();
        frame.extend(sample_request(key as i16, version, self.seed, WORDS).unwrap());
        let body = frame.len() - head;
        match &self.harm {
            _ if body == 0 => {}
            Harm::None => {}
            Harm::Cut(at) => frame.truncate(head + at.index(body)),
            Harm::Flip(flips) => {
                for (at, bits) in flips {
                    frame[head + at.index(body)] ^= bits;
                }
            }
            Harm::Boast(at) => {
                let from = head + at.index(body);
                let to = frame.len().min(from + 4);
                frame[from..to].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff][..to - from]);
            }
            Harm::Append(bytes) => frame.extend(bytes),
        }
        Bytes::from(frame)
    }
}

/// Hands a frame to dispatch and gives the answer a moment to come; whether that ended without a
/// panic. What still waits (a join, a poll) is dropped, as when its connection breaks.
async fn survives(context: Context, frame: Bytes) -> bool {
    let handled = tokio::spawn(async move {
        let mut context = context;
        if let Ok(Reply::Later(answer)) = handle(&mut context, frame) {
            drop(tokio::time::timeout(Duration::from_millis(5), answer).await);
        }
    });
    handled.await.is_ok()
}

async fn world() -> TestBroker {
    let it = TestBroker::start(&["auto.create.topics.enable=false"]).await;
    it.create("t", 2);
    it.create("good", 1);
    let mut client = it.client().await;
    client.produce("t", 0, -1, batch(&["a", "b"])).await;
    it
}

/// An honest client is served.
async fn serves(client: &mut TestClient) {
    let all = async {
        let answer = client.produce("good", 0, -1, batch(&["x"])).await;
        assert_eq!(answer.error_code, 0);
        let fetched = client.call(12, &fetch("good", 0, 1_000)).await;
        assert!(!data(&fetched).records.as_ref().unwrap().is_empty());
    };
    let limit = Duration::from_secs(300);
    tokio::time::timeout(limit, all).await.expect("an answer");
}

#[test]
fn made_up_requests_never_make_a_handler_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let it = runtime.block_on(world());
    let connection = Arc::new(Connection::new(
        it.broker().endpoints[0].bound,
        0,
        Principal::anonymous(),
    ));
    let context = Context::new(it.broker().clone(), connection);
    let config = Config {
        cases: 3_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&made(), |made| {
        let survived = runtime.block_on(survives(context.clone(), made.frame()));
        prop_assert!(survived);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    runtime.block_on(async { serves(&mut it.client().await).await });
}

#[test]
fn every_version_of_every_api_survives_senseless_requests() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let it = runtime.block_on(world());
    let connection = Arc::new(Connection::new(
        it.broker().endpoints[0].bound,
        0,
        Principal::anonymous(),
    ));
    let mut runner = TestRunner::deterministic();
    for entry in APIS {
        for version in entry.min..=entry.max {
            for _ in 0..8 {
                let made = made().new_tree(&mut runner).unwrap().current();
                let context = Context::new(it.broker().clone(), connection.clone());
                let frame = made.frame_of(entry.key, version);
                let survived = runtime.block_on(survives(context, frame));
                assert!(survived, "{} {version}: {made:?}", entry.name);
            }
        }
    }
    runtime.block_on(async { serves(&mut it.client().await).await });
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_with_made_up_requests_do_not_wedge_an_honest_one() {
    let it = world().await;
    let mut honest = it.client().await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..20 {
        let mut evil = Vec::new();
        for _ in 0..25 {
            let mut client = it.client().await;
            // Several in a row: what follows a malformed one is never read.
            for _ in 0..3 {
                let made = made().new_tree(&mut runner).unwrap().current();
                let frame = made.frame();
                let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
                client.try_send_bytes(&[&length[..], &frame].concat()).await;
            }
            evil.push(client);
        }
        serves(&mut honest).await;
        let broken = select(vec![
            &b"\0\0\0\x05abc"[..],
            b"\xff\xff\xff\xff",
            b"\0\0\0\0",
            b"",
        ]);
        let broken = broken.new_tree(&mut runner).unwrap().current();
        for client in &mut evil {
            client.try_send_bytes(broken).await;
        }
        drop(evil);
        serves(&mut honest).await;
    }
}
