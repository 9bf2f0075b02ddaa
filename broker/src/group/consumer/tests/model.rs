//! Random histories of a group against a model of its clients: whatever is lost, late or restarted,
//! no two members read one partition, and once heartbeats continue, everything is read.

use proptest::prelude::*;

use super::*;

const TOPICS: [&str; 3] = ["foo", "foobar", "bar"];

/// A client that behaves like the Java one: it releases what it is told to, reports what it reads,
/// and starts again when it is fenced.
#[derive(Clone, Debug)]
struct Client {
    id: String,
    epoch: i32,
    regex: Option<&'static str>,
    topics: Vec<&'static str>,
    /// What it has been told to read.
    told: Partitions,
    /// What it reads.
    owned: Partitions,
    /// The group knows what it subscribes to and reads.
    in_step: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Join {
        topics: Vec<&'static str>,
        regex: Option<&'static str>,
    },
    /// A heartbeat; its answer may be lost.
    Beat {
        client: usize,
        lost: bool,
    },
    /// The client does what it has been told.
    Follow {
        client: usize,
    },
    Resubscribe {
        client: usize,
        topics: Vec<&'static str>,
    },
    Leave {
        client: usize,
    },
    Crash {
        client: usize,
    },
    Grow {
        topic: usize,
    },
    Delete {
        topic: usize,
    },
    Wait {
        ms: i64,
    },
    /// It is found out which topics match.
    Resolve,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topics = || proptest::sample::subsequence(&TOPICS[..], 0..=3);
    let regex = || proptest::option::weighted(0.3, proptest::sample::select(&["foo.*", "ba."][..]));
    let client = || 0..6_usize;
    let step = prop_oneof![
        3 => (topics(), regex()).prop_map(|(topics, regex)| Step::Join { topics, regex }),
        10 => (client(), proptest::bool::weighted(0.2))
            .prop_map(|(client, lost)| Step::Beat { client, lost }),
        8 => client().prop_map(|client| Step::Follow { client }),
        1 => (client(), topics())
            .prop_map(|(client, topics)| Step::Resubscribe { client, topics }),
        1 => client().prop_map(|client| Step::Leave { client }),
        1 => client().prop_map(|client| Step::Crash { client }),
        1 => (0..3_usize).prop_map(|topic| Step::Grow { topic }),
        1 => (0..3_usize).prop_map(|topic| Step::Delete { topic }),
        2 => (1..20_000_i64).prop_map(|ms| Step::Wait { ms }),
        3 => Just(Step::Resolve),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

struct Model {
    world: World,
    clients: Vec<Client>,
    next_id: usize,
}

impl Model {
    fn new(interval_ms: i32) -> Self {
        let mut world = World::new(&[("foo", 3), ("bar", 2)]);
        world.settings.assignment_interval_ms = interval_ms;
        Self {
            world,
            clients: Vec::new(),
            next_id: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join { topics, regex } => self.join(topics, regex),
            Step::Beat { client, lost } => self.on(client, |model, at| model.beat(at, lost)),
            Step::Follow { client } => self.on(client, Self::follow),
            Step::Resubscribe { client, topics } => self.on(client, |model, at| {
                model.clients[at].topics = topics;
                model.clients[at].in_step = false;
            }),
            Step::Leave { client } => self.on(client, |model, at| {
                let gone = model.clients.remove(at);
                let _ = model.world.leave(&gone.id);
            }),
            Step::Crash { client } => self.on(client, |model, at| drop(model.clients.remove(at))),
            Step::Grow { topic } => {
                let now = self.world.topics.get(TOPICS[topic]).copied().unwrap_or(0);
                self.world.set_topic(TOPICS[topic], now + 1);
            }
            Step::Delete { topic } => self.world.delete_topic(TOPICS[topic]),
            Step::Wait { ms } => self.world.advance(ms),
            Step::Resolve => {
                self.world.resolve();
            }
            Step::Restart => self.world.restart(),
        }
        self.check();
    }

    fn on(&mut self, client: usize, act: impl FnOnce(&mut Self, usize)) {
        if !self.clients.is_empty() {
            act(self, client % self.clients.len());
        }
    }

    fn join(&mut self, topics: Vec<&'static str>, regex: Option<&'static str>) {
        if self.clients.len() >= 6 {
            return;
        }
        self.next_id += 1;
        self.clients.push(Client {
            id: format!("m{}", self.next_id),
            epoch: JOIN_EPOCH,
            regex,
            topics,
            told: Partitions::new(),
            owned: Partitions::new(),
            in_step: false,
        });
    }

    fn beat(&mut self, at: usize, lost: bool) {
        if !self.clients[at].in_step {
            // A full heartbeat reports what it reads. So the client first does what it has been
            // told; otherwise it would later start to read what it has reported as not read.
            self.follow(at);
        }
        let client = &self.clients[at];
        let is_done = client.owned == client.told;
        let full = client.epoch == JOIN_EPOCH || !client.in_step;
        let request = HeartbeatRequest {
            rebalance_timeout_ms: if full { 10_000 } else { -1 },
            topics: full.then(|| {
                client
                    .topics
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect()
            }),
            regex: client.regex.filter(|_| full).map(str::to_owned),
            owned: is_done.then(|| owned_of(&client.owned)),
            ..super::beat(&client.id, client.epoch)
        };
        let answer = self.world.send(request);
        let client = &mut self.clients[at];
        match answer {
            _ if lost => client.in_step = false,
            Ok(answer) => {
                client.epoch = answer.member_epoch;
                client.in_step = true;
                client.told = answer.assignment.unwrap_or(client.told.clone());
            }
            Err(GroupError::FencedMemberEpoch | GroupError::UnknownMember) => {
                client.epoch = JOIN_EPOCH;
                client.owned.clear();
                client.told.clear();
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn follow(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.owned.clone_from(&client.told);
    }

    /// No partition is read by two clients that are members, nor one that the group does not know
    /// of. Who is fenced and has not heard of it cannot commit.
    fn check(&self) {
        let mut readers = HashMap::new();
        for client in &self.clients {
            let Some(member) = self.world.group.members.get(client.id.as_str()) else {
                continue;
            };
            if client.epoch == JOIN_EPOCH {
                continue;
            }
            for (topic, partitions) in &client.owned {
                for at in partitions {
                    let other = readers.insert((*topic, *at), &client.id);
                    assert_eq!(other, None, "{at} is read by {}, too", client.id);
                    assert!(
                        member.epoch_of(*topic, *at).is_some(),
                        "{} reads {at}, which it does not own: {member:?}",
                        client.id
                    );
                }
            }
        }
    }

    /// Heartbeats continue and nothing else happens.
    fn calm_down(&mut self) {
        // Crashed members are removed after their session; the others send heartbeats in time.
        for _ in 0..40 {
            self.world.advance(1_500);
            self.world.resolve();
            for at in 0..self.clients.len() {
                self.beat(at, false);
                self.check();
                self.follow(at);
                self.check();
            }
        }
        let mut missing: Vec<(TopicId, i32)> = Vec::new();
        for (name, count) in &self.world.topics {
            if self.world.group.is_subscribed(name) {
                missing.extend((0..*count).map(|at| (id_of(name), at)));
            }
        }
        let all = self.clients.iter().flat_map(|client| &client.owned);
        let read: Vec<_> = all
            .flat_map(|(topic, partitions)| partitions.iter().map(|at| (*topic, *at)))
            .collect();
        missing.retain(|partition| !read.contains(partition));
        assert!(missing.is_empty(), "nobody reads {missing:?}");
        let expected = match self.clients.is_empty() {
            true => ConsumerGroupState::Empty,
            false => ConsumerGroupState::Stable,
        };
        assert_eq!(self.world.state(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_partition_has_two_readers_and_all_have_one_in_the_end(
        steps in steps(),
        interval_ms in proptest::sample::select(&[0, 1_000][..]),
    ) {
        let mut model = Model::new(interval_ms);
        for step in steps {
            model.step(step);
        }
        model.calm_down();
    }
}
