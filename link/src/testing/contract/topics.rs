//! What every [`TopicCatalog`](crate::ports::TopicCatalog) must do when mirrors come, and every
//! [`LinkStore`](crate::ports::LinkStore) with the reports of many.

use carrick_protocol::ids::{TopicId, TopicName};

use super::Harness;
use crate::ports::CatalogError;
use crate::record::{MirrorRecord, MirrorTopicSpec, NewMirrorTopic};
use crate::report::RpoReport;
use crate::state::{MirrorError, MirrorStatus};
use crate::verb::CutKind;

pub(super) fn new(harness: &dyn Harness, topic: &TopicName, partitions: i32) -> NewMirrorTopic {
    NewMirrorTopic {
        spec: MirrorTopicSpec {
            topic: topic.clone(),
            source_topic_id: TopicId::ZERO,
            partitions,
            configs: vec![("retention.ms".into(), "1234".into())],
            own_configs: Vec::new(),
        },
        record: MirrorRecord {
            topic: topic.clone(),
            link: harness.link(),
            source_topic: topic.clone(),
            source_topic_id: TopicId::ZERO,
            partitions,
            status: MirrorStatus::Active,
            status_since_ms: 1,
            error: MirrorError::NoError,
            error_detail: String::new(),
            pending_cut: None,
            start_offsets: Vec::new(),
            created_ms: 1,
        },
    }
}

fn stored(harness: &dyn Harness, topic: &TopicName) -> Option<MirrorRecord> {
    let mirrors = harness.store().load_mirrors().expect("it can be read");
    mirrors.into_iter().find(|mirror| mirror.topic == *topic)
}

/// One that is refused doesn't stop the others, and leaves nothing.
pub fn mirrors_come_together_and_each_is_answered(harness: &dyn Harness) {
    let catalog = harness.catalog();
    assert_eq!(catalog.create_mirrors(&[]), Ok(Vec::new()));
    let there = harness.ordinary().topic;
    let (first, second, wrong) = (harness.fresh(), harness.fresh(), harness.fresh());
    let mut unknown_config = new(harness, &wrong, 1);
    let own = ("no.such.config".to_owned(), "1".to_owned());
    unknown_config.spec.own_configs.push(own);
    let answers = catalog.create_mirrors(&[
        new(harness, &first, 1),
        new(harness, &there, 1),
        unknown_config,
        new(harness, &second, 3),
        new(harness, &second, 2),
    ]);
    let answers = answers.expect("the write went well");
    assert_eq!(answers[0], Ok(()));
    assert_eq!(answers[1], Err(CatalogError::TopicExists(there.clone())));
    assert!(matches!(answers[2], Err(CatalogError::Invalid(_))));
    assert_eq!(answers[3], Ok(()));
    assert_eq!(answers[4], Err(CatalogError::TopicExists(second.clone())));
    assert_eq!(catalog.partitions(&first), Some(1));
    assert_eq!(catalog.partitions(&second), Some(3));
    assert_eq!(catalog.partitions(&wrong), None);
    assert_eq!(
        stored(harness, &second),
        Some(new(harness, &second, 3).record)
    );
    assert_eq!(stored(harness, &there), None);
    assert_eq!(stored(harness, &wrong), None);
}

/// The owner's settings are stored next to what comes from the source.
pub fn a_mirror_keeps_configs_of_its_own(harness: &dyn Harness) {
    let topic = harness.fresh();
    let mut new = new(harness, &topic, 1);
    let own = ("retention.bytes".to_owned(), "77".to_owned());
    new.spec.own_configs.push(own.clone());
    let catalog = harness.catalog();
    assert_eq!(catalog.create_mirrors(&[new]), Ok(vec![Ok(())]));
    let configs = catalog.configs(&topic).expect("it is there");
    assert!(configs.contains(&own), "{configs:?}");
    let synced = ("retention.ms".to_owned(), "1234".to_owned());
    assert!(configs.contains(&synced), "{configs:?}");
    // The value that it would have else, and what nobody has set.
    assert_eq!(
        catalog.default_config("cleanup.policy").as_deref(),
        Some("delete")
    );
    assert_eq!(catalog.default_config("no.such.config"), None);
    assert_eq!(catalog.configs(&harness.ordinary().topic), Ok(Vec::new()));
}

/// All in one write; of a topic that never was a mirror none is kept.
pub fn reports_are_kept_together(harness: &dyn Harness) {
    let store = harness.store();
    let (first, second) = (harness.mirror().topic, harness.mirror().topic);
    let ordinary = harness.ordinary().topic;
    let report = |topic: &TopicName| RpoReport {
        topic: topic.to_string(),
        link: harness.link(),
        source_topic: topic.to_string(),
        kind: CutKind::Failover,
        made_at_ms: 5,
        dry_run: false,
        partitions: Vec::new(),
        unmirrored: Vec::new(),
        source_problem: None,
        identity_problem: None,
        readers: None,
        writes: None,
        after_cut: None,
    };
    let reports = [report(&first), report(&ordinary), report(&second)];
    assert_eq!(store.save_reports(&reports), Ok(()));
    assert_eq!(store.load_report(&first), Ok(Some(report(&first))));
    assert_eq!(store.load_report(&second), Ok(Some(report(&second))));
    assert_eq!(store.load_report(&ordinary), Ok(None));
}
