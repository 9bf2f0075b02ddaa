//! Links, mirrors and what is kept with them.

use carrick_protocol::ids::{TopicName, TopicPartition};

use super::{FakeHere, State};
use crate::ports::{CatalogError, LinkStore, Obstacle, StoreError};
use crate::record::{LinkName, LinkRecord, MirrorRecord, SourceSight};
use crate::report::RpoReport;
use crate::state::MirrorStatus;

/// Something that happens once.
pub(super) struct Act(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an act")
    }
}

impl FakeHere {
    /// `act` happens when mirrors are about to be saved, before that.
    pub fn happens_before_save(&self, act: impl FnOnce() + Send + 'static) {
        *self.before_save.lock() = Some(Act(Box::new(act)));
    }

    /// Cuts of that topic are refused from now on, or go through again.
    pub fn refuse_cut(&self, topic: &str, error: Option<CatalogError>) {
        let refused = &mut self.state.lock().refused_cuts;
        let topic = TopicName::new(topic).unwrap();
        match error {
            Some(error) => refused.insert(topic, error),
            None => refused.remove(&topic),
        };
    }

    /// A partition can't be written from now on, or can be again.
    pub fn block(&self, topic: &str, partition: i32, obstacle: Option<Obstacle>) {
        let partition = TopicPartition::new(TopicName::new(topic).unwrap(), partition);
        let obstacles = &mut self.state.lock().obstacles;
        match obstacle {
            Some(obstacle) => obstacles.insert(partition, obstacle),
            None => obstacles.remove(&partition),
        };
    }
}

impl LinkStore for FakeHere {
    fn load_links(&self) -> Result<Vec<LinkRecord>, StoreError> {
        Ok(self.state.lock().links.values().cloned().collect())
    }

    fn load_mirrors(&self) -> Result<Vec<MirrorRecord>, StoreError> {
        Ok(self.state.lock().mirrors.values().cloned().collect())
    }

    fn load_mirror(&self, topic: &TopicName) -> Result<Option<MirrorRecord>, StoreError> {
        Ok(self.state.lock().mirrors.get(topic).cloned())
    }

    fn save_link(&self, link: &LinkRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.can_store()?;
        state.links.insert(link.name.clone(), link.clone());
        Ok(())
    }

    fn delete_link(&self, link: &LinkName) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.can_store()?;
        state.links.remove(link);
        state.mirrors.retain(|_, mirror| mirror.link != *link);
        state.syncs.retain(|(owner, _), _| owner != link);
        let State {
            sights, mirrors, ..
        } = &mut *state;
        sights.retain(|topic, _| mirrors.contains_key(topic));
        Ok(())
    }

    fn save_mirrors(&self, mirrors: &[MirrorRecord]) -> Result<(), StoreError> {
        let due = self.before_save.lock().take();
        if let Some(Act(act)) = due {
            act();
        }
        let mut state = self.state.lock();
        state.can_store()?;
        for mirror in mirrors {
            if !state.has_mirror(mirror) {
                continue;
            }
            state.put_mirror(mirror);
            let status = mirror.status;
            if !matches!(status, MirrorStatus::PendingStopped | MirrorStatus::Stopped) {
                state.reports.remove(&mirror.topic);
            }
        }
        Ok(())
    }

    fn save_reports(&self, reports: &[RpoReport]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.can_store()?;
        let named = reports.iter().map(|report| {
            let topic = TopicName::new(&report.topic);
            let topic = topic.map_err(|error| StoreError(error.to_string()))?;
            Ok((topic, report))
        });
        for (topic, report) in named.collect::<Result<Vec<_>, StoreError>>()? {
            if state.mirrors.contains_key(&topic) {
                state.reports.insert(topic, report.clone());
            }
        }
        Ok(())
    }

    fn load_report(&self, topic: &TopicName) -> Result<Option<RpoReport>, StoreError> {
        Ok(self.state.lock().reports.get(topic).cloned())
    }

    fn load_reports(&self) -> Result<Vec<RpoReport>, StoreError> {
        Ok(self.state.lock().reports.values().cloned().collect())
    }

    fn load_sights(&self) -> Result<Vec<SourceSight>, StoreError> {
        Ok(self.state.lock().sights.values().cloned().collect())
    }

    fn save_sights(&self, sights: &[SourceSight]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.can_store()?;
        for sight in sights {
            let mirror = state.mirrors.get(&sight.topic);
            if mirror.is_some_and(|mirror| mirror.status != MirrorStatus::Stopped) {
                state.sights.insert(sight.topic.clone(), sight.clone());
            }
        }
        Ok(())
    }
}
