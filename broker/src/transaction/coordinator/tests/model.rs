//! Two producers with one transactional id, in any order, with restarts: what was committed is
//! read, what was aborted is not, and who was fenced is out.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Init(usize),
    Write(usize, i32),
    End(usize, bool),
    TimeIsOver,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..2_usize;
    prop_oneof![
        3 => who().prop_map(Step::Init),
        8 => (who(), 0..2).prop_map(|(who, partition)| Step::Write(who, partition)),
        5 => (who(), any::<bool>()).prop_map(|(who, commit)| Step::End(who, commit)),
        1 => Just(Step::TimeIsOver),
        1 => Just(Step::Restart),
    ]
}

/// What a producer believes.
#[derive(Clone, Default)]
struct Instance {
    producer: Option<Producer>,
    sequences: [i32; 2],
    open: Vec<(usize, String)>,
}

struct Model {
    world: World,
    version: Version,
    instances: [Instance; 2],
    /// Who was initialized last, unless fenced since.
    owner: Option<usize>,
    /// The producer whose transaction timed out and was aborted. With the second version, its own
    /// abort repeats that, and it continues with the epoch in the answer.
    timed_out: Option<usize>,
    committed: [Vec<String>; 2],
    written: usize,
}

impl Model {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Init(who) => self.init(*who).await,
            Step::Write(who, partition) => self.write(*who, *partition).await,
            Step::End(who, commit) => self.end(*who, *commit).await,
            Step::TimeIsOver => self.time_is_over().await,
            Step::Restart => {}
        }
    }

    async fn init(&mut self, who: usize) {
        let producer = self.world.init("t").await;
        let before = self.instances.iter().filter_map(|other| other.producer);
        for before in before {
            assert_ne!(before, producer, "nobody else has that epoch");
        }
        self.instances[who] = Instance {
            producer: Some(producer),
            ..Instance::default()
        };
        self.owner = Some(who);
        self.timed_out = None;
    }

    async fn write(&mut self, who: usize, number: i32) {
        let at = number as usize;
        let Some(producer) = self.instances[who].producer else {
            return;
        };
        self.written += 1;
        let value = format!("{who}-{}", self.written);
        let sequence = self.instances[who].sequences[at];
        let version = self.version;
        if version == Version::V1 {
            let added = [partition(number)];
            let add = self
                .world
                .transactions()
                .add("t", producer, &added, &[], version);
            if add.await.is_err() {
                assert_ne!(self.owner, Some(who), "the owner may add");
                return;
            }
        }
        let written = self
            .world
            .write("t", producer, version, number, (sequence, &value));
        match written.await {
            Ok(_) => {
                assert_eq!(self.owner, Some(who), "zombies are fenced");
                self.instances[who].sequences[at] += 1;
                self.instances[who].open.push((at, value));
            }
            Err(error) => assert_ne!(self.owner, Some(who), "the owner may write: {error}"),
        }
    }

    async fn end(&mut self, who: usize, commit: bool) {
        let Some(producer) = self.instances[who].producer else {
            return;
        };
        let outcome = if commit {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        let version = self.version;
        let ended = self
            .world
            .transactions()
            .end("t", producer, outcome, version);
        let ended = ended.await;
        self.world.settle().await;
        let instance = &mut self.instances[who];
        match ended {
            Ok(next) => {
                if !commit && version == Version::V2 && self.timed_out == Some(who) {
                    self.owner = Some(who);
                    self.timed_out = None;
                }
                assert_eq!(self.owner, Some(who), "zombies are fenced");
                if version == Version::V2 {
                    instance.producer = Some(next);
                    instance.sequences = [0, 0];
                }
                for (at, value) in instance.open.drain(..) {
                    if commit {
                        self.committed[at].push(value);
                    }
                }
            }
            Err(TxnError::InvalidState) if self.owner == Some(who) => {
                assert!(instance.open.is_empty());
            }
            Err(error) => assert_ne!(self.owner, Some(who), "the owner may end: {error}"),
        }
    }

    async fn time_is_over(&mut self) {
        let ids = &self.world.transactions().ids;
        let is_ongoing = self
            .world
            .transactions()
            .describe("t")
            .is_ok_and(|txn| txn.state == State::Ongoing);
        if is_ongoing {
            self.timed_out = self.owner.take();
        }
        sweep::abort_timed_out(ids, clock::now_ms() + 61_000).await;
        self.world.settle().await;
    }

    fn check(&self) {
        for (at, expected) in self.committed.iter().enumerate() {
            let mut expected = expected.clone();
            let mut read = self.world.committed(at as i32);
            // Order among producers is the log's order, which the model does not follow.
            expected.sort();
            read.sort();
            assert_eq!(read, expected, "partition {at}");
        }
    }
}

async fn play(version: Version, steps: Vec<Step>) {
    let world = World::start().await;
    let mut model = Model {
        world,
        version,
        instances: [Instance::default(), Instance::default()],
        owner: None,
        timed_out: None,
        committed: [Vec::new(), Vec::new()],
        written: 0,
    };
    for step in &steps {
        if let Step::Restart = step {
            model.world = model.world.restart().await;
        } else {
            model.step(step).await;
        }
    }
    model.time_is_over().await;
    assert!(!model.world.has_open_transactions());
    model.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn two_producers_of_one_id_never_mix(
        raised: bool,
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let version = if raised { Version::V2 } else { Version::V1 };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play(version, steps));
    }
}
