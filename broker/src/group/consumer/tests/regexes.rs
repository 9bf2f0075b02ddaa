//! Subscriptions by regular expression: after `GroupMetadataManagerTest`
//! (`testConsumerGroupMember…Regex…`, `testConsumerGroupHeartbeatWithRegex…`).

use super::*;

fn matching(id: &str, epoch: i32, regex: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        member_epoch: epoch,
        topics: Some(Vec::new()),
        regex: Some(regex.to_owned()),
        ..join(id, &[])
    }
}

#[test]
fn topics_that_match_are_read() {
    let mut world = World::new(&[("foo", 1), ("foobar", 1), ("bar", 1)]);
    let joined = world.send(matching("a", 0, "foo.*")).unwrap();
    assert_eq!(
        joined.assignment,
        Some(partitions(&[("foo", &[0]), ("foobar", &[0])]))
    );
    assert!(world.group.is_subscribed("foobar") && !world.group.is_subscribed("bar"));
}

#[test]
fn topics_that_appear_and_vanish_are_noticed() {
    let mut world = World::new(&[("foo", 1)]);
    world.send(matching("a", 0, "foo.*")).unwrap();
    world.set_topic("other", 1);
    assert_eq!(
        world.beat("a", 2).unwrap().member_epoch,
        2,
        "it is not subscribed to that"
    );
    world.set_topic("foo2", 2);
    let more = world.beat("a", 2).unwrap();
    assert_eq!(more.member_epoch, 3);
    assert_eq!(
        more.assignment,
        Some(partitions(&[("foo", &[0]), ("foo2", &[0, 1])]))
    );
    world.delete_topic("foo");
    let less = world.beat("a", 3).unwrap();
    assert_eq!(less.assignment, Some(partitions(&[("foo2", &[0, 1])])));
    let done = world.owns("a", 3, &[("foo2", &[0, 1])]).unwrap();
    assert_eq!(done.member_epoch, 4);
}

#[test]
fn an_expression_that_is_wrong_changes_nothing() {
    let mut world = World::new(&[("foo", 1)]);
    assert_eq!(
        world.send(matching("a", 0, "[")),
        Err(GroupError::InvalidRegex)
    );
    assert!(world.group.is_empty());
    world.join("a", &["foo"]);
    assert_eq!(
        world.send(matching("a", 2, "(")),
        Err(GroupError::InvalidRegex)
    );
    assert_eq!(world.assigned("a"), partitions(&[("foo", &[0])]));
}

#[test]
fn an_expression_and_names_go_together_and_one_can_replace_the_other() {
    let mut world = World::new(&[("foo", 1), ("bar", 1)]);
    let both = HeartbeatRequest {
        regex: Some("fo+".to_owned()),
        ..join("a", &["bar"])
    };
    let all = partitions(&[("foo", &[0]), ("bar", &[0])]);
    assert_eq!(world.send(both).unwrap().assignment, Some(all));
    let names_only = HeartbeatRequest {
        regex: Some(String::new()),
        ..beat("a", 2)
    };
    let less = world.send(names_only).unwrap().assignment;
    assert_eq!(less, Some(partitions(&[("bar", &[0])])));
    assert!(world.group.regexes.is_empty());
}

#[test]
fn members_share_the_topics_of_their_expression() {
    let mut world = World::new(&[("foo", 2)]);
    world.send(matching("a", 0, "foo")).unwrap();
    world.send(matching("b", 0, "foo")).unwrap();
    assert_eq!(world.group.regexes.len(), 1);
    world.leave("a").unwrap();
    let got = world.beat("b", 3).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[0, 1])])));
    world.leave("b").unwrap();
    assert!(world.group.regexes.is_empty());
}

#[test]
fn what_changed_while_the_broker_was_down_is_noticed() {
    let mut world = World::new(&[("foo", 1)]);
    world.send(matching("a", 0, "foo.*")).unwrap();
    world.restart();
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 2);
    world.set_topic("foo2", 1);
    world.restart();
    assert!(world.group.is_subscribed("foo2"));
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 3);
}
