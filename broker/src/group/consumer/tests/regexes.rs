//! Subscriptions by regular expression: after `GroupMetadataManagerTest`
//! (`testConsumerGroupMember…Regex…`, `testConsumerGroupHeartbeatWithRegex…`).

use super::*;
use crate::group::topic_patterns::{MaySee, Resolved};

fn matching(id: &str, epoch: i32, regex: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        member_epoch: epoch,
        topics: Some(Vec::new()),
        regex: Some(regex.to_owned()),
        ..join(id, &[])
    }
}

#[test]
fn topics_that_match_come_with_a_later_heartbeat() {
    let mut world = World::new(&[("foo", 1), ("foobar", 1), ("bar", 1)]);
    let joined = world.send(matching("a", 0, "foo.*")).unwrap();
    assert_eq!(
        (joined.member_epoch, joined.assignment),
        (1, Some(Partitions::new()))
    );
    assert_eq!(world.beat("a", 1).unwrap().member_epoch, 1);
    assert!(world.resolve());
    let told = world.beat("a", 1).unwrap();
    assert_eq!(
        (told.member_epoch, told.assignment),
        (2, Some(partitions(&[("foo", &[0]), ("foobar", &[0])])))
    );
    assert!(world.group.is_subscribed("foobar") && !world.group.is_subscribed("bar"));
    assert!(!world.resolve(), "there is nothing more to find out");
}

#[test]
fn topics_that_appear_and_vanish_are_noticed() {
    let mut world = World::new(&[("foo", 1)]);
    world.send(matching("a", 0, "foo.*")).unwrap();
    world.resolve();
    world.beat("a", 1).unwrap();
    world.set_topic("other", 1);
    assert!(!world.resolve(), "many new topics are one look");
    world.advance(10_000);
    assert!(world.resolve());
    assert_eq!(
        world.beat("a", 2).unwrap().member_epoch,
        2,
        "it is not subscribed to that"
    );
    world.set_topic("foo2", 2);
    world.advance(10_000);
    world.resolve();
    let more = world.beat("a", 2).unwrap();
    assert_eq!(more.member_epoch, 3);
    assert_eq!(
        more.assignment,
        Some(partitions(&[("foo", &[0]), ("foo2", &[0, 1])]))
    );
    // That a topic is gone is noticed at once.
    world.delete_topic("foo");
    let less = world.beat("a", 3).unwrap();
    assert_eq!(less.assignment, Some(partitions(&[("foo2", &[0, 1])])));
    let done = world.owns("a", 3, &[("foo2", &[0, 1])]).unwrap();
    assert_eq!(done.member_epoch, 4);
}

#[test]
fn an_expression_that_takes_too_long_keeps_its_topics_and_is_refused_when_it_comes_again() {
    let mut world = World::new(&[("foo", 1)]);
    world.send(matching("a", 0, "fo+")).unwrap();
    world.resolve();
    world.beat("a", 1).unwrap();
    world.set_topic("fooo", 1);
    world.advance(10_000);
    let texts = world.with_env(ConsumerGroup::begin_resolving).unwrap();
    assert_eq!(
        world.with_env(ConsumerGroup::begin_resolving),
        None,
        "one look at a time"
    );
    let late = Resolved {
        version: world.image.version(),
        topics: None,
    };
    world.with_env(|group, env| group.resolved(vec![(texts[0].clone(), late)], env));
    assert_eq!(world.beat("a", 2).unwrap().assignment, None);
    assert_eq!(world.assigned("a"), partitions(&[("foo", &[0])]));
    assert_eq!(
        world.send(matching("b", 0, "fo+")),
        Err(GroupError::InvalidRegex)
    );
    assert_eq!(world.group.member_count(), 1);
    world.set_topic("other", 1);
    world.advance(10_000);
    world.resolve();
    let all = partitions(&[("foo", &[0]), ("fooo", &[0])]);
    assert_eq!(world.beat("a", 2).unwrap().assignment, Some(all));
}

#[test]
fn what_could_not_be_found_out_is_tried_again() {
    let mut world = World::new(&[("foo", 1)]);
    world.send(matching("a", 0, "foo")).unwrap();
    let first = world.with_env(ConsumerGroup::begin_resolving);
    world.with_env(|group, env| group.resolved(Vec::new(), env));
    assert_eq!(world.with_env(ConsumerGroup::begin_resolving), first);
}

#[test]
fn an_expression_and_names_go_together_and_one_can_replace_the_other() {
    let mut world = World::new(&[("foo", 1), ("bar", 1)]);
    let both = HeartbeatRequest {
        regex: Some("fo+".to_owned()),
        ..join("a", &["bar"])
    };
    let joined = world.send(both).unwrap();
    assert_eq!(joined.assignment, Some(partitions(&[("bar", &[0])])));
    world.resolve();
    let all = partitions(&[("foo", &[0]), ("bar", &[0])]);
    assert_eq!(world.beat("a", 2).unwrap().assignment, Some(all));
    let names_only = HeartbeatRequest {
        regex: Some(String::new()),
        ..beat("a", 3)
    };
    let less = world.send(names_only).unwrap().assignment;
    assert_eq!(less, Some(partitions(&[("bar", &[0])])));
    assert_eq!(world.group.regexes.len(), 0);
}

#[test]
fn members_share_the_topics_of_their_expression() {
    let mut world = World::new(&[("foo", 2)]);
    world.send(matching("a", 0, "foo")).unwrap();
    world.resolve();
    world.beat("a", 1).unwrap();
    let second = world.send(matching("b", 0, "foo")).unwrap();
    assert_eq!(second.member_epoch, 3, "its topics are known");
    assert_eq!(world.group.regexes.len(), 1);
    world.leave("a").unwrap();
    let got = world.beat("b", 3).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[0, 1])])));
    world.leave("b").unwrap();
    assert_eq!(world.group.regexes.len(), 0);
}

#[test]
fn what_changed_while_the_broker_was_down_is_noticed() {
    let mut world = World::new(&[("foo", 1)]);
    world.send(matching("a", 0, "foo.*")).unwrap();
    world.resolve();
    world.beat("a", 1).unwrap();
    world.restart();
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 2);
    world.set_topic("foo2", 1);
    world.restart();
    // Who may see it is known when a member reports in.
    world.beat("a", 2).unwrap();
    assert!(world.resolve());
    assert!(world.group.is_subscribed("foo2"));
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 3);
}

#[test]
fn topics_that_a_member_may_not_see_are_not_given_to_it_whatever_its_expression_matches() {
    let mut world = World::new(&[("foo", 1), ("food", 1)]);
    let denied = |denied: &'static str| MaySee::new(move |name| name != denied);
    world.send(matching("a", 0, "foo.*")).unwrap();
    assert!(world.resolve_for(&denied("food")));
    let told = world.beat("a", 1).unwrap();
    assert_eq!(told.assignment, Some(partitions(&[("foo", &[0])])));
    // After a restart it is as before, until a member's heartbeat finds out what it may see now.
    world.restart();
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 2);
    assert!(!world.group.is_subscribed("food"));
    assert!(world.resolve_for(&denied("foo")));
    assert_eq!(
        world.beat("a", 2).unwrap().assignment,
        Some(Partitions::new())
    );
    let rest = world.owns("a", 2, &[]).unwrap();
    assert_eq!(rest.assignment, Some(partitions(&[("food", &[0])])));
    // A change of ACLs is noticed when the topics have become old.
    for _ in 0..20 {
        assert!(!world.resolve_for(&denied("")));
        world.advance(30_000);
        world.beat("a", 3).unwrap();
    }
    world.advance(1);
    assert!(world.resolve_for(&denied("")));
    assert!(world.group.is_subscribed("foo"));
}
