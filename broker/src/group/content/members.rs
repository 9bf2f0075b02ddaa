//! Requests of members of the classic protocol, which exist in groups of both kinds.

use std::sync::Arc;

use super::{LockedGroup, Reply, Stored};
use crate::coordination::Answer;
use crate::group::classic::{
    Event, HeartbeatRequest, JoinAnswer, JoinRequest, Leaving, SyncAnswer, SyncRequest,
};
use crate::group::error::GroupError;
use crate::group::kind::Kind;
use crate::group::services::World;
use crate::records::member_ids::MemberId;

impl LockedGroup<'_> {
    /// A member joins; `answer` is called when the rebalance has reached its generation.
    ///
    /// # Errors
    /// `GroupFull`.
    pub fn join(
        &mut self,
        request: JoinRequest,
        answer: Answer<JoinAnswer>,
        world: &World,
    ) -> Result<(), GroupError> {
        self.make_room_for_classic();
        let growth_bytes = self.kind.join_growth_bytes(&request);
        if !self.services().budget.has_room(growth_bytes) {
            return Err(GroupError::GroupFull);
        }
        if let Some(consumer) = self.kind.consumer_mut() {
            let host = Arc::clone(&request.info.client_host);
            let joined = consumer.classic_join(request, &world.env());
            self.store_changes(reply_to_join(joined, answer));
            // Topics of expressions are found for those who subscribe with them.
            self.offload(world, &host, None);
        } else {
            let ticket = self.park_join(answer);
            self.apply(Event::Join(request, ticket));
        }
        Ok(())
    }

    /// A member asks for its assignment; `answer` is called when the leader has sent one.
    ///
    /// # Errors
    /// `RecordTooLarge`.
    pub fn sync(
        &mut self,
        request: SyncRequest,
        answer: Answer<SyncAnswer>,
        world: &World,
    ) -> Result<(), GroupError> {
        if let Some(consumer) = self.kind.consumer_mut() {
            let synced = consumer.classic_sync(&request, &world.env());
            self.store_changes(Box::new(move |stored| answer.give(stored.and(synced))));
            return Ok(());
        }
        let classic = self.kind.classic();
        let growth_bytes =
            classic.map_or(0, |classic| classic.sync_growth_bytes(&request.assignments));
        if !self.services().budget.has_room(growth_bytes) {
            return Err(GroupError::RecordTooLarge);
        }
        let ticket = self.park_sync(answer);
        self.apply(Event::Sync(request, ticket));
        Ok(())
    }

    /// A sign of life.
    ///
    /// # Errors
    /// As the group's own.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest) -> Result<(), GroupError> {
        let (services, id) = (self.services(), self.id());
        let result = match &mut self.kind {
            Kind::Classic(classic) => classic.heartbeat(request, services.clock.now()),
            Kind::Consumer(consumer) => {
                consumer.classic_heartbeat(request, &services.world(id).env())
            }
        };
        self.queue_wakeup();
        result
    }

    /// Members leave: one result for each, in order. They are valid once `answer` says so.
    pub fn leave(
        &mut self,
        leaving: &[Leaving],
        answer: Answer<Stored>,
    ) -> Vec<Result<(), GroupError>> {
        let (services, id) = (self.services(), self.id());
        match &mut self.kind {
            Kind::Classic(classic) => {
                let (results, effects) = classic.leave(leaving, services.clock.now());
                self.perform(effects);
                self.give(answer, Ok(()));
                results
            }
            Kind::Consumer(consumer) => {
                let results = consumer.classic_leave(leaving, &services.world(id).env());
                self.store_changes(Box::new(|stored| answer.give(stored)));
                results
            }
        }
    }
}

/// A refusal by a consumer group names no member, as Kafka's does.
fn reply_to_join(joined: Result<JoinAnswer, GroupError>, answer: Answer<JoinAnswer>) -> Reply {
    Box::new(move |stored| {
        let joined = stored.and(joined);
        let nobody = MemberId::default();
        answer.give(joined.unwrap_or_else(|error| JoinAnswer::refused(nobody, error)));
    })
}
