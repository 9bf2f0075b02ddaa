//! The stored reports of promotions and failovers.

use carrick_protocol::ids::TopicName;

use super::LinkManager;
use crate::error::LinkError;
use crate::report::RpoReport;
use crate::state::MirrorStatus;

impl LinkManager {
    /// The stored report of the last promotion or failover of a topic.
    ///
    /// # Errors
    /// `NotAMirror`, `Store`.
    pub fn report(&self, topic: &str) -> Result<Option<RpoReport>, LinkError> {
        let name = TopicName::new(topic).map_err(|_| LinkError::NotAMirror(topic.to_owned()))?;
        match self.ports.store.load_report(&name)? {
            None if self.owner(&name).is_none() => Err(LinkError::NotAMirror(topic.to_owned())),
            report => Ok(report.map(|report| self.with_last_look(&name, report))),
        }
    }

    /// Every stored report, or those of one link, by topic. A report outlives its link and is
    /// deleted with its topic. Cuts that are not finished have none.
    ///
    /// # Errors
    /// `Store`.
    pub fn reports(&self, link: Option<&str>) -> Result<Vec<RpoReport>, LinkError> {
        let mut reports = Vec::new();
        for report in self.ports.store.load_reports()? {
            let Ok(name) = TopicName::new(&report.topic) else {
                continue;
            };
            let is_meant = link.is_none_or(|link| link == report.link.as_str());
            let is_over = self
                .status(&name)
                .is_none_or(|it| it == MirrorStatus::Stopped);
            if is_meant && is_over {
                reports.push(self.with_last_look(&name, report));
            }
        }
        Ok(reports)
    }

    fn status(&self, topic: &TopicName) -> Option<MirrorStatus> {
        let links = self.links.read();
        let mut links = links.values();
        links.find_map(|link| Some(link.inner().mirrors.get(topic)?.record.status))
    }

    /// The latest check for records beyond the cut may be newer than the stored one.
    fn with_last_look(&self, topic: &TopicName, report: RpoReport) -> RpoReport {
        let links = self.links.read();
        let mut links = links.values().filter(|link| link.name == report.link);
        let last = links.find_map(|link| link.inner().mirrors.get(topic)?.after_cut.clone());
        RpoReport {
            after_cut: last.or(report.after_cut),
            ..report
        }
    }
}
