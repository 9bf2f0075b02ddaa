//! Random lives of a group: whatever members, the clock and the disk do, the invariants hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What may happen next. Members are numbers: those that have an id use it.
#[derive(Clone, Debug)]
enum Act {
    Join {
        who: u8,
        metadata: bool,
        required: bool,
        protocol: u8,
    },
    StaticJoin {
        instance: u8,
        fresh: bool,
    },
    Sync {
        who: u8,
        stale: bool,
    },
    Heartbeat {
        who: u8,
    },
    Commit {
        who: u8,
        generation: i8,
    },
    Leave {
        who: u8,
    },
    Pass {
        ms: u16,
    },
    Store {
        fails: bool,
    },
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..6u8, any::<bool>(), any::<bool>(), 0..4u8).prop_map(
            |(who, metadata, required, protocol)| Act::Join { who, metadata, required, protocol }
        ),
        2 => (0..2u8, any::<bool>())
            .prop_map(|(instance, fresh)| Act::StaticJoin { instance, fresh }),
        6 => (0..8u8, any::<bool>()).prop_map(|(who, stale)| Act::Sync { who, stale }),
        4 => (0..8u8).prop_map(|who| Act::Heartbeat { who }),
        3 => (0..8u8, -2..3i8).prop_map(|(who, generation)| Act::Commit { who, generation }),
        1 => (0..8u8).prop_map(|who| Act::Leave { who }),
        5 => (0..20_000u16).prop_map(|ms| Act::Pass { ms }),
        4 => any::<bool>().prop_map(|fails| Act::Store { fails }),
        1 => Just(Act::Restart),
    ]
}

/// A group's random life and what the outside world has seen of it.
struct Life {
    world: World,
    /// The id each number goes by; static instances are numbers 6 and 7.
    ids: BTreeMap<u8, String>,
    born: u32,
    /// Joins and syncs sent, by ticket, with the member's number.
    joins: BTreeMap<Ticket, u8>,
    syncs: BTreeMap<Ticket, u8>,
    /// Who led each generation, as its members were told.
    leaders: BTreeMap<i32, BTreeSet<String>>,
    /// What each generation's leader assigned to each member, in any of its syncs.
    assigned: BTreeMap<(i32, String), BTreeSet<Bytes>>,
    last: (GroupState, i32),
}

const FIRST_STATIC: u8 = 6;

impl Life {
    fn new() -> Self {
        let mut world = World::with(GroupConfig {
            max_size: 4,
            ..config()
        });
        world.disk_is_quick = false;
        Self {
            last: (world.state(), 0),
            world,
            ids: BTreeMap::new(),
            born: 0,
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            leaders: BTreeMap::new(),
            assigned: BTreeMap::new(),
        }
    }

    fn fresh(&mut self, who: u8) -> String {
        self.born += 1;
        format!("m{who}-{}", self.born)
    }

    fn id(&self, who: u8) -> MemberId {
        self.ids
            .get(&who)
            .map_or_else(|| "nobody".into(), |id| id.as_str().into())
    }

    fn instance(who: u8) -> Option<InstanceId> {
        (who >= FIRST_STATIC).then(|| format!("i{who}").into())
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Join {
                who,
                metadata,
                required,
                protocol,
            } => {
                let fresh = self.fresh(who);
                let mut request = first_join(&fresh);
                request.member_id_required = required;
                if let Some(id) = self.ids.get(&who) {
                    request.member_id = id.as_str().into();
                }
                let names: &[&str] = match protocol {
                    0 => &["range"],
                    1 => &["robin", "range"],
                    2 => &["range", "robin"],
                    _ => &["odd"],
                };
                request.info.protocols = protocols(names, if metadata { "x" } else { "y" });
                self.send_join(who, request);
            }
            Act::StaticJoin { instance, fresh } => {
                let who = FIRST_STATIC + instance;
                let name = self.fresh(who);
                let mut request = static_join(&format!("i{who}"), &name);
                if !fresh {
                    request.member_id = self.id(who);
                }
                self.send_join(who, request);
            }
            Act::Sync { who, stale } => self.send_sync(who, stale),
            Act::Heartbeat { who } => {
                let request = HeartbeatRequest {
                    member_id: self.id(who),
                    instance_id: Self::instance(who),
                    generation: self.world.group.generation(),
                };
                let _ = self.world.group.heartbeat(&request, self.world.now);
            }
            Act::Commit { who, generation } => self.commit(who, generation),
            Act::Leave { who } => {
                let leaving = Leaving {
                    member_id: self.id(who),
                    instance_id: Self::instance(who),
                };
                let (_, effects) = self.world.group.leave(&[leaving], self.world.now);
                self.world.take(effects);
            }
            Act::Pass { ms } => self.world.pass(i64::from(ms)),
            Act::Store { fails } => {
                if !self.world.unstored.is_empty() {
                    let result = if fails {
                        Err(GroupError::NotStored)
                    } else {
                        Ok(())
                    };
                    self.world.store(result);
                }
            }
            Act::Restart => self.restart(),
        }
    }

    fn send_join(&mut self, who: u8, request: JoinRequest) {
        let ticket = self.world.join(request);
        self.joins.insert(ticket, who);
    }

    fn send_sync(&mut self, who: u8, stale: bool) {
        let (id, generation) = (self.id(who), self.world.group.generation());
        let mut request = sync_of(&self.world, id.as_str());
        request.instance_id = Self::instance(who);
        request.generation -= i32::from(stale);
        for (member, assignment) in &mut request.assignments {
            *assignment = format!("{member} in {generation} by {id}").into();
            let given = self
                .assigned
                .entry((generation, member.to_string()))
                .or_default();
            given.insert(assignment.clone());
        }
        let ticket = self.world.sync(request);
        self.syncs.insert(ticket, who);
    }

    /// A commit is taken from members of the present generation only.
    fn commit(&mut self, who: u8, offset: i8) {
        let fence = CommitFence {
            member_id: self.id(who),
            instance_id: Self::instance(who),
            generation: self.world.group.generation() + i32::from(offset),
            knows_epochs: true,
        };
        let group = &self.world.group;
        let belongs = group.members.contains_key(&fence.member_id) && offset == 0;
        let simple = group.state() == GroupState::Empty && fence.generation < 0;
        let result = self.world.group.fence_commit(&fence, self.world.now);
        assert!(
            result.is_err() || belongs || simple,
            "a commit of {fence:?} was taken"
        );
    }

    /// The broker dies and comes back: what is on disk is all there is.
    fn restart(&mut self) {
        let config = self.world.group.config.clone();
        self.world.unstored.clear();
        self.world.group = match self.world.stored.last() {
            Some(record) => ClassicGroup::restore(config, record.clone(), self.world.now),
            None => ClassicGroup::new(config, self.world.now),
        };
        // Connections are gone, and so is who waited on them.
        self.joins
            .retain(|ticket, _| self.world.joins.contains_key(ticket));
        self.syncs
            .retain(|ticket, _| self.world.syncs.contains_key(ticket));
        let generation = self.world.group.generation();
        self.leaders.retain(|of, _| *of <= generation);
        self.assigned.retain(|(of, _), _| *of <= generation);
        self.last = (self.world.state(), generation);
    }

    /// What members learn from their answers.
    fn learn(&mut self) {
        for (ticket, who) in &self.joins {
            let Some(answer) = self.world.joins.get(ticket) else {
                continue;
            };
            let id_is_usable = matches!(answer.error, None | Some(GroupError::MemberIdRequired));
            if id_is_usable {
                self.ids.insert(*who, answer.member_id.to_string());
            } else if matches!(
                answer.error,
                Some(GroupError::UnknownMember | GroupError::FencedInstance)
            ) {
                self.ids.remove(who);
            }
            if !answer.skip_assignment && !answer.members.is_empty() {
                let leaders = self.leaders.entry(answer.generation).or_default();
                leaders.insert(answer.member_id.to_string());
            }
        }
        self.joins
            .retain(|ticket, _| !self.world.joins.contains_key(ticket));
    }

    fn check(&mut self) {
        let group = &self.world.group;
        self.check_members(group);
        let now = (group.state(), group.generation());
        assert!(now.1 >= self.last.1, "the generation went back");
        self.last = now;
        for (ticket, who) in &self.syncs {
            if let Some(Ok(synced)) = self.world.syncs.get(ticket) {
                self.check_assignment(*who, synced);
            }
        }
        self.syncs
            .retain(|ticket, _| !self.world.syncs.contains_key(ticket));
    }

    fn check_members(&self, group: &ClassicGroup) {
        let waiting = group
            .members
            .values()
            .filter(|member| member.awaiting_join.is_some());
        assert_eq!(waiting.count(), group.awaiting_join);
        assert_eq!(group.leader.is_none(), group.members.is_empty());
        assert!(
            group
                .leader
                .iter()
                .all(|leader| group.members.contains_key(leader))
        );
        let empty = matches!(group.state, GroupState::Empty | GroupState::Dead);
        assert!(!empty || group.members.is_empty());
        assert!(
            group
                .pending_syncs
                .iter()
                .all(|id| group.members.contains_key(id))
        );
        assert!(
            group
                .pending_joins
                .iter()
                .all(|id| !group.members.contains_key(id))
        );
        for (instance, id) in &group.static_members {
            assert_eq!(group.members[id].info.instance_id.as_ref(), Some(instance));
        }
        for member in group.members.values() {
            let supports = |name: &Arc<str>| {
                member
                    .info
                    .protocols
                    .iter()
                    .any(|protocol| protocol.name == *name)
            };
            let at_work = matches!(
                group.state,
                GroupState::Stable | GroupState::CompletingRebalance
            );
            assert!(!at_work || group.protocol_name.as_ref().is_some_and(supports));
            assert!(
                member.awaiting_sync.is_none() || group.state == GroupState::CompletingRebalance
            );
        }
        assert_eq!(group.weight(), group.counted_weight());
        assert!(group.members.len() <= 4 || group.state == GroupState::PreparingRebalance);
    }

    /// An assignment that a member gets is one that a leader of a generation gave to it, or to the
    /// id whose place it has taken.
    fn check_assignment(&self, who: u8, synced: &Synced) {
        let mine = |(_, member): &&(i32, String)| member.starts_with(&format!("m{who}-"));
        let given = self.assigned.iter().filter(|(key, _)| mine(key));
        let mut given = given.flat_map(|(_, assignments)| assignments);
        assert!(
            synced.assignment.is_empty() || given.any(|one| *one == synced.assignment),
            "{who} got {:?}",
            synced.assignment
        );
    }

    /// After everybody falls silent, nobody waits and nobody is left.
    fn end(&mut self) {
        for _ in 0..12 {
            while !self.world.unstored.is_empty() {
                self.world.store(Ok(()));
            }
            self.world.pass(6 * 60_000);
        }
        let unanswered = |tickets: &BTreeMap<Ticket, u8>, world: &World| {
            tickets
                .keys()
                .filter(|ticket| world.is_waiting(**ticket))
                .count()
        };
        assert_eq!(
            unanswered(&self.joins, &self.world),
            0,
            "joins were never answered"
        );
        assert_eq!(
            unanswered(&self.syncs, &self.world),
            0,
            "syncs were never answered"
        );
        assert_eq!(self.world.state(), GroupState::Empty);
        assert_eq!(self.world.group.next_deadline_ms(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_life_of_a_group_breaks_its_invariants(acts in prop::collection::vec(act(), 1..120)) {
        let mut life = Life::new();
        for act in acts {
            life.act(act);
            life.learn();
            life.check();
        }
        for (generation, leaders) in &life.leaders {
            prop_assert!(leaders.len() <= 1, "generation {generation} had {leaders:?}");
        }
        life.end();
    }
}
