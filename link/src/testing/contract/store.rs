//! What every [`LinkStore`] must do with links, mirrors and reports as they come, change and go.

use std::collections::BTreeMap;

use carrick_protocol::ids::{Offset, TopicName};
use uuid::Uuid;

use super::{Harness, topics};
use crate::cut::CutOrder;
use crate::ports::{CatalogError, LinkStore};
use crate::record::NewMirrorTopic;
use crate::record::{LinkFailure, LinkName, LinkRecord, MirrorRecord, PartitionSight, SourceSight};
use crate::report::RpoReport;
use crate::state::{LinkErrorCode, MirrorError, MirrorStatus};
use crate::verb::CutKind;

fn link(name: &str, configs: &[(&str, &str)]) -> LinkRecord {
    let configs = configs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    LinkRecord {
        name: LinkName::new(name).expect("a name"),
        id: Uuid::from_u128(7),
        source_cluster_id: None,
        configs: configs.collect(),
        unreadable: BTreeMap::new(),
        created_ms: 3,
        failure: None,
    }
}

fn stored_link(store: &dyn LinkStore, name: &LinkName) -> Option<LinkRecord> {
    let links = store.load_links().expect("they can be read");
    let mut found = links.into_iter().filter(|link| link.name == *name);
    let link = found.next();
    assert_eq!(found.next(), None, "each is there once");
    link
}

fn stored_mirror(store: &dyn LinkStore, topic: &TopicName) -> Option<MirrorRecord> {
    let mirrors = store.load_mirrors().expect("they can be read");
    let mut found = mirrors.into_iter().filter(|mirror| mirror.topic == *topic);
    let mirror = found.next();
    assert_eq!(found.next(), None, "each is there once");
    mirror
}

fn mirror_of(harness: &dyn Harness, link: &LinkName) -> MirrorRecord {
    let mut new: NewMirrorTopic = topics::new(harness, &harness.fresh(), 1);
    new.record.link = link.clone();
    let created = harness.catalog().create_mirrors(std::slice::from_ref(&new));
    assert_eq!(created, Ok(vec![Ok(())]));
    new.record
}

fn report(mirror: &MirrorRecord, made_at_ms: i64) -> RpoReport {
    RpoReport::new(mirror, CutKind::Failover, made_at_ms)
}

/// With every field, secrets included; what is not in the later record is gone.
pub fn a_link_is_kept_as_it_was_saved_last(harness: &dyn Harness) {
    let store = harness.store();
    let first = [
        ("bootstrap.servers", "127.0.0.1:9092"),
        ("sasl.jaas.config", "the first secret"),
        ("ssl.keystore.key", "another secret"),
    ];
    let first = link("kept-link", &first);
    let beside = link(
        "kept-link.beside",
        &[("sasl.jaas.config", "not its business")],
    );
    for link in [&first, &beside] {
        assert_eq!(store.save_link(link), Ok(()));
        assert_eq!(stored_link(&*store, &link.name).as_ref(), Some(link));
    }
    let second = LinkRecord {
        source_cluster_id: Some("a-cluster".into()),
        failure: Some(LinkFailure {
            error: LinkErrorCode::AuthenticationError,
            detail: "refused".into(),
            since_ms: 9,
        }),
        ..link("kept-link", &[("sasl.jaas.config", "the second secret")])
    };
    assert_eq!(store.save_link(&second), Ok(()));
    assert_eq!(stored_link(&*store, &second.name), Some(second.clone()));
    assert_eq!(stored_link(&*store, &beside.name), Some(beside.clone()));
    assert_eq!(store.delete_link(&second.name), Ok(()));
    assert_eq!(stored_link(&*store, &second.name), None);
    assert_eq!(stored_link(&*store, &beside.name), Some(beside.clone()));
    // One that comes under the same name has nothing of it.
    let third = link("kept-link", &[]);
    assert_eq!(store.save_link(&third), Ok(()));
    assert_eq!(stored_link(&*store, &third.name), Some(third.clone()));
    for link in [third, beside] {
        assert_eq!(store.delete_link(&link.name), Ok(()));
        assert_eq!(store.delete_link(&link.name), Ok(()), "there is none");
    }
}

/// Its mirrors' records and what was seen of their sources go, those of other links and the reports stay.
pub fn a_link_goes_with_its_mirrors(harness: &dyn Harness) {
    let store = harness.store();
    let gone = link("going-link", &[]);
    assert_eq!(store.save_link(&gone), Ok(()));
    let mirrors = [1, 2].map(|_| mirror_of(harness, &gone.name));
    let stays = mirror_of(harness, &harness.link());
    let sight = |mirror: &MirrorRecord| SourceSight {
        topic: mirror.topic.clone(),
        partitions: vec![PartitionSight {
            partition: 0,
            high_watermark: Offset(5),
            seen_at_ms: 5,
            caught_up_ms: Some(4),
        }],
    };
    let sights = [sight(&mirrors[0]), sight(&stays), sight(&mirrors[1])];
    assert_eq!(store.save_sights(&sights), Ok(()));
    let stopped = mirrors.clone().map(|mirror| MirrorRecord {
        status: MirrorStatus::Stopped,
        ..mirror
    });
    assert_eq!(store.save_mirrors(&stopped), Ok(()));
    let last = report(&mirrors[0], 5);
    assert_eq!(store.save_reports(std::slice::from_ref(&last)), Ok(()));

    assert_eq!(store.delete_link(&gone.name), Ok(()));
    assert_eq!(stored_link(&*store, &gone.name), None);
    let seen = store.load_sights().expect("they can be read");
    for mirror in &mirrors {
        assert_eq!(stored_mirror(&*store, &mirror.topic), None);
        assert!(seen.iter().all(|sight| sight.topic != mirror.topic));
    }
    assert_eq!(stored_mirror(&*store, &stays.topic), Some(stays.clone()));
    assert!(seen.contains(&sight(&stays)), "{seen:?}");
    assert_eq!(store.load_report(&mirrors[0].topic), Ok(Some(last.clone())));
    let reports = store.load_reports().expect("they can be read");
    assert!(reports.contains(&last), "{reports:?}");
}

/// Each in place of what was there, the rest untouched.
pub fn mirrors_are_kept_as_they_were_saved_last(harness: &dyn Harness) {
    let store = harness.store();
    let [first, second, third] = [1, 2, 3].map(|_| mirror_of(harness, &harness.link()));
    assert_eq!(store.save_mirrors(&[]), Ok(()));
    let failed = MirrorRecord {
        status: MirrorStatus::Failed,
        status_since_ms: 8,
        error: MirrorError::UnexpectedTruncation,
        error_detail: "away".into(),
        start_offsets: vec![(0, Offset(17))],
        ..first
    };
    let stopping = MirrorRecord {
        status: MirrorStatus::PendingStopped,
        status_since_ms: 9,
        pending_cut: Some(CutKind::Promote),
        partitions: 4,
        ..second
    };
    let saved = [failed.clone(), stopping.clone()];
    assert_eq!(store.save_mirrors(&saved), Ok(()));
    for mirror in [failed, stopping, third] {
        assert_eq!(stored_mirror(&*store, &mirror.topic), Some(mirror));
    }
}

/// A change that was under way when the topic was deleted writes nothing, neither of that mirror nor
/// over one that was made under its name since.
pub fn nothing_is_written_of_a_mirror_that_is_gone(harness: &dyn Harness) {
    let (store, catalog) = (harness.store(), harness.catalog());
    let old = mirror_of(harness, &harness.link());
    let other = mirror_of(harness, &harness.link());
    let paused = |record: &MirrorRecord| MirrorRecord {
        status: MirrorStatus::Paused,
        ..record.clone()
    };
    let stop = || CutOrder {
        record: MirrorRecord {
            status: MirrorStatus::Stopped,
            ..old.clone()
        },
        report: report(&old, 5),
        kind: CutKind::Failover,
        is_forced: true,
    };
    let seen = SourceSight {
        topic: old.topic.clone(),
        partitions: vec![PartitionSight {
            partition: 0,
            high_watermark: Offset(5),
            seen_at_ms: 5,
            caught_up_ms: None,
        }],
    };
    let mut again: NewMirrorTopic = topics::new(harness, &old.topic, 1);
    again.record.created_ms = old.created_ms + 1;
    harness.delete(&old.topic);
    for is_there_again in [false, true] {
        let expected = is_there_again.then(|| again.record.clone());
        if is_there_again {
            let created = catalog.create_mirrors(std::slice::from_ref(&again));
            assert_eq!(created, Ok(vec![Ok(())]));
        }
        let changes = [paused(&old), paused(&other)];
        assert_eq!(store.save_mirrors(&changes), Ok(()));
        assert_eq!(stored_mirror(&*store, &old.topic), expected);
        assert_eq!(store.load_mirror(&old.topic), Ok(expected.clone()));
        assert_eq!(store.load_mirror(&other.topic), Ok(Some(paused(&other))));
        let gone = Err(CatalogError::NoSuchTopic(old.topic.clone()));
        let cut = catalog.cut_mirrors(&[stop()]);
        assert_eq!(cut, Ok(vec![gone.clone().map(|()| Vec::new())]));
        assert_eq!(catalog.add_partitions(&old, 3), gone);
        assert_eq!(stored_mirror(&*store, &old.topic), expected);
        assert_eq!(store.load_report(&old.topic), Ok(None));
    }
    harness.delete(&old.topic);
    assert_eq!(store.save_sights(std::slice::from_ref(&seen)), Ok(()));
    assert_eq!(store.save_reports(&[report(&old, 5)]), Ok(()));
    assert_eq!(store.load_report(&old.topic), Ok(None));
    let sights = store.load_sights().expect("they can be read");
    assert!(!sights.contains(&seen), "{sights:?}");
}

/// A later report replaces the earlier; one that can't be saved keeps the others out, too.
pub fn reports_are_replaced_all_or_none(harness: &dyn Harness) {
    let store = harness.store();
    let mirror = mirror_of(harness, &harness.link());
    assert_eq!(store.load_report(&mirror.topic), Ok(None));
    assert_eq!(store.save_reports(&[]), Ok(()));
    for made_at_ms in [1, 2] {
        let report = report(&mirror, made_at_ms);
        assert_eq!(store.save_reports(std::slice::from_ref(&report)), Ok(()));
        assert_eq!(store.load_report(&mirror.topic), Ok(Some(report)));
    }
    let mut of_no_topic = report(&mirror, 3);
    of_no_topic.topic = "no topic's name".into();
    let refused = store.save_reports(&[report(&mirror, 3), of_no_topic]);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(
        store.load_report(&mirror.topic),
        Ok(Some(report(&mirror, 2)))
    );
}

/// It belongs to a cut that is in progress or done: a mirror that continues has none.
pub fn a_report_goes_when_its_mirror_goes_on(harness: &dyn Harness) {
    use MirrorStatus::{Active, Failed, Paused, PendingStopped, Stopped};
    let store = harness.store();
    let (mirror, beside) = (harness.mirror().topic, harness.mirror().topic);
    let record = |topic: &TopicName| stored_mirror(&*store, topic).expect("a mirror");
    let (mirror, beside) = (record(&mirror), record(&beside));
    let untouched = report(&beside, 1);
    assert_eq!(store.save_reports(std::slice::from_ref(&untouched)), Ok(()));
    for goes_on in [Active, Paused, Failed] {
        let kept = report(&mirror, 1);
        assert_eq!(store.save_reports(std::slice::from_ref(&kept)), Ok(()));
        for status in [PendingStopped, Stopped, goes_on] {
            let mut now = mirror.clone();
            now.status = status;
            assert_eq!(store.save_mirrors(&[now]), Ok(()));
            let expected = Some(kept.clone()).filter(|_| status != goes_on);
            assert_eq!(store.load_report(&mirror.topic), Ok(expected), "{status:?}");
        }
    }
    assert_eq!(store.load_report(&beside.topic), Ok(Some(untouched)));
}
