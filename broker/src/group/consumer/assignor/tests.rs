//! Both assignors by their properties (`UniformHomogeneousAssignmentBuilderTest`,
//! `UniformHeterogeneousAssignmentBuilderTest`, `RangeAssignorTest`).

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn topic(number: usize) -> TopicId {
    TopicId(Uuid::from_u128(number as u128 + 1))
}

/// Topics by their numbers of partitions, and members by the topics that they subscribe to.
fn group() -> impl Strategy<Value = (Vec<i32>, Vec<BTreeSet<usize>>)> {
    proptest::collection::vec(1..12_i32, 1..5).prop_flat_map(|topics| {
        let subscription = proptest::collection::btree_set(0..topics.len(), 0..=topics.len());
        (Just(topics), proptest::collection::vec(subscription, 1..9))
    })
}

fn candidates(members: &[BTreeSet<usize>]) -> Vec<Candidate> {
    let candidate = |topics: &BTreeSet<usize>| Candidate {
        topics: topics.iter().map(|number| topic(*number)).collect(),
        ..Candidate::default()
    };
    members.iter().map(candidate).collect()
}

fn partitions_of(topics: &[i32]) -> impl Fn(TopicId) -> i32 {
    let by_id: BTreeMap<TopicId, i32> = topics
        .iter()
        .enumerate()
        .map(|(number, partitions)| (topic(number), *partitions))
        .collect();
    move |id| by_id.get(&id).copied().unwrap_or(0)
}

fn load(assigned: &Partitions) -> usize {
    assigned.values().map(BTreeSet::len).sum()
}

/// Every partition of every topic with subscribers has one reader, who subscribes to it.
fn check_complete(topics: &[i32], candidates: &[Candidate], assigned: &[Partitions]) {
    let mut readers: BTreeMap<(TopicId, i32), usize> = BTreeMap::new();
    for (candidate, assigned) in candidates.iter().zip(assigned) {
        for (id, partitions) in assigned {
            assert!(candidate.topics.contains(id));
            assert!(!partitions.is_empty());
            for at in partitions {
                *readers.entry((*id, *at)).or_default() += 1;
            }
        }
    }
    for (number, partitions) in topics.iter().enumerate() {
        let id = topic(number);
        let wanted = candidates
            .iter()
            .any(|candidate| candidate.topics.contains(&id));
        for at in 0..*partitions {
            assert_eq!(
                readers.remove(&(id, at)),
                wanted.then_some(1),
                "{number}-{at}"
            );
        }
    }
    assert!(
        readers.is_empty(),
        "there are no such partitions: {readers:?}"
    );
}

fn kept(before: &[Partitions], after: &[Partitions]) -> usize {
    let pairs = before.iter().zip(after);
    pairs
        .flat_map(|(before, after)| before.iter().map(move |(id, at)| (at, after.get(id))))
        .map(|(before, after)| after.map_or(0, |after| before.intersection(after).count()))
        .sum()
}

proptest! {
    #[test]
    fn every_partition_has_one_reader((topics, members) in group()) {
        let candidates = candidates(&members);
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let assigned = assignor.assign(&candidates, &partitions_of(&topics));
            prop_assert_eq!(assigned.len(), candidates.len());
            check_complete(&topics, &candidates, &assigned);
        }
    }

    #[test]
    fn range_gives_ranges_that_differ_by_one_at_most((topics, members) in group()) {
        let candidates = candidates(&members);
        let assigned = Assignor::Range.assign(&candidates, &partitions_of(&topics));
        for number in 0..topics.len() {
            let id = topic(number);
            let subscribers = candidates.iter().zip(&assigned);
            let sizes: Vec<i32> = subscribers
                .filter(|(candidate, _)| candidate.topics.contains(&id))
                .map(|(_, assigned)| match assigned.get(&id) {
                    Some(range) => {
                        let (first, last) = (*range.first().unwrap(), *range.last().unwrap());
                        assert_eq!(range.len(), usize::try_from(last - first + 1).unwrap());
                        last - first + 1
                    }
                    None => 0,
                })
                .collect();
            if let (Some(most), Some(least)) = (sizes.iter().max(), sizes.iter().min()) {
                prop_assert!(most - least <= 1, "{:?}", sizes);
            }
        }
    }

    #[test]
    fn uniform_is_even_where_all_subscribe_to_the_same(
        topics in proptest::collection::vec(1..12_i32, 1..5),
        members in 1..9_usize,
    ) {
        let all: BTreeSet<usize> = (0..topics.len()).collect();
        let candidates = candidates(&vec![all; members]);
        let assigned = Assignor::Uniform.assign(&candidates, &partitions_of(&topics));
        let loads: Vec<usize> = assigned.iter().map(load).collect();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
    }

    #[test]
    fn uniform_evens_out_among_the_subscribers_of_each_topic((topics, members) in group()) {
        let candidates = candidates(&members);
        let assigned = Assignor::Uniform.assign(&candidates, &partitions_of(&topics));
        for number in 0..topics.len() {
            let id = topic(number);
            let subscribers: Vec<usize> = (0..candidates.len())
                .filter(|at| candidates[*at].topics.contains(&id))
                .collect();
            let least = subscribers.iter().map(|at| load(&assigned[*at])).min();
            let readers = subscribers.iter().filter(|at| assigned[**at].contains_key(&id));
            for at in readers {
                prop_assert!(load(&assigned[*at]) <= least.unwrap() + 1);
            }
        }
    }

    #[test]
    fn uniform_moves_nothing_that_need_not_move(
        topics in proptest::collection::vec(1..12_i32, 1..5),
        members in 1..9_usize,
    ) {
        let partitions = partitions_of(&topics);
        let all: BTreeSet<usize> = (0..topics.len()).collect();
        let mut candidates = candidates(&vec![all; members]);
        let first = Assignor::Uniform.assign(&candidates, &partitions);
        for (candidate, assigned) in candidates.iter_mut().zip(&first) {
            candidate.current = assigned.clone();
        }
        prop_assert_eq!(&Assignor::Uniform.assign(&candidates, &partitions), &first);
        // One more member takes its share, and nothing else moves.
        let newcomer = Candidate { topics: candidates[0].topics.clone(), ..Candidate::default() };
        candidates.push(newcomer);
        let second = Assignor::Uniform.assign(&candidates, &partitions);
        check_complete(&topics, &candidates, &second);
        let total: usize = first.iter().map(load).sum();
        let of_newcomer = load(second.last().unwrap());
        prop_assert_eq!(kept(&first, &second), total - of_newcomer);
        prop_assert_eq!(of_newcomer, total / candidates.len());
    }
}

#[test]
fn static_members_keep_their_ranges_under_new_ids() {
    let partitions = |_: TopicId| 4;
    let member = |instance: Option<&str>| Candidate {
        instance_id: instance.map(InstanceId::from),
        topics: [topic(0)].into(),
        ..Candidate::default()
    };
    let before = [member(Some("a")), member(Some("b"))];
    let after = [member(Some("b")), member(Some("a"))];
    let before = Assignor::Range.assign(&before, &partitions);
    let after = Assignor::Range.assign(&after, &partitions);
    assert_eq!((&before[0], &before[1]), (&after[1], &after[0]));
    let mixed = [member(None), member(Some("z"))];
    let mixed = Assignor::Range.assign(&mixed, &partitions);
    assert_eq!(mixed[1], Partitions::from([(topic(0), [0, 1].into())]));
}

#[test]
fn members_get_the_same_partitions_of_topics_of_one_size() {
    let members = candidates(&[[0, 1].into(), [0, 1].into()]);
    for assigned in Assignor::Range.assign(&members, &|_| 3) {
        assert_eq!(assigned[&topic(0)], assigned[&topic(1)]);
    }
}
