//! [`LinkStore`] on RocksDB.
//!
//! Invariant: a link's record contains no secret; secrets are separate records, encrypted, and
//! changed in the same write.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_link::config::is_sensitive;
use carrick_link::ports::{LinkStore, StoreError};
use carrick_link::record::{LinkName, LinkRecord, MirrorRecord, SourceSight};
use carrick_link::report::RpoReport;
use carrick_link::state::MirrorStatus;
use carrick_protocol::ids::TopicName;

use crate::metadata::{Metadata, MetadataError, Transaction};
use crate::records::group_sync::GroupSyncKeyspace;
use crate::records::link::LinkKeyspace;
use crate::records::link_secret::{LinkSecretKeyspace, of_link};
use crate::records::mirror::MirrorKeyspace;
use crate::records::rpo_report::RpoReportKeyspace;
use crate::records::sealed::Sealed;
use crate::records::source_sight::SourceSightKeyspace;
use crate::secrets::{Owner, Sealing, Vault};
use crate::topic::Topics;

/// Links, mirrors and reports as they survive a restart. A mirror's records are written while no
/// topic can be deleted, so nothing comes back for a deleted one.
pub struct Store {
    metadata: Metadata,
    topics: Arc<Topics>,
    vault: Arc<Vault>,
}

impl Store {
    /// The store in `metadata`, with secrets encrypted by `vault`.
    pub fn new(metadata: Metadata, topics: Arc<Topics>, vault: Arc<Vault>) -> Self {
        Store {
            metadata,
            topics,
            vault,
        }
    }

    /// The record with its secrets, or why they can't be read.
    fn with_secrets(&self, mut link: LinkRecord) -> Result<LinkRecord, StoreError> {
        for (config, sealed) in self.sealed(&link.name)? {
            match self.vault.open_secret(owner(&link, &config), &sealed) {
                Ok(secret) => {
                    link.configs.insert(config, secret);
                }
                Err(error) => {
                    let (link_name, reason) = (&link.name, error.to_string());
                    tracing::error!(link = %link_name, config, "a secret can't be read: {reason}");
                    link.unreadable.insert(config, reason);
                }
            }
        }
        Ok(link)
    }

    fn sealed(&self, link: &LinkName) -> Result<BTreeMap<String, Sealed>, StoreError> {
        let found = self
            .metadata
            .scan_prefix::<LinkSecretKeyspace>(&of_link(link))
            .map_err(failed)?;
        let named = found.into_iter();
        Ok(named
            .map(|((_, config), sealed)| (config, sealed))
            .collect())
    }

    /// Has the batch replace the secrets of a link by those of `link`. What could not be read stays.
    fn put_secrets(
        &self,
        link: &LinkRecord,
        sealing: Option<&Sealing<'_>>,
        batch: &mut Transaction,
    ) -> Result<(), StoreError> {
        let stored = self.sealed(&link.name)?;
        let key = |config: &str| (link.name.clone(), config.to_owned());
        for config in stored.keys() {
            if !link.configs.contains_key(config) && !link.unreadable.contains_key(config) {
                batch.delete::<LinkSecretKeyspace>(&key(config));
            }
        }
        let Some(sealing) = sealing else {
            return Ok(());
        };
        for (config, value) in link.configs.iter().filter(|(name, _)| is_sensitive(name)) {
            let owner = owner(link, config);
            let is_same = |sealed| sealing.open(owner, sealed).is_ok_and(|old| old == *value);
            if !stored.get(config).is_some_and(is_same) {
                let sealed = sealing.seal(owner, value);
                let sealed = sealed.map_err(|error| StoreError(error.to_string()))?;
                batch.put::<LinkSecretKeyspace>(&key(config), &sealed);
            }
        }
        Ok(())
    }
}

fn owner<'a>(link: &LinkRecord, config: &'a str) -> Owner<'a> {
    Owner {
        link: link.id,
        config,
    }
}

fn failed(error: MetadataError) -> StoreError {
    StoreError(error.to_string())
}

impl LinkStore for Store {
    fn load_links(&self) -> Result<Vec<LinkRecord>, StoreError> {
        let stored = self.metadata.scan::<LinkKeyspace>().map_err(failed)?;
        let has_plain = |link: &LinkRecord| link.configs.keys().any(|name| is_sensitive(name));
        let mut was_plain = false;
        let mut links = Vec::new();
        for (_, link) in stored {
            if has_plain(&link) {
                // As a former version stored it.
                match self.save_link(&link) {
                    Ok(()) => was_plain = true,
                    Err(error) => {
                        let link = &link.name;
                        tracing::error!(%link, %error, "its secrets stay stored as they are");
                    }
                }
            }
            links.push(self.with_secrets(link)?);
        }
        if was_plain {
            self.metadata.purge::<LinkKeyspace>().map_err(failed)?;
        }
        Ok(links)
    }

    fn load_mirrors(&self) -> Result<Vec<MirrorRecord>, StoreError> {
        let mirrors = self.metadata.scan::<MirrorKeyspace>().map_err(failed)?;
        Ok(mirrors.into_iter().map(|(_, mirror)| mirror).collect())
    }

    fn load_mirror(&self, topic: &TopicName) -> Result<Option<MirrorRecord>, StoreError> {
        self.metadata.get::<MirrorKeyspace>(topic).map_err(failed)
    }

    fn save_link(&self, link: &LinkRecord) -> Result<(), StoreError> {
        let mut open = link.clone();
        open.configs.retain(|name, _| !is_sensitive(name));
        let has_secrets = open.configs.len() < link.configs.len();
        let sealing = has_secrets.then(|| self.vault.sealing()).transpose();
        let sealing = sealing.map_err(|error| StoreError(error.to_string()))?;
        loop {
            let mut change = Transaction::new();
            // The link's record guards its secrets: who changes them changes it.
            change
                .read::<LinkKeyspace>(&self.metadata, &link.name)
                .map_err(failed)?;
            self.put_secrets(link, sealing.as_ref(), &mut change)?;
            change.put::<LinkKeyspace>(&link.name, &open);
            match self.metadata.commit(change) {
                Err(MetadataError::Conflict(_)) => {}
                saved => return saved.map(drop).map_err(failed),
            }
        }
    }

    fn delete_link(&self, link: &LinkName) -> Result<(), StoreError> {
        let deleted = self.metadata.decide(|change| {
            change.read::<LinkKeyspace>(&self.metadata, link)?;
            change.delete::<LinkKeyspace>(link);
            change.delete_prefix::<LinkSecretKeyspace>(&of_link(link));
            change.delete_prefix::<GroupSyncKeyspace>(&GroupSyncKeyspace::link_prefix(link));
            for (topic, mirror) in self.metadata.scan::<MirrorKeyspace>()? {
                if mirror.link == *link {
                    change.delete::<MirrorKeyspace>(&topic);
                    change.delete::<SourceSightKeyspace>(&topic);
                }
            }
            Ok(())
        });
        deleted.map_err(failed)
    }

    fn save_mirrors(&self, mirrors: &[MirrorRecord]) -> Result<(), StoreError> {
        let _still = self.topics.hold_still();
        let saved = self.metadata.decide(|change| {
            for mirror in mirrors {
                let stored = change.read::<MirrorKeyspace>(&self.metadata, &mirror.topic)?;
                if !stored.is_some_and(|stored| stored.is_of_same(mirror)) {
                    continue;
                }
                change.put::<MirrorKeyspace>(&mirror.topic, mirror);
                // A cut that was interrupted, and then cancelled, leaves its report behind.
                let has_report = matches!(
                    mirror.status,
                    MirrorStatus::PendingStopped | MirrorStatus::Stopped
                );
                if !has_report {
                    change.delete::<RpoReportKeyspace>(&mirror.topic);
                }
            }
            Ok(())
        });
        saved.map_err(failed)
    }

    fn save_reports(&self, reports: &[RpoReport]) -> Result<(), StoreError> {
        let _still = self.topics.hold_still();
        let topics = reports.iter().map(|report| TopicName::new(&report.topic));
        let topics: Result<Vec<_>, _> = topics.collect();
        let topics = topics.map_err(|error| StoreError(error.to_string()))?;
        let saved = self.metadata.decide(|change| {
            for (topic, report) in topics.iter().zip(reports) {
                let mirror = change.read::<MirrorKeyspace>(&self.metadata, topic)?;
                if mirror.is_some() {
                    change.put::<RpoReportKeyspace>(topic, report);
                }
            }
            Ok(())
        });
        saved.map_err(failed)
    }

    fn load_report(&self, topic: &TopicName) -> Result<Option<RpoReport>, StoreError> {
        self.metadata
            .get::<RpoReportKeyspace>(topic)
            .map_err(failed)
    }

    fn load_reports(&self) -> Result<Vec<RpoReport>, StoreError> {
        let reports = self.metadata.scan::<RpoReportKeyspace>().map_err(failed)?;
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    fn load_sights(&self) -> Result<Vec<SourceSight>, StoreError> {
        let sights = self
            .metadata
            .scan::<SourceSightKeyspace>()
            .map_err(failed)?;
        let sights = sights.into_iter();
        Ok(sights
            .map(|(topic, partitions)| SourceSight { topic, partitions })
            .collect())
    }

    fn save_sights(&self, sights: &[SourceSight]) -> Result<(), StoreError> {
        let _still = self.topics.hold_still();
        let saved = self.metadata.decide(|change| {
            for sight in sights {
                let mirror = change.read::<MirrorKeyspace>(&self.metadata, &sight.topic)?;
                if mirror.is_some_and(|mirror| mirror.status != MirrorStatus::Stopped) {
                    change.put::<SourceSightKeyspace>(&sight.topic, &sight.partitions);
                }
            }
            Ok(())
        });
        saved.map_err(failed)
    }
}
