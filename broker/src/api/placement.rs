//! Where partitions and their replicas can be: on this broker, once (`ReplicationControlManager`).

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::NodeId;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_topics_request::CreatableTopic;

use super::admin::{Refusal, repeated};
use crate::broker::Broker;
use crate::topic::replicas::Shortfall;

/// How many partitions a new topic gets: the requested count, or the number in its manual
/// assignment. Each has one replica; also returns by how much that is fewer than requested.
pub(super) fn partitions(
    broker: &Broker,
    topic: &CreatableTopic,
) -> Result<(i32, Shortfall), Refusal> {
    if !topic.assignments.is_empty() {
        return assigned_partitions(broker, topic);
    }
    let factor = i32::from(topic.replication_factor);
    let shortfall = broker.topic_rules.replication.check(factor)?;
    match topic.num_partitions {
        -1 => Ok((broker.topic_rules.default_partitions, shortfall)),
        ..=0 => Err(Refusal::new(
            ErrorCode::INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        )),
        count => Ok((count, shortfall)),
    }
}

/// The number of partitions of a manual assignment: all of 0, 1, …, each on this broker.
fn assigned_partitions(
    broker: &Broker,
    topic: &CreatableTopic,
) -> Result<(i32, Shortfall), Refusal> {
    let exclusive = |what: &str| {
        Refusal::invalid(format!(
            "A manual partition assignment was specified, but {what} was not set to -1."
        ))
    };
    if topic.replication_factor != -1 {
        return Err(exclusive("replication factor"));
    }
    if topic.num_partitions != -1 {
        return Err(exclusive("numPartitions"));
    }
    let wrong = |message: String| Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    let numbers = topic
        .assignments
        .iter()
        .map(|assignment| assignment.partition_index);
    if let Some(number) = repeated(numbers.clone()).first() {
        return Err(wrong(format!(
            "Found multiple manual partition assignments for partition {number}"
        )));
    }
    let mut factor = 0;
    for assignment in &topic.assignments {
        check_new_replicas(broker, &assignment.broker_ids)?;
        factor = factor.max(assignment.broker_ids.len());
    }
    let count = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
    match numbers
        .into_iter()
        .all(|number| (0..count).contains(&number))
    {
        true => Ok((count, Shortfall::of(factor))),
        false => Err(wrong(
            "partitions should be a consecutive 0-based integer sequence".to_owned(),
        )),
    }
}

/// Checks the replicas that a request assigns to a new partition: this broker must be among them,
/// and be the only one unless `replication.factor.clamp`.
pub(super) fn check_new_replicas(broker: &Broker, replicas: &[BrokerId]) -> Result<(), Refusal> {
    let here = BrokerId(broker.node_id.0);
    let others = replicas.iter().filter(|replica| **replica != here);
    let are_distinct = repeated(replicas.iter().copied()).is_empty();
    match broker.topic_rules.replication.clamps() && are_distinct && others.count() < replicas.len()
    {
        true => Ok(()),
        false => check_replicas(broker.node_id, replicas),
    }
}

/// Checks the replicas that a request assigns to a partition: there is only this broker
/// (`ReplicationControlManager.validateManualPartitionAssignment`).
pub(super) fn check_replicas(here: NodeId, replicas: &[BrokerId]) -> Result<(), Refusal> {
    let refused = |reason: String| {
        let message = format!("The manual partition assignment includes {reason}");
        Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message))
    };
    if replicas.is_empty() {
        return refused("an empty replica list.".to_owned());
    }
    if let Some(other) = replicas.iter().find(|replica| replica.0 != here.0) {
        let other = other.0;
        return refused(format!(
            "broker {other}, but no such broker is registered: broker {here} is the only one."
        ));
    }
    match replicas {
        [_] => Ok(()),
        _ => refused(format!("the broker {here} more than once.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_can_only_be_this_broker_once() {
        let check = |replicas: &[i32]| {
            let replicas: Vec<_> = replicas.iter().map(|id| BrokerId(*id)).collect();
            check_replicas(NodeId(1), &replicas).map_err(|refusal| refusal.message)
        };
        assert_eq!(check(&[1]), Ok(()));
        assert!(check(&[]).unwrap_err().contains("empty"));
        assert!(check(&[1, 2]).unwrap_err().contains("broker 2"));
        assert!(check(&[1, 1]).unwrap_err().contains("more than once"));
    }
}
