//! [`LinkStore`] on RocksDB.

use std::sync::Arc;

use carrick_link::ports::{LinkStore, StoreError};
use carrick_link::record::{LinkName, LinkRecord, MirrorRecord, SourceSight};
use carrick_link::report::RpoReport;
use carrick_link::state::MirrorStatus;
use carrick_protocol::ids::TopicName;
use carrick_storage::meta::{MetaError, MetaStore};

use crate::records::link::LinkKeyspace;
use crate::records::mirror::MirrorKeyspace;
use crate::records::rpo_report::RpoReportKeyspace;
use crate::records::source_sight::SourceSightKeyspace;

/// Links, mirrors and reports as they survive a restart.
pub struct Store {
    meta: Arc<MetaStore>,
}

impl Store {
    /// The store in `meta`.
    pub fn new(meta: Arc<MetaStore>) -> Self {
        Store { meta }
    }
}

fn failed(error: MetaError) -> StoreError {
    StoreError(error.to_string())
}

impl LinkStore for Store {
    fn load_links(&self) -> Result<Vec<LinkRecord>, StoreError> {
        let links = self.meta.scan::<LinkKeyspace>().map_err(failed)?;
        Ok(links.into_iter().map(|(_, link)| link).collect())
    }

    fn load_mirrors(&self) -> Result<Vec<MirrorRecord>, StoreError> {
        let mirrors = self.meta.scan::<MirrorKeyspace>().map_err(failed)?;
        Ok(mirrors.into_iter().map(|(_, mirror)| mirror).collect())
    }

    fn save_link(&self, link: &LinkRecord) -> Result<(), StoreError> {
        let mut batch = self.meta.batch();
        batch.put::<LinkKeyspace>(&link.name, link);
        self.meta.commit(batch).map_err(failed)
    }

    fn delete_link(&self, link: &LinkName) -> Result<(), StoreError> {
        let mut batch = self.meta.batch();
        batch.delete::<LinkKeyspace>(link);
        for mirror in self.load_mirrors()? {
            if mirror.link == *link {
                batch.delete::<MirrorKeyspace>(&mirror.topic);
                batch.delete::<SourceSightKeyspace>(&mirror.topic);
            }
        }
        self.meta.commit(batch).map_err(failed)
    }

    fn save_mirrors(&self, mirrors: &[MirrorRecord]) -> Result<(), StoreError> {
        let mut batch = self.meta.batch();
        for mirror in mirrors {
            batch.put::<MirrorKeyspace>(&mirror.topic, mirror);
            // A cut that was broken off, and then given up, leaves its report behind.
            let has_report = matches!(
                mirror.status,
                MirrorStatus::PendingStopped | MirrorStatus::Stopped
            );
            if !has_report {
                batch.delete::<RpoReportKeyspace>(&mirror.topic);
            }
        }
        self.meta.commit(batch).map_err(failed)
    }

    fn save_reports(&self, reports: &[RpoReport]) -> Result<(), StoreError> {
        let mut batch = self.meta.batch();
        for report in reports {
            let topic =
                TopicName::new(&report.topic).map_err(|error| StoreError(error.to_string()))?;
            let mirror = self.meta.get::<MirrorKeyspace>(&topic).map_err(failed)?;
            if mirror.is_some() {
                batch.put::<RpoReportKeyspace>(&topic, report);
            }
        }
        self.meta.commit(batch).map_err(failed)
    }

    fn load_report(&self, topic: &TopicName) -> Result<Option<RpoReport>, StoreError> {
        self.meta.get::<RpoReportKeyspace>(topic).map_err(failed)
    }

    fn load_sights(&self) -> Result<Vec<SourceSight>, StoreError> {
        let sights = self.meta.scan::<SourceSightKeyspace>().map_err(failed)?;
        let sights = sights.into_iter();
        Ok(sights
            .map(|(topic, partitions)| SourceSight { topic, partitions })
            .collect())
    }

    fn save_sights(&self, sights: &[SourceSight]) -> Result<(), StoreError> {
        let mut batch = self.meta.batch();
        for sight in sights {
            let mirror = self
                .meta
                .get::<MirrorKeyspace>(&sight.topic)
                .map_err(failed)?;
            if mirror.is_some_and(|mirror| mirror.status != MirrorStatus::Stopped) {
                batch.put::<SourceSightKeyspace>(&sight.topic, &sight.partitions);
            }
        }
        self.meta.commit(batch).map_err(failed)
    }
}
