//! Stories about one group, told with simulated time.

mod commits;
mod joining;
mod leaving;
mod limits;
mod model;
mod sessions;
mod static_members;
mod syncing;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;

pub(super) fn config() -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay_ms: 3_000,
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        max_size: i32::MAX,
        offsets_retention_ms: 1_000_000,
        offsets_retention_check_interval_ms: 1_000,
        offset_metadata_max_bytes: 4_096,
        consumer: crate::group::config::ConsumerGroupConfig::for_tests(),
        max_metadata_bytes: 16 << 20,
        max_groups: 1_000,
        max_bytes: 64 << 20,
        bounds: Vec::new(),
    }
}

/// Session timeout of members in these stories.
const SESSION_MS: i64 = 10_000;
/// Rebalance timeout of members in these stories.
const REBALANCE_MS: i64 = 60_000;

/// One group and all that it has answered so far.
struct World {
    group: ClassicGroup,
    now: Now,
    tickets: u64,
    joins: HashMap<Ticket, JoinAnswer>,
    syncs: HashMap<Ticket, SyncAnswer>,
    /// What is to be stored and has not been, oldest first.
    unstored: Vec<(GroupRecord, StoreStep)>,
    /// What has been stored.
    stored: Vec<GroupRecord>,
    /// Whether records are stored at once.
    disk_is_quick: bool,
}

impl World {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: GroupConfig) -> Self {
        let now = Now {
            tick_ms: 0,
            wall_ms: 1_700_000_000_000,
        };
        Self {
            group: ClassicGroup::new(Arc::new(config), now),
            now,
            tickets: 0,
            joins: HashMap::new(),
            syncs: HashMap::new(),
            unstored: Vec::new(),
            stored: Vec::new(),
            disk_is_quick: true,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Joined(ticket, answer) => {
                    assert!(
                        self.joins.insert(ticket, answer).is_none(),
                        "answered twice"
                    );
                }
                Effect::Synced(ticket, answer) => {
                    assert!(
                        self.syncs.insert(ticket, answer).is_none(),
                        "answered twice"
                    );
                }
                Effect::Store(record, step) => self.unstored.push((*record, step)),
            }
        }
        if self.disk_is_quick {
            while !self.unstored.is_empty() {
                self.store(Ok(()));
            }
        }
    }

    /// The oldest record reaches the disk, or fails to.
    fn store(&mut self, result: Result<(), GroupError>) {
        let (record, step) = self.unstored.remove(0);
        if result.is_ok() {
            self.stored.push(record);
        }
        self.apply(Event::Stored(step, result));
    }

    fn apply(&mut self, event: Event) {
        let effects = self.group.apply(event, self.now);
        self.take(effects);
    }

    /// Lets time pass, waking the group at each of its deadlines.
    fn pass(&mut self, ms: i64) {
        let end_ms = self.now.tick_ms + ms;
        while let Some(next_ms) = self.group.next_deadline_ms().filter(|next| *next <= end_ms) {
            self.set_time(next_ms.max(self.now.tick_ms));
            self.apply(Event::Tick);
        }
        self.set_time(end_ms);
    }

    /// Lets the join phase come to its end.
    fn finish_joining(&mut self) {
        while self.state() == GroupState::PreparingRebalance {
            self.pass(500);
        }
    }

    fn set_time(&mut self, tick_ms: i64) {
        self.now.wall_ms += tick_ms - self.now.tick_ms;
        self.now.tick_ms = tick_ms;
    }

    fn join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.apply(Event::Join(request, ticket));
        ticket
    }

    fn sync(&mut self, request: SyncRequest) -> Ticket {
        let ticket = self.ticket();
        self.apply(Event::Sync(request, ticket));
        ticket
    }

    /// The join's answer, which must be there.
    fn joined(&self, ticket: Ticket) -> &JoinAnswer {
        self.joins.get(&ticket).expect("the join is not answered")
    }

    fn is_waiting(&self, ticket: Ticket) -> bool {
        !self.joins.contains_key(&ticket) && !self.syncs.contains_key(&ticket)
    }

    fn synced(&self, ticket: Ticket) -> &SyncAnswer {
        self.syncs.get(&ticket).expect("the sync is not answered")
    }

    fn state(&self) -> GroupState {
        self.group.state()
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), GroupError> {
        let request = HeartbeatRequest {
            member_id: id.into(),
            instance_id: None,
            generation,
        };
        self.group.heartbeat(&request, self.now)
    }

    fn leave(&mut self, id: &str) -> Result<(), GroupError> {
        let leaving = Leaving {
            member_id: id.into(),
            instance_id: None,
        };
        let (results, effects) = self.group.leave(&[leaving], self.now);
        self.take(effects);
        results[0]
    }

    /// Time passes while these members send heartbeats.
    fn pass_alive(&mut self, ms: i64, ids: &[&str]) {
        let end_ms = self.now.tick_ms + ms;
        while self.now.tick_ms < end_ms {
            for id in ids {
                let generation = self.group.generation();
                let _ = self.heartbeat(id, generation);
            }
            self.pass((end_ms - self.now.tick_ms).min(SESSION_MS / 3));
        }
    }

    /// A stable group of these members, in generation 1, each with its own name as assignment.
    /// The first is the leader.
    fn stable(ids: &[&str]) -> Self {
        Self::stable_of(config(), ids.iter().map(|id| first_join(id)).collect())
    }

    fn stable_of(config: GroupConfig, requests: Vec<JoinRequest>) -> Self {
        let mut world = Self::with(config);
        let ids: Vec<MemberId> = requests
            .iter()
            .map(|request| request.fresh_member_id.clone())
            .collect();
        let tickets: Vec<Ticket> = requests
            .into_iter()
            .map(|request| world.join(request))
            .collect();
        world.finish_joining();
        for ticket in tickets {
            assert_eq!(world.joined(ticket).error, None);
        }
        for id in ids.iter().rev() {
            world.sync(sync_of(&world, id.as_str()));
        }
        assert_eq!(world.state(), GroupState::Stable);
        world
    }
}

fn protocols(names: &[&str], metadata: &'static str) -> Vec<Protocol> {
    let metadata = Bytes::from_static(metadata.as_bytes());
    let protocol = |name: &&str| Protocol {
        name: (*name).into(),
        metadata: metadata.clone(),
    };
    names.iter().map(protocol).collect()
}

/// A new member that is let in at once, as clients before version 4 are, under the id `id`.
fn first_join(id: &str) -> JoinRequest {
    JoinRequest {
        member_id: MemberId::default(),
        fresh_member_id: id.into(),
        protocol_type: CONSUMER_PROTOCOL_TYPE.into(),
        info: MemberInfo {
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION_MS as i32,
            rebalance_timeout_ms: REBALANCE_MS as i32,
            protocols: protocols(&["range"], "topics"),
        },
        member_id_required: false,
        may_skip_assignment: true,
    }
}

/// A member that is in the group joins again.
fn rejoin(id: &str) -> JoinRequest {
    JoinRequest {
        member_id: id.into(),
        fresh_member_id: "unused".into(),
        ..first_join(id)
    }
}

/// A static member that knows no member id.
fn static_join(instance: &str, fresh: &str) -> JoinRequest {
    let mut request = first_join(fresh);
    request.info.instance_id = Some(instance.into());
    request
}

/// The member's sync in the present generation; the leader assigns each member its own name.
fn sync_of(world: &World, id: &str) -> SyncRequest {
    let name = |id: &MemberId| (id.clone(), Bytes::from(id.to_string()));
    let leads = world.group.is_leader(&id.into());
    SyncRequest {
        member_id: id.into(),
        instance_id: None,
        generation: world.group.generation(),
        protocol_type: world.group.protocol_type.clone(),
        protocol_name: world.group.protocol_name.clone(),
        assignments: if leads {
            world.group.members.keys().map(name).collect()
        } else {
            vec![]
        },
    }
}
